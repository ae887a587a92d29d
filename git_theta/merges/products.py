"""Merging the products of factors, in float64, without ever writing a product out.

Σ cᵢ sᵢ Bᵢ Aᵢ is the product of all Bᵢ side by side and all Aᵢ one below the other. Both are made
orthogonal (QR), what is left between them is small, and its largest singular values give the factors of our
rank that come nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from git_theta.errors import ThetaError
from git_theta.manifest import TensorLine
from git_theta.merges.arithmetic import linear_coefficients
from git_theta.merges.decisions import OURS, Decision, Pair
from git_theta.merges.factors import is_turned
from git_theta.tensors import ArrayTensor, Tensor
from git_theta.values import from_float, to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

_NOTHING = 1e-7  # of a product: float32 cannot hold it

Open = Callable[[TensorLine], Tensor]


@dataclass(frozen=True)
class Factored:
    """The factors of a merged product.

    Attributes:
        tensors: by name.
        lost: what our rank cannot hold: the norm of the difference, as a share of that of the product.
        finite: whether all that went in were numbers; else all that comes out is NaN.
    """

    tensors: dict[str, ArrayTensor]
    lost: float
    finite: bool


def merged(pair: Pair, decisions: Mapping[str, Decision], open_tensor: Open) -> Factored:
    """Merge the products of a pair as its decisions say.

    Args:
        decisions: by name in the result.

    Raises:
        ThetaError: alpha is 0.
    """
    combination = decisions[pair.first].combination
    assert combination is not None
    coefficients = linear_coefficients(combination.strategy, combination.options, len(combination.sides))
    assert coefficients is not None
    left, right = _factors(pair, decisions, OURS, open_tensor)
    scale = _scale(pair, decisions, OURS, open_tensor, left.shape[1])
    lefts, rights = [], []
    for coefficient, side in zip(coefficients[1:], combination.sides, strict=True):
        one, other = _factors(pair, decisions, side, open_tensor)
        lefts.append(one * (coefficient * _scale(pair, decisions, side, open_tensor, one.shape[1]) / scale))
        rights.append(other)
    tall, wide = np.hstack(lefts), np.vstack(rights)
    finite = bool(np.isfinite(tall).all() and np.isfinite(wide).all())
    lost = 0.0
    if finite:
        left, right, lost = _nearest(tall, wide, left, right)
    else:
        left, right = np.full_like(left, np.nan), np.full_like(right, np.nan)
    first, second = decisions[pair.first], decisions[pair.second]
    turned = is_turned(_line(first, OURS).shape, _line(second, OURS).shape)
    made = (left, right) if turned else (right, left)
    tensors = {
        one.name: _stored(_line(one, OURS), values) for one, values in zip((first, second), made, strict=True)
    }
    return Factored(tensors, lost, finite)


def _nearest(tall: Matrix, wide: Matrix, left: Matrix, right: Matrix) -> tuple[Matrix, Matrix, float]:
    """Factors of the rank of left and right whose product is nearest to that of tall and wide; what is lost.

    The right one gets orthogonal rows, so that none of them is dead for further training; where there are
    more of them than the product needs, they are those of `right`.
    """
    of_tall, upper = np.linalg.qr(tall)
    of_wide, lower = np.linalg.qr(wide.T)
    rotation, values, turn = np.linalg.svd(upper @ lower.T)
    kept = min(left.shape[1], values.size)
    near_left, near_right = np.zeros_like(left), right.copy()
    near_left[:, :kept] = of_tall @ rotation[:, :kept] * values[:kept]
    near_right[:kept] = turn[:kept] @ of_wide.T
    norm, rest = float(np.linalg.norm(values)), float(np.linalg.norm(values[kept:]))
    return near_left, near_right, rest / norm if rest > _NOTHING * norm else 0.0


def _factors(
    pair: Pair, decisions: Mapping[str, Decision], side: int, open_tensor: Open
) -> tuple[Matrix, Matrix]:
    """A side's factors as matrices: [..., rank] and [rank, ...]."""
    first, second = (_line(decisions[name], side) for name in (pair.first, pair.second))
    one, other = _values(first, open_tensor), _values(second, open_tensor)
    if is_turned(first.shape, second.shape):
        return one, other
    return other.reshape(second.shape[0], second.shape[1]), one.reshape(first.shape[0], -1)


def _scale(pair: Pair, decisions: Mapping[str, Decision], side: int, open_tensor: Open, rank: int) -> float:
    """What a side's product is multiplied with: alpha divided by the rank, 1 where there is no alpha."""
    if not pair.alpha:
        return 1.0
    alpha = float(_values(_line(decisions[pair.alpha], side), open_tensor).reshape(-1)[0])
    if not alpha:
        raise ThetaError(
            f"{pair.alpha} is 0 on some side: a product that counts for nothing cannot be merged",
            f"merge {pair.first} with lora=apart, or take it from one side",
        )
    return alpha / rank


def _values(line: TensorLine, open_tensor: Open) -> Matrix:
    tensor = open_tensor(line)
    return to_float(tensor.read(0, tensor.items), line.dtype).astype(np.float64).reshape(line.shape)


def _stored(line: TensorLine, values: Matrix) -> ArrayTensor:
    bits = from_float(values.reshape(-1), line.dtype, overflow="saturate")
    return ArrayTensor(line.dtype, line.shape, bits.tobytes())


def _line(decision: Decision, side: int) -> TensorLine:
    line = decision.lines[side]
    assert isinstance(line, TensorLine)
    return line
