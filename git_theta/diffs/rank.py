"""The numerical rank of a difference of two matrices, where it is low: the mark of a LoRA.

Each range of whole rows is looked at on its own. A sample of 192 x 192 entries decides first whether that
is worth while: tr(G)^2 / ||G||_F^2 of its Gram matrix, the participation ratio, is at most the rank, and
half of its largest value for noise. Then a randomized range finder (Halko, Martinsson, Tropp 2011,
arXiv:0909.4061, algorithm 4.3 for the rows) gives the leading singular values and right singular
vectors of the rows. Those of all ranges, stacked, have the singular values of the whole matrix.

A singular value counts when it rises above what rounding both sides to the dtype gives, which is the largest
singular value of a random matrix of that variance (Marchenko and Pastur), and above a thousandth of the
largest one. What those that count leave over must be no more than rounding explains, too: the sum of a LoRA
and a full fine-tune is not of low rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from git_theta import kernels, scratch
from git_theta.diffs.blocks import BLOCK, float64, in_float32, words
from git_theta.dtypes import DType
from git_theta.splitmix import signs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

HIGHEST = 64
"""Ranks above this are not low."""

_LEAST_CHANGED = 0.25  # with a smaller share changed, a range is sparse rather than of low rank
_SAMPLE = 192
_FEWEST_ROWS = 32
_PROBES = (24, HIGHEST + 16)
_MARGIN = 8  # probes beyond the rank, without which a range finder misses directions
_ABOVE_NOISE = 1.1
_RELATIVE = 1e-3
_LEFT_OVER = 1.1  # times what rounding leaves of the squares


@dataclass(frozen=True)
class Sketch:
    """What is known of some rows of a difference.

    Attributes:
        rows: how many.
        noise: variance of an entry that rounding of both sides explains.
        directions: right singular vectors times their singular values, one a row; None where the rank is
            not low.
    """

    rows: int
    noise: float
    directions: NDArray[np.float32] | None


def applies(shape: tuple[int, ...], dtype: DType) -> bool:
    """Whether a tensor is a matrix for which a low rank would say something."""
    if len(shape) < 2 or dtype.kind != "float" or not in_float32(dtype):
        return False
    rows = shape[0]
    columns = math.prod(shape[1:])
    return min(rows, columns) >= 2 * _FEWEST_ROWS


def sketch(old: Bits, new: Bits, dtype: DType, start: int, columns: int, changed: float) -> Sketch | None:
    """What the whole rows in a range say about the rank, or None if there are too few of them.

    Args:
        old, new: the bits of items [start, start + size) of both matrices.
        columns: items of a row.
        changed: share of the items that differ.
    """
    first = -start % columns
    rows = max(0, (old.size - first) // columns)
    if rows < _FEWEST_ROWS:
        return None
    if changed < _LEAST_CHANGED:
        return Sketch(rows, 0.0, None)
    inside = slice(first, first + rows * columns)
    old, new = old[inside], new[inside]
    with np.errstate(all="ignore"):
        old_sample, new_sample = (_sample(bits, dtype, rows, columns) for bits in (old, new))
        if not _may_be_low(new_sample - old_sample):
            return Sketch(rows, 0.0, None)
        noise = _rounding(old_sample[::4], dtype) + _rounding(new_sample[::4], dtype)
        with scratch.borrow(rows * columns, np.float32) as buffer:
            _subtract(old, new, dtype, buffer)
            return Sketch(rows, noise, _directions(buffer.reshape(rows, columns), noise))


def rank(sketches: Sequence[Sketch], columns: int) -> int | None:
    """The numerical rank of the matrix of all these rows; None where it is not low or nothing is known."""
    stacked = np.empty((0, columns))
    rows = sum(part.rows for part in sketches)
    if not rows:
        return None
    noise = sum(part.noise * part.rows for part in sketches) / rows
    values: NDArray[np.float64] = np.empty(0)
    for part in sketches:
        if part.directions is None:
            return None
        stacked = np.concatenate([stacked, part.directions], dtype=np.float64)
        values, vectors = _principal(stacked @ stacked.T)
        stacked = vectors[:, : 2 * HIGHEST].T @ stacked
    found = _above(values, noise, rows, columns)
    return found if 0 < found <= min(HIGHEST, min(rows, columns) // 4) else None


def _sample(bits: Bits, dtype: DType, rows: int, columns: int) -> NDArray[np.float64]:
    steps = max(1, rows // _SAMPLE), max(1, columns // _SAMPLE)
    part = bits.reshape(rows, columns)[:: steps[0], :: steps[1]][:_SAMPLE, :_SAMPLE]
    return float64(part.ravel(), dtype).reshape(part.shape)


def _rounding(values: NDArray[np.float64], dtype: DType) -> float:
    """Variance of the error of rounding to a dtype, uniform over the distance to the next value."""
    _, exponents = np.frexp(values[values != 0])
    steps = np.ldexp(1.0, exponents - 1 - dtype.mantissa)
    return float(np.dot(steps, steps)) / (12 * max(1, values.size))


def _may_be_low(difference: NDArray[np.float64]) -> bool:
    gram = difference @ difference.T
    trace, squares = float(np.trace(gram)), float(np.vdot(gram, gram))
    if not 0 < squares < math.inf:
        return False
    rows, columns = difference.shape
    of_noise = rows * columns / (rows + columns)
    return bool(trace * trace / squares <= of_noise * 50 / 96)


def _subtract(old: Bits, new: Bits, dtype: DType, out: NDArray[np.float32]) -> None:
    with scratch.borrow(2 * min(old.size, BLOCK), np.float32) as room:
        for start in range(0, old.size, BLOCK):
            target = out[start : start + BLOCK]
            a = words(old[start : start + BLOCK], dtype, room[: target.size])
            b = words(new[start : start + BLOCK], dtype, room[-target.size :])
            kernels.subtract(a, b, target)


def _directions(matrix: NDArray[np.float32], noise: float) -> NDArray[np.float32] | None:
    """The leading right singular vectors times singular values, those above the noise; None if too many."""
    rows, columns = matrix.shape
    squares = kernels.squares(matrix.ravel().view(np.uint32))
    for probes in _PROBES:
        if probes > min(rows, columns):
            return None
        drawn = matrix @ signs(columns, probes)
        drawn /= max(float(np.abs(drawn).max()), 1e-30)  # so that squares neither overflow nor vanish
        right_basis, _ = np.linalg.qr((drawn.T @ matrix).T)
        projected = (matrix @ right_basis).astype(np.float64)
        if not np.isfinite(projected).all():
            return None
        values, vectors = _principal(projected.T @ projected)
        found = _above(values, noise, rows, columns)
        if found > probes - _MARGIN:
            continue
        left = squares - float(np.dot(values[:found], values[:found]))
        if left > _LEFT_OVER * noise * rows * columns + _RELATIVE * squares:
            return None
        scaled = right_basis @ (vectors * values)[:, :found].astype(np.float32)
        return scaled.T
    return None


def _principal(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Singular values, largest first, of a matrix with this Gram matrix, and its eigenvectors in columns."""
    squares, vectors = np.linalg.eigh(gram)
    return np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1]


def _above(values: NDArray[np.float64], noise: float, rows: int, columns: int) -> int:
    edge = math.sqrt(noise) * (math.sqrt(rows) + math.sqrt(columns))
    bound = max(_ABOVE_NOISE * edge, _RELATIVE * float(values.max(initial=0.0)))
    return int(np.count_nonzero(values > bound))
