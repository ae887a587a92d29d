"""low-rank: predicts the base plus a product of two thin matrices, as LoRA merged into the weights.

LoRA: arXiv:2106.09685. The product is the same on every machine because it is exact: both factors are
integers of at most 2**bits, times a power of two for each row of the left and each column of the right
one, and 2 * bits + log2(rank) is at most 50, so every partial sum is an integer below 2**53 (times a power of
two), in whatever order a BLAS library adds. Where 24 bits do, float32 serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta.dtypes import DType
from git_theta.tensors import Tensor
from git_theta.updates.arithmetic import BLOCK, settle
from git_theta.updates.checks import alike, array, integer, only_base, parameters_of
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target
from git_theta.updates.low_rank_search import factors
from git_theta.updates.sampling import estimate
from git_theta.values import to_float

if TYPE_CHECKING:
    from git_theta.tensors import Bits

BITS = (8, 10, 12, 15, 18, 22)
_EXACT32, _EXACT64 = 24, 50
_SCALES = 60  # exponents of the powers of two, at most: no product then leaves float32's normal numbers
_MOST_RANK = 4096


class LowRank:
    """One product, one sum in float32 or float64, then rounded.

    Parameters: `rank`, `bits`; arrays `left` [rows, rank] and `right` [rank, columns], zigzag integers
    (0, -1, 1, -2 as 0, 1, 2, 3), and `left_scale`, `right_scale`, exponents of two.
    """

    name = "low-rank"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """The nearest base, if the difference of a sample, and then the whole, is of low rank."""
        for base in alike(target, bases)[:1]:
            found = factors(target, base)
            if found is not None:
                yield factored(target, base, *found)

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The sums."""
        base = only_base(self.name, dtype, shape, bases)
        with parameters_of(self.name):
            if dtype.kind != "float" or dtype.itemsize < 2 or len(shape) < 2 or not base.items:
                raise ValueError(f"{dtype.name}{list(shape)}")
            rank = integer(parameters.values["rank"], 1, _MOST_RANK)
            bits = integer(parameters.values["bits"], 1, max(BITS))
            needed = _needed(rank, bits)
            if needed > _EXACT64:
                raise ValueError(f"rank {rank} of {bits} bits would not be exact")
            kind = np.dtype(np.float32 if needed <= _EXACT32 and dtype.itemsize == 2 else np.float64)
            rows, columns = shape[0], base.items // shape[0]
            left = _factor(parameters, "left", rows, rank, bits)
            right = _factor(parameters, "right", columns, rank, bits)
            return _Sum(base, left.astype(kind), np.ascontiguousarray(right.T, kind))


def factored(target: Target, base: Base, left: NDArray[Any], right: NDArray[Any]) -> Proposal:
    """The proposal to store a target as a base plus `left @ right`, with the precision that takes least.

    Args:
        left, right: floats, [rows, rank] and [rank, columns] for the tensor as a matrix.

    Raises:
        DamagedObject, MissingObject: the base cannot be read.
    """
    best: tuple[int, Proposal] | None = None
    possible = [bits for bits in BITS if _needed(left.shape[1], bits) <= _EXACT64]
    # From the likelier end.
    for bits in possible if target.dtype.itemsize == 2 else reversed(possible):
        values = {"rank": left.shape[1], "bits": bits}
        arrays: dict[str, NDArray[np.integer[Any]]] = {}
        for name, factor in (("left", left), ("right", right.T)):
            arrays[name], arrays[f"{name}_scale"] = _integers(np.asarray(factor, np.float64), bits)
        proposal = Proposal("low-rank", (base,), Parameters(values, arrays))
        size = estimate(proposal, target)
        if best is not None and size >= best[0]:
            break
        best = size, proposal
    assert best is not None
    return best[1]


@dataclass(frozen=True)
class _Sum:
    base: Tensor
    left: NDArray[np.floating[Any]]
    right: NDArray[np.floating[Any]]

    def predict(self, start: int, stop: int, out: Bits) -> None:
        self.base.read(start, stop, out)
        dtype, columns = self.base.dtype, self.right.shape[1]
        step = max(1, BLOCK // columns)
        with np.errstate(all="ignore"):
            for row in range(start // columns, -(-stop // columns), step):
                sums = (self.left[row : row + step] @ self.right).ravel()
                first, last = max(start, row * columns), min(stop, row * columns + sums.size)
                sums = sums[first - row * columns : last - row * columns]
                part = out[first - start : last - start]
                np.add(sums, to_float(part, dtype), out=sums)
                settle(sums, dtype, part, part)


def _needed(rank: int, bits: int) -> int:
    """Bits of the largest integer that a product can have."""
    return 2 * bits + (rank - 1).bit_length()


def _integers(factor: NDArray[np.float64], bits: int) -> tuple[NDArray[Any], NDArray[np.int8]]:
    """A factor's rows as zigzag integers of at most 2**bits, and the exponent of each row."""
    largest = np.frexp(np.abs(factor).max(axis=1, initial=0))[1]
    exponents = np.clip(largest - bits, -_SCALES, _SCALES)
    limit = 1 << bits
    integers = np.clip(np.rint(np.ldexp(factor, -exponents[:, None])), -limit, limit).astype(np.int64)
    zigzag = (integers << 1) ^ (integers >> 63)
    return zigzag.ravel().astype(np.uint16 if bits < 15 else np.uint32), exponents.astype(np.int8)


def _factor(parameters: Parameters, name: str, rows: int, rank: int, bits: int) -> NDArray[np.float64]:
    """Undo `_integers`. Raises ValueError where a sum of products might not be exact."""
    kind = "<u2" if bits < 15 else "<u4"
    zigzag = array(parameters.arrays, name, kind, rows * rank).reshape(rows, rank).astype(np.int64)
    exponents = array(parameters.arrays, f"{name}_scale", "<i1", rows)
    integers = (zigzag >> 1) ^ -(zigzag & 1)
    if np.abs(integers).max(initial=0) > 1 << bits or np.abs(exponents).max(initial=0) > _SCALES:
        raise ValueError(f"{name} is out of bounds")
    values: NDArray[np.float64] = np.ldexp(integers.astype(np.float64), exponents[:, None])
    return values
