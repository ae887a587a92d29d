"""Finds out whether a tensor is another plus a matrix of low rank, and what its factors are.

Looking must cost next to nothing, because most differences are of full rank. In a sample D the participation
ratio tr(G)^2 / |G|^2 of G = D D^T is at most the rank where there is no noise, and half of the sample's size
for noise; only below a bound are the singular values looked at, and only if dropping the noise would save
more than the factors take is the whole matrix decomposed, by a randomized range finder (Halko,
Martinsson, Tropp 2011, arXiv:0909.4061).
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from math import log2, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import kernels, scratch
from git_theta.splitmix import signs
from git_theta.updates.arithmetic import in_kernels
from git_theta.updates.interface import Base, Target
from git_theta.updates.matrices import matrix_shape, row_blocks, submatrix
from git_theta.values import to_float

if TYPE_CHECKING:
    from git_theta.dtypes import DType
    from git_theta.tensors import Bits

_SAMPLE = 192
_LEAST = 64  # rows and columns of a sample, and of a matrix that is worth it
_CHANGED = 0.5  # part of a sample that must have changed
_PARTICIPATION = 50 / 192  # of the sample's size: LoRAs of rank up to 64 gave 1 to 38 of 192, noise 96
_GAIN = 1.2  # the bits that must be saved for each bit of a factor
_ABOVE_NOISE = 3.0  # a singular value that counts, over their median; noise ends at 2.5
_OVERSAMPLING = 10
_LARGE = 16 << 20  # items of a matrix from which on one thread at a time decomposes, to bound the memory
_one_at_a_time = threading.Lock()
_REFINED_RANK = 48  # the cost grows with the square of the rank
_ABOVE_EDGE = 1.5  # a weighted singular value that counts, over the largest that noise has
_RARE = 50  # one value in this many is below the least exponent that is told apart


def factors(target: Target, base: Base) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Left [rows, rank] and right [rank, columns] factors of target - base, None where that is no gain."""
    shape = matrix_shape(target.tensor)
    dtype = target.dtype
    if shape is None or min(shape) < _LEAST or dtype.kind != "float" or dtype.itemsize < 2:
        return None
    rank = _rank_of_sample(target, base, shape)
    if rank == 0:
        return None
    with _one_at_a_time if shape[0] * shape[1] > _LARGE else nullcontext():
        return _factors_of_whole(target, base, shape, rank)


def _factors_of_whole(
    target: Target, base: Base, shape: tuple[int, int], rank: int
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    dtype, count = target.dtype, shape[0] * shape[1]
    refines = dtype.itemsize == 2 and rank <= _REFINED_RANK
    least = _least_exponent(target, shape[1]) if refines else 0
    table = _weights(dtype, least) if refines else np.empty(0, np.float32)
    with scratch.borrow(count, np.float32) as room, scratch.borrow(count * refines, np.float32) as more:
        matrix, weights = room.reshape(shape), more.reshape(shape) if refines else None
        pairs = zip(row_blocks(target.tensor, shape[1]), row_blocks(base.tensor, shape[1]), strict=True)
        for (row, wanted), (_, given) in pairs:
            _difference(wanted, given, dtype, matrix[row : row + len(wanted)])
            if weights is not None:
                np.take(table, wanted, out=weights[row : row + len(wanted)], mode="clip")
        found = _decomposed(matrix, rank)
        if found is None or weights is None or found[0].shape[1] > _REFINED_RANK:
            return found
        unit = 2.0 ** (least - ((1 << (dtype.exponent - 1)) - 1) - dtype.mantissa)
        return _refined(matrix, weights, unit, *found)


def _rank_of_sample(target: Target, base: Base, shape: tuple[int, int]) -> int:
    """The rank of a sample of the difference, 0 where it does not pay."""
    wanted, given = (submatrix(one.tensor, shape[1], _SAMPLE, _SAMPLE) for one in (target, base))
    size = min(wanted.shape)
    if size < _LEAST or np.mean(wanted != given) < _CHANGED:
        return 0
    differences: NDArray[np.float32] = np.empty(wanted.shape, np.float32)
    _difference(wanted, given, target.dtype, differences)
    sample = differences.astype(np.float64)
    if len(sample) > sample.shape[1]:
        sample = sample.T
    gram = sample @ sample.T
    energy = float(np.trace(gram))
    if not energy or energy**2 / float((gram * gram).sum()) > _PARTICIPATION * size:
        return 0
    squares = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)
    rank = int(np.count_nonzero(squares > _ABOVE_NOISE**2 * np.median(squares)))
    if not 0 < rank <= size // 2:
        return 0
    # What is left has lost some freedom to the fit, so the noise is a little larger than it seems.
    freedom = (len(sample) - rank) * (sample.shape[1] - rank)
    noise = float(squares[rank:].sum()) / freedom
    gained = 0.5 * log2(max(1.0, energy / sample.size / max(noise, 1e-300)))
    bits = 9 if target.dtype.itemsize == 2 else 22
    spent = rank * bits * (shape[0] + shape[1]) / (shape[0] * shape[1])
    return rank if min(gained, target.dtype.mantissa) > _GAIN * spent else 0


