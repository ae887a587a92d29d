"""SCE: select, calculate, erase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.merges import sums
from git_theta.merges.cuts import Cut, above, cuts
from git_theta.merges.interface import Block, Blocks, Strategy
from git_theta.merges.options import option
from git_theta.merges.strategies.consensus import (
    agreeing_sum,
    elected_sign,
    onto_base,
    task_vectors,
)
from git_theta.merges.strategies.trimmed import share_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SceOptions:
    select_topk: float = option(
        1.0, "share of entries that is kept, those where the models vary most", above=0.0, most=1.0
    )


@dataclass(frozen=True)
class Selected:
    """Above which variances entries are kept (None: all are), and the models' weights."""

    variance: Cut | None
    weights: tuple[float, ...]


class Sce(Strategy[SceOptions]):
    name = "sce"
    summary = (
        "Keep entries where models vary most, weight models by their changes' size, drop minority signs."
    )
    formula = (
        "τ̂ᵢ = τᵢ at the top select-topk of entries by Varᵢ(τᵢ); wᵢ = ‖τ̂ᵢ‖² / Σⱼ ‖τ̂ⱼ‖² per tensor; "
        "θ = base + Σ_A wᵢτ̂ᵢ / Σ_A wᵢ over A = {i: sign(τ̂ᵢ) = sign(Σ τ̂ⱼ) ≠ 0}"
    )
    reference = "FuseChat, 2024, arXiv:2408.07990"
    use = "Models of unequal strength in different layers."
    options = SceOptions
    base = "required"

    def prepare(self, blocks: Blocks, options: SceOptions, survey: Any) -> Selected:
        kept = max(1, share_of(blocks.elements, options.select_topk))
        variance = None
        if kept < blocks.elements:
            [[[variance]]] = cuts([blocks], lambda block: [_variance(task_vectors(block))], [[kept]])

        def energies(block: Block) -> list[float]:
            return [sums.total(vector.square_()) for vector in _selected(block, variance)]

        found = sums.over_blocks(blocks, energies)
        total = sum(found)
        weights = [energy / total if total else 1.0 / len(found) for energy in found]
        return Selected(variance, tuple(weights))

    def combine(self, block: Block, options: SceOptions, state: Selected) -> torch.Tensor:
        vectors = _selected(block, state.variance)
        sign = elected_sign(vectors)  # of the plain sum; the weights come after it
        weighted = [vector.mul_(weight) for vector, weight in zip(vectors, state.weights, strict=True)]
        return onto_base(block, agreeing_sum(weighted, state.weights, sign, normalize=True), 1.0)


def _variance(vectors: list[torch.Tensor]) -> torch.Tensor:
    """Of each entry over the models; never quite 0, so that models that agree can be selected, too."""
    import torch

    mean = vectors[0].clone()
    for vector in vectors[1:]:
        mean += vector
    mean /= len(vectors)
    result = (vectors[0] - mean).square_()
    for vector in vectors[1:]:
        result += (vector - mean).square_()
    return result.div_(len(vectors)).clamp_(min=torch.finfo(result.dtype).tiny)


def _selected(block: Block, least: Cut | None) -> list[torch.Tensor]:
    vectors = task_vectors(block)
    if least is not None:
        mask = above(_variance(vectors), least, block.start).sign_()
        for vector in vectors:
            vector *= mask
    return vectors
