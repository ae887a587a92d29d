"""Fisher-weighted averaging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.merges.interface import Block, Strategy
from git_theta.merges.options import option

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FisherOptions:
    fisher: tuple[str, ...] = option(
        (),
        "REV:PATH of each model's diagonal Fisher information: a checkpoint with the same tensors",
        per_model="own",
    )
    weight: tuple[float, ...] = option(
        (),
        "weight of each model; a single value is ours' share of 1; none is equal shares",
        per_model="shares",
    )


class Fisher(Strategy[FisherOptions]):
    name = "fisher"
    summary = "Average, each entry weighted by how much the model's predictions depend on it."
    formula = "θ = Σ wᵢFᵢθᵢ / Σ wᵢFᵢ; the plain weighted mean where all Fᵢ are 0"
    reference = "Merging Models with Fisher-Weighted Averaging, 2021, arXiv:2111.09832"
    use = "Where diagonal Fisher information (mean squared gradients) of every model is at hand."
    options = FisherOptions
    statistics = "fisher"

    def combine(self, block: Block, options: FisherOptions, state: Any) -> torch.Tensor:
        fishers = [fisher.clamp(min=0) for fisher in block.statistics]
        total = fishers[0].clone()
        for fisher in fishers[1:]:
            total += fisher
        missing = 1 - total.sign()
        total += missing
        # Shares first: products with Fisher values themselves, which can be tiny, would lose digits.
        merged = divisor = None
        for fisher, weight, model in zip(fishers, options.weight, block.models, strict=True):
            share = (fisher + missing).div_(total).mul_(weight)
            merged = model * share if merged is None else merged.add_(model * share)
            divisor = share if divisor is None else divisor.add_(share)
        assert merged is not None
        return merged.div_(divisor)