def _difference(wanted: Bits, given: Bits, dtype: DType, out: NDArray[np.float32]) -> None:
    """Fill `out` with target - base as numbers, zeros where that is not finite."""
    x, y = (np.ascontiguousarray(bits).ravel() for bits in (given, wanted))
    if in_kernels(dtype):
        kernels.subtract(x, y, out.reshape(-1))
        return
    with np.errstate(all="ignore"):
        found = (to_float(y, dtype) - to_float(x, dtype)).astype(np.float32, copy=False)
        np.copyto(found, 0, where=~np.isfinite(found))
        out[:] = found.reshape(out.shape)


def _decomposed(matrix: NDArray[np.float32], rank: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The factors of the part of a matrix that stands out from noise."""
    rows, columns = matrix.shape
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    scale = float(np.abs(matrix).max(initial=0))
    if not scale:
        return None
    basis = matrix @ signs(columns, width)
    basis = _orthonormal(matrix @ _orthonormal(matrix.T @ _orthonormal(basis)))
    core = (basis.T @ matrix).astype(np.float64)
    squares, vectors = np.linalg.eigh(core @ core.T)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    energy = sum(float(np.vdot(part, part)) for part in np.array_split(matrix, max(1, rows // 1024)))
    noise = max(0.0, energy - float(squares.sum())) / max(1, (rows - width) * (columns - width))
    edge = noise * (rows**0.5 + columns**0.5) ** 2
    kept = int(np.count_nonzero(squares > max(edge, squares[0] * 1e-12)))
    if not kept:
        return None
    roots = np.sqrt(np.sqrt(squares[:kept]))
    left = basis.astype(np.float64) @ vectors[:, :kept] * roots
    return left, (vectors[:, :kept].T @ core) / roots[:, None]


def _refined(
    matrix: NDArray[np.float32],
    weights: NDArray[np.float32],
    unit: float,
    left: NDArray[Any],
    right: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """One sweep of alternating least squares with weights.

    Rounding to the dtype hides small differences of large values, and small values show them: least
    squares without weights give all of them the same say, and take the rounding for more rank.

    Args:
        matrix: overwritten.
        unit: the unit in the last place of values whose weight is 1.
    """
    np.multiply(matrix, weights, out=matrix)
    left = _solved(weights, matrix, right)
    right = _solved(weights.T, matrix.T, left.T)
    (left, left_part), (right, right_part) = np.linalg.qr(left), np.linalg.qr(right)
    before, roots, after = np.linalg.svd(left_part @ right_part.T)
    rows, columns = matrix.shape
    edge = (rows**0.5 + columns**0.5) * unit / sqrt(12 * float(weights.mean(dtype=np.float64)))
    kept = max(1, int(np.count_nonzero(roots > _ABOVE_EDGE * edge)))
    roots = np.sqrt(roots[:kept])
    return (left @ before[:, :kept]) * roots, (roots[:, None] * after[:kept]) @ right.T


def _solved(
    weights: NDArray[np.float32], weighted: NDArray[np.float32], right: NDArray[Any]
) -> NDArray[np.float64]:
    """The left factor that is best for a right one: least squares, row by row."""
    rank = len(right)
    first, second = np.triu_indices(rank)
    products = weights @ np.ascontiguousarray((right[first] * right[second]).T, np.float32)
    normal = np.empty((len(weights), rank, rank))
    normal[:, first, second] = normal[:, second, first] = products
    trace = normal.trace(axis1=1, axis2=2)
    normal[:, range(rank), range(rank)] += (1e-7 * trace / rank + 1e-30)[:, None]  # rows of zeros
    wanted = (weighted @ np.ascontiguousarray(right.T, np.float32)).astype(np.float64)
    return np.asarray(np.linalg.solve(normal, wanted[:, :, None])[:, :, 0], np.float64)


def _least_exponent(target: Target, columns: int) -> int:
    """The exponent that few values of a sample are below."""
    exponents = _exponents(submatrix(target.tensor, columns, _SAMPLE, _SAMPLE), target.dtype).ravel()
    rank = exponents.size // _RARE
    return max(1, int(np.partition(exponents, rank)[rank]))


def _weights(dtype: DType, least: int) -> NDArray[np.float32]:
    """For all bits of a dtype of 16 bits, one over the square of the unit in the last place, relative to that
    at the least exponent. Smaller values get no more, so that no few of them decide.
    """
    exponents = _exponents(np.arange(1 << 16, dtype="<u2"), dtype)
    above = np.clip(exponents, least, least + 63).astype(np.int32) - least
    return np.left_shift(127 - 2 * above, 23, dtype=np.int32).view(np.float32)  # 4**-above


def _exponents(bits: Bits, dtype: DType) -> Bits:
    exponents: Bits = np.bitwise_and(bits >> dtype.mantissa, (1 << dtype.exponent) - 1, dtype=bits.dtype)
    return exponents


def _orthonormal(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.linalg.qr(matrix)[0]
