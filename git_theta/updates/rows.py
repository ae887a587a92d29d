"""rows: predicts rows of the base that were moved, cut or extended: a grown vocabulary, pruned heads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.tensors import CHUNK_BYTES, Tensor, retyped
from git_theta.updates.checks import array, integer, parameters_of
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target
from git_theta.updates.row_search import NEW, Range, nearest, search

if TYPE_CHECKING:
    from git_theta.tensors import Bits

_FEW = 64  # ranges that are kept as JSON


class Rows:
    """Ranges of rows in the order of the target, each with its length and its first row in the base or NEW.

    Parameters: `rows`, the base's number of rows, and `ranges`, or the arrays `counts` and `starts`.
    """

    name = "rows"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """A base with rows of the same length: in place, or found by their contents."""
        columns = _columns(target.tensor)
        fit = [
            base for base in bases if base.tensor.dtype == target.dtype and _columns(base.tensor) == columns
        ]
        if not fit or not columns:
            return
        base = fit[0]
        if base.tensor.shape != target.shape:  # then no delta has told which version is the nearest
            base = fit[nearest(target.tensor, [base.tensor for base in fit], columns)]
        ranges = search(target.tensor, base.tensor, columns)
        if ranges:
            yield Proposal(self.name, (base,), _parameters(ranges, base.tensor.shape[0]))

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The base's rows in their new places."""
        with parameters_of(self.name):
            (base,) = bases
            rows = integer(parameters.values["rows"], 1, 1 << 62)
            base = retyped(base, dtype, (rows, *shape[1:]))
            if "ranges" in parameters.values:
                given = [(integer(n, 1, 1 << 62), start) for n, start in parameters.values["ranges"]]
                counts, starts = np.array(given, np.int64).reshape(-1, 2).T
            else:
                size = parameters.arrays["counts"].size
                counts, starts = (
                    array(parameters.arrays, name, "<i8", size) for name in ("counts", "starts")
                )
            if counts.size and (counts.min() < 1 or starts.min() < NEW or counts.max() > shape[0]):
                raise ValueError("a range of rows that cannot be")
            if (starts + counts)[starts != NEW].max(initial=0) > rows or sum(counts.tolist()) != shape[0]:
                raise ValueError("ranges of rows past the end")
            return _Moved(base, _columns(base) or 0, counts, starts)


@dataclass(frozen=True)
class _Moved:
    base: Tensor
    columns: int
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]

    def predict(self, start: int, stop: int, out: Bits) -> None:
        ends = np.cumsum(self.counts) * self.columns
        needed: list[tuple[int, Bits]] = []  # where parts of `out` begin in the base
        at = start
        for number in range(int(np.searchsorted(ends, start, side="right")), self.counts.size):
            if at >= stop:
                break
            end = min(int(ends[number]), stop)
            part = out[at - start : end - start]
            if self.starts[number] == NEW:
                part.fill(0)
            else:
                begin = int(ends[number]) - int(self.counts[number]) * self.columns
                needed.append((int(self.starts[number]) * self.columns + at - begin, part))
            at = end
        if len(needed) == 1:
            ((source, part),) = needed
            self.base.read(source, source + part.size, part)
        else:
            self._read(needed)

    def _read(self, needed: list[tuple[int, Bits]]) -> None:
        """Fill parts, reading every chunk of the base once."""
        step = CHUNK_BYTES // self.base.dtype.itemsize
        by_chunk: dict[int, list[tuple[int, Bits]]] = {}
        for source, part in needed:
            for chunk in range(source // step, (source + part.size - 1) // step + 1):
                first, last = max(source, chunk * step), min(source + part.size, (chunk + 1) * step)
                by_chunk.setdefault(chunk, []).append((first, part[first - source : last - source]))
        for parts in by_chunk.values():
            low = min(first for first, _ in parts)
            high = max(first + part.size for first, part in parts)
            with scratch.borrow(high - low, self.base.dtype.storage) as bits:
                self.base.read(low, high, bits)
                for first, part in parts:
                    part[:] = bits[first - low : first - low + part.size]


def _columns(tensor: Tensor) -> int | None:
    """Items of a row, None where a tensor has no rows or they are empty."""
    return tensor.items // tensor.shape[0] if tensor.shape and tensor.items else None


def _parameters(ranges: list[Range], rows: int) -> Parameters:
    if len(ranges) <= _FEW:
        return Parameters({"rows": rows, "ranges": [list(one) for one in ranges]})
    counts, starts = np.array(ranges, np.int64).T
    return Parameters({"rows": rows}, {"counts": counts.copy(), "starts": starts.copy()})
