"""Reinforced Agent Merging: changes that only one model made are kept whole, shared ones are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.merges import sums
from git_theta.merges.interface import Block, Blocks, Strategy
from git_theta.merges.options import option
from git_theta.merges.strategies.consensus import iterate_task_vectors, onto_base

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RamOptions:
    epsilon: float = option(1e-5, "changes up to this magnitude count as none", least=0.0)


class Ram(Strategy[RamOptions]):
    name = "ram"
    summary = "Keep changes that only one model made, average those that several made."
    formula = "Aᵢ = [|τᵢ| > ε], c = Σ Aᵢ; θ = base + Σ Aᵢ τᵢ / max(c, 1)"
    reference = "Behavior Knowledge Merge in Reinforced Agentic Models, 2026, arXiv:2601.13572"
    use = "Models trained by reinforcement learning, whose changes are sparse and seldom overlap."
    options = RamOptions
    base = "required"
    least = 1

    def combine(self, block: Block, options: RamOptions, state: None) -> torch.Tensor:
        active, count = _active(block, options.epsilon)
        total = active[0]
        for vector in active[1:]:
            total += vector
        return onto_base(block, total.div_(count.clamp_(min=1)), 1.0)


@dataclass(frozen=True)
class RamplusOptions(RamOptions):
    r: float = option(0.1, "how much a change of one model only is enlarged, per unit of overlap", least=0.0)
    alpha: float = option(0.2, "the overlap counts up to this", least=0.0)


class RamplusTl(Strategy[RamplusOptions]):
    name = "ramplus-tl"
    summary = "As ram, but changes of one model only are enlarged, the more the model overlaps with others."
    formula = (
        "ρᵢ = shared entries / unique entries of model i in this tensor; λᵢ = 1 + r · min(ρᵢ, α); "
        "θ = base + Σ Aᵢ τᵢ · (λᵢ where c = 1, 1/c elsewhere)"
    )
    reference = "Behavior Knowledge Merge in Reinforced Agentic Models (RAM+), 2026, arXiv:2601.13572"
    use = "As ram; makes up for what averaging shared changes takes away."
    options = RamplusOptions
    base = "required"
    least = 1

    def prepare(self, blocks: Blocks, options: RamplusOptions, survey: Any) -> tuple[float, ...]:
        def counts(block: Block) -> list[float]:
            active, count = _active(block, options.epsilon)
            alone = _alone(count)
            marks = [vector.sign_().abs_() for vector in active]
            return [sums.total(one) for mark in marks for one in (mark, mark * alone)]

        found = sums.over_blocks(blocks, counts)
        overlaps = []
        for changed, unique in zip(found[::2], found[1::2], strict=True):
            shared = changed - unique
            overlaps.append(shared / unique if unique else (options.alpha if shared else 0.0))
        return tuple(1.0 + options.r * min(overlap, options.alpha) for overlap in overlaps)

    def combine(self, block: Block, options: RamplusOptions, state: tuple[float, ...]) -> torch.Tensor:
        active, count = _active(block, options.epsilon)
        alone = _alone(count)
        together = (1 - alone).div_(count.clamp_(min=1))
        total = active[0] * (together + alone * state[0])
        for vector, factor in zip(active[1:], state[1:], strict=True):
            total += vector * (together + alone * factor)
        return onto_base(block, total, 1.0)


def _active(block: Block, epsilon: float) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The task vectors without their smallest changes, and how many are not 0 at each entry."""
    from torch.nn.functional import hardshrink

    active = [hardshrink(vector, epsilon) for vector in iterate_task_vectors(block)]
    count = active[0].sign().abs_()
    for vector in active[1:]:
        count += vector.sign().abs_()
    return active, count


def _alone(count: torch.Tensor) -> torch.Tensor:
    """1 where exactly one model changed the entry, else 0."""
    return (2 - count).relu_().mul_(count)
