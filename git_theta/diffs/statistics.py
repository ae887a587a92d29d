"""What one tensor's values look like: `git theta show`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from git_theta import scratch
from git_theta.diffs import blocks
from git_theta.diffs.metrics import Ranges
from git_theta.diffs.sweep import Job, Progress, sweep
from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.tensors import Tensor
from git_theta.values import is_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from git_theta.tensors import Bits

K = TypeVar("K")


@dataclass(frozen=True)
class Statistics:
    """What a tensor's finite values are like; of complex numbers, the moduli.

    Attributes:
        elements: all of them.
        nans, infinities: those that are not finite.
        zeros: elements that are zero.
        norm: 2-norm; None, like all that follow, for dtypes without arithmetic.
        mean, std, minimum, maximum: None also where no value is finite.
    """

    elements: int
    nans: int = 0
    infinities: int = 0
    zeros: int = 0
    norm: float | None = None
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def sparsity(self) -> float:
        """Share of elements that are zero."""
        return self.zeros / self.elements if self.elements else 0.0


@dataclass(frozen=True)
class Histogram:
    """How many finite values lie in each of several ranges of equal width.

    Attributes:
        edges: one more than counts, rising.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class _Part:
    finite: int
    nans: int
    infinities: int
    zeros: int
    norm: float
    mean: float
    squares: float  # of the distances from the mean
    minimum: float
    maximum: float


def statistics(tensor: Tensor, *, threads: int | None = None) -> Statistics:
    """The statistics of one tensor.

    Raises:
        MissingObject, DamagedObject: as reading it does.
    """
    for _, answer in statistics_of_all([(None, tensor.dtype, tensor.items, lambda: tensor)], threads=threads):
        if isinstance(answer, Statistics):
            return answer
        raise answer
    raise AssertionError("one tensor, one answer")


def statistics_of_all(
    tensors: Iterable[tuple[K, DType, int, Callable[[], Tensor]]],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[K, Statistics | ThetaError | OSError]]:
    """The statistics of many tensors, in their order, on all cores.

    Args:
        tensors: a key, the dtype, the number of items, and what opens it, for each.
    """
    return sweep((_job(*tensor) for tensor in tensors), threads, progress)


def histogram(tensor: Tensor, known: Statistics, bins: int = 40) -> Histogram | None:
    """How the finite values of a tensor are distributed; None where it has none.

    Args:
        known: its statistics.
    """
    low, high = known.minimum, known.maximum
    if low is None or high is None or not math.isfinite(high - low):
        return None
    edges = np.linspace(low, high, bins + 1) if high > low else np.linspace(low - 0.5, high + 0.5, bins + 1)
    counts = np.zeros(bins, np.int64)
    for start, stop in Ranges(tensor.items, tensor.dtype):
        values = _values(tensor.read(start, stop), tensor.dtype)
        counts += np.histogram(values[np.isfinite(values)], edges)[0]
    return Histogram(tuple(map(float, edges)), tuple(map(int, counts)))


def corner(tensor: Tensor, rows: int = 6, columns: int = 8) -> list[list[float]]:
    """The first values of the first rows; of complex numbers, the moduli. Empty for an empty tensor, and for
    dtypes without arithmetic.

    A tensor of more than two dimensions is taken as a matrix with its last dimension in rows.
    """
    if not tensor.items or not is_number(tensor.dtype):
        return []
    width = tensor.shape[-1] if tensor.shape else 1
    parts = tensor.dtype.components
    found = []
    for row in range(min(rows, tensor.items // (width * parts))):
        start = row * width * parts
        bits = tensor.read(start, start + min(columns, width) * parts)
        found.append([float(value) for value in _values(bits, tensor.dtype)])
    return found


def _job(
    key: K, dtype: DType, items: int, opener: Callable[[], Tensor]
) -> Job[K, Tensor, list[_Part], Statistics]:
    elements = items * dtype.itemsize * 8 // dtype.bits

    def measure(tensor: Tensor, start: int, stop: int) -> list[_Part]:
        with scratch.borrow(stop - start, dtype.storage) as bits, np.errstate(all="ignore"):
            tensor.read(start, stop, bits)
            return [
                _part(_values(bits[first : first + blocks.BLOCK], dtype))
                for first in range(0, bits.size, blocks.BLOCK)
            ]

    def finish(parts: list[list[_Part]]) -> Statistics:
        if not is_number(dtype):
            return Statistics(elements)
        return _combined([part for some in parts for part in some], elements)

    spans = Ranges(items, dtype) if is_number(dtype) else []
    return Job(key, opener, spans, measure, finish)


def _values(bits: Bits, dtype: DType) -> NDArray[np.float64]:
    values = blocks.float64(bits, dtype)
    return np.hypot(values[::2], values[1::2]) if dtype.components == 2 else values


def _part(values: NDArray[np.float64]) -> _Part:
    everything = values.size
    nans = infinities = 0
    finite = np.isfinite(values)
    if not finite.all():
        nans = int(np.count_nonzero(np.isnan(values)))
        values = values[finite]
        infinities = everything - nans - values.size
    if not values.size:
        return _Part(0, nans, infinities, 0, 0.0, 0.0, 0.0, math.inf, -math.inf)
    mean = float(values.mean())
    away = values - mean
    return _Part(
        values.size,
        nans,
        infinities,
        values.size - int(np.count_nonzero(values)),
        blocks.wide_norm(values),
        mean,
        float(np.dot(away, away)),
        float(values.min()),
        float(values.max()),
    )


def _combined(parts: Sequence[_Part], elements: int) -> Statistics:
    """Means and squares put together as in Chan, Golub, LeVeque, "Algorithms for computing the sample
    variance" (1983), which loses no digits where the mean is large."""
    finite = sum(part.finite for part in parts)
    nans, infinities = sum(part.nans for part in parts), sum(part.infinities for part in parts)
    zeros, norm = sum(part.zeros for part in parts), math.hypot(*(part.norm for part in parts))
    if not finite:
        return Statistics(elements, nans, infinities, zeros, norm)
    mean = math.fsum(part.mean * (part.finite / finite) for part in parts)
    squares = math.fsum(part.squares + part.finite * (part.mean - mean) ** 2 for part in parts if part.finite)
    return Statistics(
        elements,
        nans,
        infinities,
        zeros,
        norm,
        mean,
        math.sqrt(squares / finite),
        min(part.minimum for part in parts),
        max(part.maximum for part in parts),
    )
