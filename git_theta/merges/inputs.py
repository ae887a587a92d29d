"""The inputs of one merge of one tensor, read range by range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.merges.interface import Strategy, Unit
from git_theta.tensors import CHUNK_BYTES, ArrayTensor, Tensor
from git_theta.updates.arithmetic import widened
from git_theta.values import from_float, to_float

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

_KEPT = 4  # of so many inputs, all are held in memory between passes, as they are stored
_MANY = 8  # with more inputs than this, shorter ranges are read


@dataclass(frozen=True)
class Job:
    """One tensor to be merged.

    Attributes:
        name: of the tensor; seeds random strategies.
        strategy, options: the options fitted to the models (merges.options.fit).
        base: None where there is none.
        models: ours first, all of one shape with each other and the base, all of float dtypes.
        dtype: of the result.
        statistics: one tensor per model, where the strategy asks for them.
        further: tensors whose rows, in our dtype, the result has after those that are merged.
        sides: whose the models are; tensors of other sides are not measured together.
    """

    name: str
    strategy: Strategy[Any]
    options: Any
    base: Tensor | None
    models: tuple[Tensor, ...]
    dtype: DType
    statistics: tuple[Tensor, ...] = ()
    further: tuple[Tensor, ...] = ()
    sides: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensors that are merged."""
        return self.models[0].shape

    @property
    def result_shape(self) -> tuple[int, ...]:
        if not self.further:
            return self.shape
        return sum(part.shape[0] for part in (self.models[0], *self.further)), *self.shape[1:]

    @property
    def elements(self) -> int:
        """How many elements the tensors that are merged have."""
        return self.models[0].items

    @property
    def wide(self) -> bool:
        """Whether the job has to be computed in float64."""
        tensors, _ = read_tensors(self, base=True)
        return number_type([tensor.dtype for tensor in tensors], self.dtype) == np.float64

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return self.dtype.nbytes(self.result_shape)


@dataclass(frozen=True)
class Holes:
    """Entries of a range that are not finite in some input, and what the result has there.

    That is our value where all models have the same one (minus infinity in an attention mask, say), and
    NaN elsewhere: what is not a number in one model is never hidden by a merge.

    Attributes:
        mask: of the range's entries.
        bits: the result's, for each marked entry.
        lost: how many of them are NaN because the models differ.
    """

    mask: NDArray[np.bool_]
    bits: Bits
    lost: int


