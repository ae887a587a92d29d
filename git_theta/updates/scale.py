"""scale: predicts the base times a vector along its first or last axis, as (IA)³ merged into the weights.

(IA)³: "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning"
(arXiv:2205.05638).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta.dtypes import DType, dtype
from git_theta.tensors import Tensor
from git_theta.updates.arithmetic import BLOCK, blocks, settle
from git_theta.updates.checks import alike, array, integer, only_base, parameters_of
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target
from git_theta.updates.matrices import matrix_shape, row_blocks, submatrix
from git_theta.values import carrier, from_float, ordered, to_float

if TYPE_CHECKING:
    from git_theta.tensors import Bits
    from git_theta.values import Floats

_SAMPLE = 64
_LIKELY = 0.5
"""Part of a sample that a scale must explain exactly; more of it than is unchanged anyway."""


class Scale:
    """One multiplication in float32 (float64 for 64-bit floats), then rounded.

    Parameters: `axis`; array `vector`, the bits of its floats.
    """

    name = "scale"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """The nearest base, if every row or every column of a sample has one ratio to it."""
        for base in alike(target, bases)[:1]:
            shape = matrix_shape(target.tensor)
            if shape is None or target.dtype.kind != "float" or base.tensor.shape != target.shape:
                return
            for axis in (0, len(target.shape) - 1):
                if _likely(target, base, shape, axis):
                    yield scaled(target, base, axis, _fit(target, base, shape, axis))

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The products."""
        base = only_base(self.name, dtype, shape, bases)
        with parameters_of(self.name):
            if dtype.kind != "float":
                raise ValueError(f"{dtype.name} is not scaled")
            axis = integer(parameters.values["axis"], 0, len(shape) - 1)
            kind = f"<f{carrier(dtype).itemsize}"
            vector = array(parameters.arrays, "vector", kind, shape[axis])
            inner = 1
            for length in shape[axis + 1 :]:
                inner *= length
        # With as many repeats as a block needs from any start.
        return _Scaled(base, np.resize(vector, vector.size + BLOCK), vector.size, inner)


def scaled(target: Target, base: Base, axis: int, vector: Floats) -> Proposal:
    """The proposal to store a target as a base times a vector along an axis."""
    kind = carrier(target.dtype)
    bits = np.ascontiguousarray(vector, kind).view(f"<u{kind.itemsize}")
    return Proposal("scale", (base,), Parameters({"axis": axis}, {"vector": bits}))


@dataclass(frozen=True)
class _Scaled:
    base: Tensor
    repeated: NDArray[np.floating[Any]]
    size: int
    inner: int

    def predict(self, start: int, stop: int, out: Bits) -> None:
        kind = self.base.dtype
        self.base.read(start, stop, out)
        with np.errstate(all="ignore"):
            for first, last in blocks(start, stop):
                part = out[first - start : last - start]
                values = to_float(part, kind) * self._factors(first, last)
                settle(values, kind, part, part)

    def _factors(self, start: int, stop: int) -> Floats:
        first, last = start // self.inner, (stop - 1) // self.inner + 1
        where = first % self.size
        factors: Floats = self.repeated[where : where + last - first]
        if self.inner == 1:
            return factors
        edges = np.clip(np.arange(first, last + 1) * self.inner, start, stop)
        return np.repeat(factors, edges[1:] - edges[:-1])


def _likely(target: Target, base: Base, shape: tuple[int, int], axis: int) -> bool:
    """Whether one factor for each row (axis 0) or column explains most of a sample."""
    columns = shape[1] if axis == 0 else target.shape[-1]
    wanted, given = (submatrix(tensor, columns, _SAMPLE, _SAMPLE) for tensor in (target.tensor, base.tensor))
    if min(wanted.shape) < 8:
        return False
    unchanged = np.mean(wanted == given)
    x, y = (to_float(bits.ravel(), target.dtype).reshape(bits.shape) for bits in (given, wanted))
    with np.errstate(all="ignore"):
        along = 1 if axis == 0 else 0
        mean = (x * y).sum(along, np.float64, keepdims=True) / (x * x).sum(along, np.float64, keepdims=True)
        ratio = np.median(np.where(x == 0, mean, y / x.astype(np.float64)), axis=along, keepdims=True)
        guess = x * ratio.astype(x.dtype)
    explained = np.mean(from_float(guess.ravel(), target.dtype) == wanted.ravel())
    return bool(explained > max(_LIKELY, 2 * unchanged))


def _fit(target: Target, base: Base, shape: tuple[int, int], axis: int) -> NDArray[np.float64]:
    """The vector: for each factor the middle of what all its items allow; their mean if they disagree."""
    rows, columns = shape if axis == 0 else (target.tensor.items // target.shape[-1], target.shape[-1])
    size = rows if axis == 0 else columns
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    above, below = np.zeros(size), np.zeros(size)
    step = max(1, BLOCK // columns)
    pairs = zip(row_blocks(target.tensor, columns), row_blocks(base.tensor, columns), strict=True)
    for (start, wanted), (_, given) in pairs:
        for row in range(0, len(wanted), step):
            y, x = wanted[row : row + step], given[row : row + step]
            part = slice(start + row, start + row + len(y)) if axis == 0 else slice(None)
            least, most, product, square = _allowed(y, x, target.dtype, axis)
            low[part], high[part] = np.maximum(low[part], least), np.minimum(high[part], most)
            above[part] += product
            below[part] += square
    with np.errstate(all="ignore"):
        return _simplest(low, high, np.where(below > 0, above / below, 1.0))


def _allowed(wanted: Bits, given: Bits, kind: DType, axis: int) -> tuple[NDArray[np.float64], ...]:
    """For each factor the bounds that all its items allow, and the sums of x * y and of x * x."""
    shape, along = wanted.shape, 1 if axis == 0 else 0
    with np.errstate(all="ignore"):
        x, y = (to_float(bits.ravel(), kind).astype(np.float64) for bits in (given, wanted))
        edges = [edge / x for edge in _edges(wanted.ravel(), kind)]
        usable = (np.isfinite(edges).all(axis=0) & (x != 0)).reshape(shape)
        least, most = (function(*edges).reshape(shape) for function in (np.minimum, np.maximum))
        return (
            least.max(along, initial=-np.inf, where=usable),
            most.min(along, initial=np.inf, where=usable),
            (x * y).reshape(shape).sum(along, where=usable),
            (x * x).reshape(shape).sum(along, where=usable),
        )


def _edges(bits: Bits, kind: DType) -> list[NDArray[np.float64]]:
    """The numbers half-way to the next smaller and the next larger value."""
    middle = to_float(bits, kind).astype(np.float64)
    integers = ordered(bits, kind)
    return [
        (middle + to_float(ordered((integers + step).astype(bits.dtype), kind), kind)) / 2
        for step in (np.array(-1).astype(bits.dtype), np.array(1).astype(bits.dtype))
    ]


def _simplest(
    low: NDArray[np.float64], high: NDArray[np.float64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Numbers between low and high with few digits, which a vector trained in a narrow dtype has."""
    result = np.where(low <= high, (low + high) / 2, mean)
    for name in ("F32", "BF16"):
        kind = dtype(name)
        rounded = to_float(from_float(result, kind), kind).astype(np.float64)
        result = np.where((low < rounded) & (rounded < high), rounded, result)
    return result
