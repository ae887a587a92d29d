"""Strategies that take in what theirs has to offer, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.merges import sums
from git_theta.merges.cuts import Cut, above
from git_theta.merges.interface import Block, Blocks, Strategy, Unit
from git_theta.merges.options import NoOptions, option
from git_theta.merges.order_statistics import order_statistics

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NearswapOptions:
    t: float = option(0.0001, "distance up to which theirs is taken; less and less of it beyond", above=0.0)


class Nearswap(Strategy[NearswapOptions]):
    name = "nearswap"
    summary = "Move to theirs where it is near to ours."
    formula = "w = min(1, t / |theirs − ours|); θ = (1 − w) ours + w theirs"
    reference = "QuartetAnemoi-70B-t0.0001 (alchemonaut), 2024, model card"
    use = "Giving a model some of another one's manner without its larger changes."
    options = NearswapOptions
    most = 2

    def combine(self, block: Block, options: NearswapOptions, state: None) -> torch.Tensor:
        ours, theirs = block.models
        distance = (theirs - ours).abs_().clamp_(min=options.t)
        weight = distance.new_tensor(options.t) / distance
        return theirs * weight + ours * (1 - weight)


class ArceeFusion(Strategy[NoOptions]):
    name = "arcee-fusion"
    summary = "Take theirs where the difference stands out, by its size and by how its row's softmax shifts."
    formula = (
        "I = |theirs − ours| · KL(softmax(theirs row) ‖ softmax(ours row)); "
        "θ = theirs where I ≥ median(I) + 1.5 · (Q₃(I) − Q₁(I)), else ours"
    )
    reference = "mergekit 0.1, arcee_fusion, 2025"
    use = "Taking only the most salient changes of another model."
    options = NoOptions
    most = 2

    def unit(self, options: NoOptions) -> Unit:
        return "row"

    def prepare(self, blocks: Blocks, options: NoOptions, survey: Any) -> float:
        last = blocks.elements - 1
        places = [share * last for share in (0.25, 0.5, 0.75)]
        ranks = sorted({rank for place in places for rank in (int(place), min(int(place) + 1, last))})
        [values] = order_statistics([blocks], lambda block: [_importance(block)], [ranks])
        value = dict(zip(ranks, values, strict=True))
        first, median, third = (
            value[int(place)] + (place - int(place)) * (value[min(int(place) + 1, last)] - value[int(place)])
            for place in places
        )
        return median + 1.5 * (third - first)

    def combine(self, block: Block, options: NoOptions, state: float) -> torch.Tensor:
        ours, theirs = block.models
        if state <= 0:
            return theirs.clone()
        taken = above(_importance(block), Cut(state), block.start).sign_().to(ours.dtype)
        return theirs * taken + ours * (1 - taken)


def _importance(block: Block) -> torch.Tensor:
    """Of each entry's difference. In float64: the divergence of nearly equal rows cancels to nothing else."""
    ours, theirs = (sums.widest(model) for model in block.models)
    ours_log, theirs_log = ours.log_softmax(1), theirs.log_softmax(1)
    divergence = (theirs_log.exp() * (theirs_log - ours_log)).sum(1, keepdim=True).clamp_(min=0)
    return (theirs - ours).abs_().mul_(divergence)