class Inputs:
    """Several tensors of the same shape, read together.

    Args:
        tensors: [base, *models, *statistics] as far as they are used.
        models: which of them are models.
        result: dtype of the result.
        row: elements of what must be seen whole; see `unit_length`.
        keep: whether ranges are held in memory for the next pass, where there are few inputs.
    """

    def __init__(
        self, tensors: Sequence[Tensor], models: slice, result: DType, row: int = 1, keep: bool = False
    ) -> None:
        self.tensors = tuple(tensors)
        self.models = models
        self.result = result
        self.row = row
        self.elements = self.tensors[models][0].items
        stored = not all(isinstance(tensor, ArrayTensor) for tensor in tensors)
        self._keep = keep and stored and len(tensors) <= _KEPT
        self._kept: dict[int, list[Bits]] = {}
        items = CHUNK_BYTES // max(tensor.dtype.itemsize for tensor in tensors)
        self._range = items * _MANY // max(_MANY, len(tensors))

    def close(self) -> None:
        """Give up what was kept."""
        while self._kept:
            _give(self._kept.popitem()[1])

    def only(self, tensors: Sequence[Tensor], models: slice) -> Inputs:
        """Inputs of some of these tensors, which reuse the ranges that were read already.

        Args:
            models: which of them are models.
        """
        places = [next(p for p, own in enumerate(self.tensors) if own is tensor) for tensor in tensors]
        chosen = Inputs(tensors, models, self.result, self.row)
        chosen._range = self._range
        chosen._kept = {start: [arrays[place] for place in places] for start, arrays in self._kept.items()}
        return chosen

    def ranges(self) -> list[tuple[int, int]]:
        """Ranges of elements to read at once: about a stored chunk, whole rows."""
        return self.split(0, self.elements, self._range)

    def split(self, start: int, stop: int, items: int) -> list[tuple[int, int]]:
        """A range in parts of about so many items, whole rows."""
        step = max(1, items // self.row) * self.row
        return [(first, min(first + step, stop)) for first in range(start, stop, step)]

    @contextmanager
    def read(self, start: int, stop: int) -> Iterator[list[Bits]]:
        """The bits of all inputs in one of `ranges`."""
        arrays = self._kept.get(start)
        if arrays is not None:
            yield arrays
            return
        arrays = [_take(tensor, start, stop) for tensor in self.tensors]
        if self._keep:
            self._kept[start] = arrays
        try:
            yield arrays
        finally:
            if not self._keep:
                _give(arrays)

    def values(self, arrays: Sequence[Bits], start: int, stop: int, out: Sequence[Floats]) -> list[Floats]:
        """The values of part of a range, in the first items of `out`.

        Args:
            arrays: the inputs' bits in the whole range.
            start, stop: which part.
        """
        return [
            widened(bits[start:stop], tensor.dtype, room[: stop - start])
            for bits, tensor, room in zip(arrays, self.tensors, out, strict=True)
        ]

    def holes(self, arrays: Sequence[Bits], start: int, stop: int, kind: np.dtype[Any]) -> Holes:
        """Which entries of part of a range are not finite in some input, and what the result has there.

        Args:
            arrays, start, stop: as for `values`.
            kind: float64 where an input is that wide.
        """
        room = [np.empty(stop - start, kind) for _ in arrays]
        values = self.values(arrays, start, stop, room)
        mask = ~np.logical_and.reduce([np.isfinite(one) for one in values])
        models = [one[mask] for one in values[self.models]]
        same = agree(models)
        if self.tensors[self.models][0].dtype == self.result:
            bits: Bits = arrays[self.models][0][start:stop][mask]
        else:
            bits = from_float(models[0], self.result, overflow="saturate")
        bits[~same] = nan_bits(self.result)
        return Holes(mask, bits, int(np.count_nonzero(~same)))


def read_tensors(job: Job, base: bool) -> tuple[list[Tensor], slice]:
    """The tensors that a job reads, base first if it is needed, and which of them are models."""
    first = [job.base] if base and job.base is not None else []
    return [*first, *job.models, *job.statistics], slice(len(first), len(first) + len(job.models))


def agree(models: Sequence[Floats]) -> NDArray[np.bool_]:
    """Where all models have the same value, or NaN."""
    same = np.ones(models[0].size, np.bool_)
    for other in models[1:]:
        same &= (other == models[0]) | (np.isnan(other) & np.isnan(models[0]))
    return same


def nan_bits(dtype: DType) -> np.unsignedinteger[Any]:
    """The bits of what merges write for NaN."""
    bits: np.unsignedinteger[Any] = from_float(np.array([np.nan], np.float32), dtype)[0]
    return bits


def number_type(inputs: Sequence[DType], result: DType) -> np.dtype[np.floating[Any]]:
    """What strategies compute in: float32, or float64 where an input or the result is that wide."""
    return np.dtype(np.float64 if any(dtype.itemsize == 8 for dtype in (*inputs, result)) else np.float32)


def unit_length(unit: Unit, shape: tuple[int, ...], elements: int) -> int:
    """Elements of what a strategy must see whole."""
    if unit == "element":
        return 1
    if unit == "row" and len(shape) > 1:
        return elements // shape[0]
    return elements


def flat(result: torch.Tensor, elements: int) -> torch.Tensor:
    """What a strategy has made of a block, in a row. Raises TypeError if it is no such thing."""
    if not result.is_floating_point() or result.numel() != elements:
        raise TypeError(f"combine gave {list(result.shape)} of {result.dtype} for {elements} elements")
    return result.reshape(-1)


def write_result(values: Floats, holes: Holes | None, dtype: DType, out: Bits) -> int:
    """Round computed values to the result's bits, and fill its holes.

    Numbers too large for an 8-bit float become its largest; those of wider types become infinite.

    Returns:
        How many entries are NaN or infinite, and were not so in all models alike.
    """
    from_float(values, dtype, out, overflow="saturate")
    if holes is not None:
        out[holes.mask] = 0
    bad = int(np.count_nonzero(not_finite(out, dtype)))
    if holes is not None:
        out[holes.mask] = holes.bits
        bad += holes.lost
    return bad


def not_finite(bits: Bits, dtype: DType) -> NDArray[np.bool_]:
    """Which items are NaN or infinite."""
    marked: NDArray[np.bool_]
    if dtype.name.endswith("FNUZ"):
        marked = bits == 0x80
    elif dtype.name == "F8_E4M3":
        marked = (bits & 0x7F) == 0x7F
    else:
        exponent = bits.dtype.type(((1 << dtype.exponent) - 1) << dtype.mantissa)
        marked = (bits & exponent) == exponent
    return marked


def copy_rows(tensors: Sequence[Tensor], dtype: DType, out: Bits) -> None:
    """Fill `out` with tensors one after the other, converted to a dtype."""
    place = 0
    for tensor in tensors:
        inputs = Inputs([tensor], slice(0, 1), dtype)
        for start, stop in inputs.ranges():
            part = out[place + start : place + stop]
            if tensor.dtype == dtype:
                tensor.read(start, stop, part)
                continue
            with inputs.read(start, stop) as [bits]:
                from_float(to_float(bits, tensor.dtype), dtype, part, overflow="saturate")
        place += tensor.items


def _take(tensor: Tensor, start: int, stop: int) -> Bits:
    buffer = scratch.take((stop - start) * tensor.dtype.itemsize)
    try:
        return tensor.read(start, stop, buffer.view(tensor.dtype.storage))
    except BaseException:
        scratch.give(buffer)
        raise


def _give(arrays: Sequence[Bits]) -> None:
    for bits in arrays:
        scratch.give(bits.view(np.uint8))
