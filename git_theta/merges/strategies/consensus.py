"""What the strategies on task vectors have in common: differences, weighted sums, elected signs.

Masks are made by arithmetic (sign, relu, hardshrink) rather than by comparing and choosing: torch's
comparisons and `where` were measured 3 to 20 times as slow on the CPU as arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from git_theta.merges.interface import Block
from git_theta.merges.strategies.linear import normalized

if TYPE_CHECKING:
    import torch

Elect = Literal["mass", "count"]


def task_vectors(block: Block) -> list[torch.Tensor]:
    """The models minus the base."""
    return list(iterate_task_vectors(block))


def iterate_task_vectors(block: Block) -> Iterator[torch.Tensor]:
    """The models minus the base, one at a time."""
    assert block.base is not None
    for model in block.models:
        yield model - block.base


def linear_sum(vectors: Sequence[torch.Tensor], weights: Sequence[float], normalize: bool) -> torch.Tensor:
    """Σ wᵢ vᵢ, divided by Σ wᵢ on request. Raises ThetaError where that is 0."""
    shares = normalized(tuple(weights)) if normalize else weights
    result = vectors[0] * shares[0]
    for vector, share in zip(vectors[1:], shares[1:], strict=True):
        result += vector * share
    return result


def elected_mean(
    vectors: Sequence[torch.Tensor], weights: Sequence[float], elect: Elect, normalize: bool
) -> torch.Tensor:
    """Per entry, the sum of the weighted vectors that have the elected sign (TIES-Merging, section 4).

    The sign is that of the sum of all (`mass`), or the one that more of them have (`count`); in a tie
    nobody is elected, and the result is 0.

    Args:
        normalize: divide by the sum of the weights (their absolute values) of those that take part.
    """
    weighted = [
        vector if weight == 1 else vector * weight for vector, weight in zip(vectors, weights, strict=True)
    ]
    votes = weighted if elect == "mass" else [vector.sign() for vector in weighted]
    return agreeing_sum(weighted, weights, elected_sign(votes), normalize)


def elected_sign(votes: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sign of the sum of all votes; 0 in a tie."""
    total = votes[0].clone()
    for vote in votes[1:]:
        total += vote
    return total.sign_()


def agreeing_sum(
    weighted: Sequence[torch.Tensor], weights: Sequence[float], sign: torch.Tensor, normalize: bool
) -> torch.Tensor:
    """The sum of the entries that have a sign; divided by the sum of their |weights| on request."""
    import torch

    total, divisor = torch.zeros_like(sign), torch.zeros_like(sign)
    for vector, weight in zip(weighted, weights, strict=True):
        agreeing = (vector * sign).relu_()
        total += agreeing
        if normalize:
            divisor.add_(agreeing.sign_(), alpha=abs(weight))
    if normalize:
        total /= divisor.clamp_(min=torch.finfo(divisor.dtype).tiny)
    return total.mul_(sign)


def onto_base(block: Block, change: torch.Tensor, factor: float) -> torch.Tensor:
    """base + factor · change; `change` is used up."""
    assert block.base is not None
    if factor != 1:
        change *= factor
    change += block.base
    return change
