"""Task vectors trimmed by magnitude: TIES and Model Breadcrumbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from git_theta.merges import sums
from git_theta.merges.cuts import Cut, above, cuts
from git_theta.merges.interface import Block, Blocks, Strategy
from git_theta.merges.options import option
from git_theta.merges.strategies.consensus import (
    elected_mean,
    iterate_task_vectors,
    linear_sum,
    onto_base,
    task_vectors,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Band:
    """Which magnitudes of one model's task vector are kept: above low, not above high; None is no bound."""

    low: Cut | None
    high: Cut | None


@dataclass(frozen=True)
class Trimmed:
    """What is kept of each task vector, and what it is multiplied by then."""

    bands: tuple[Band, ...]
    factors: tuple[float, ...]


@dataclass(frozen=True)
class TrimOptions:
    """What all strategies of the family have in common."""

    weight: tuple[float, ...] = option((1.0,), "weight of each task vector")
    normalize: bool = option(False, "divide by the sum of the weights")
    rescale: bool = option(False, "scale each trimmed task vector to its old sum of magnitudes")
    lambda_: float = option(1.0, "factor on the merged task vector")
    trim: Literal["tensor", "global"] = option(
        "tensor", "rank magnitudes within each tensor, or over all tensors of the model"
    )


T = TypeVar("T", bound=TrimOptions)


class TrimmingStrategy(Strategy[T], Generic[T]):
    """Trims each task vector by the ranks of its magnitudes, then merges what is left.

    Of equal magnitudes, those at the first positions count as larger: exactly so many are kept as are to be.
    """

    base = "required"
    least = 1

    def kept(self, options: T, model: int, count: int) -> tuple[int, int]:
        """How many of the largest of `count` > 0 magnitudes are dropped, and how many after them are kept."""
        raise NotImplementedError

    def merged(self, vectors: Sequence[torch.Tensor], options: T) -> torch.Tensor:
        """The merged task vector."""
        raise NotImplementedError

    def surveys(self, options: T) -> bool:
        return options.trim == "global"

    def survey(self, tensors: Sequence[Blocks], options: T) -> Mapping[str, tuple[Band, ...]]:
        bands = self._bands(tensors, options)
        return {tensor.name: found for tensor, found in zip(tensors, bands, strict=True)}

    def prepare(self, blocks: Blocks, options: T, survey: Mapping[str, tuple[Band, ...]] | None) -> Trimmed:
        bands = survey[blocks.name] if survey is not None else self._bands([blocks], options)[0]
        if not options.rescale:
            return Trimmed(bands, (1.0,) * blocks.models)

        def magnitudes(block: Block) -> list[float]:
            vectors = task_vectors(block)
            kept = [trim(vector, band, block.start) for vector, band in zip(vectors, bands, strict=True)]
            return [sums.total(one.abs()) for one in [*vectors, *kept]]

        found = sums.over_blocks(blocks, magnitudes)
        before, after = found[: blocks.models], found[blocks.models :]
        return Trimmed(bands, tuple(b / a if a else 1.0 for b, a in zip(before, after, strict=True)))

    def combine(self, block: Block, options: T, state: Trimmed) -> torch.Tensor:
        vectors = []
        for vector, band, factor in zip(iterate_task_vectors(block), state.bands, state.factors, strict=True):
            kept = trim(vector, band, block.start)
            vectors.append(kept if factor == 1 else kept * factor)
        return onto_base(block, self.merged(vectors, options), options.lambda_)

    def _bands(self, tensors: Sequence[Blocks], options: T) -> list[tuple[Band, ...]]:
        """For each tensor what is kept of each model."""
        count = sum(tensor.elements for tensor in tensors)
        ends = []
        for model in range(tensors[0].models):
            dropped, kept = self.kept(options, model, count)
            ends.append((dropped + kept if dropped + kept < count else None, dropped or None))
        cut = [model for model, pair in enumerate(ends) if pair != (None, None)]
        if not cut:
            return [(Band(None, None),) * len(ends)] * len(tensors)

        def magnitudes(block: Block) -> list[torch.Tensor]:
            assert block.base is not None
            return [(block.models[model] - block.base).abs_() for model in cut]

        wanted = [[end for end in ends[model] if end is not None] for model in cut]
        bands = []
        for of_tensor in cuts(tensors, magnitudes, wanted):
            found = dict(zip(cut, map(iter, of_tensor), strict=True))
            bands.append(
                tuple(
                    Band(*(None if end is None else next(found[model]) for end in pair))
                    for model, pair in enumerate(ends)
                )
            )
        return bands


def trim(vector: torch.Tensor, band: Band, start: int) -> torch.Tensor:
    """The entries with a magnitude in the band; the others become 0. `start` is as for cuts.above."""
    result = vector if band.low is None else above(vector, band.low, start)
    return result if band.high is None else result - above(vector, band.high, start)


def share_of(count: int, share: float) -> int:
    """That share of a number of entries, rounded, halves up."""
    return int(share * count + 0.5)


@dataclass(frozen=True)
class TiesOptions(TrimOptions):
    density: tuple[float, ...] = option(
        (1.0,),
        "share of entries of each task vector that is kept; the paper's choice is 0.2",
        above=0.0,
        most=1.0,
    )
    normalize: bool = option(True, "mean rather than sum of the entries that agree")
    elect: Literal["mass", "count"] = option(
        "mass", "a sign is elected by the sum of the changes, or by their number"
    )


class Ties(TrimmingStrategy[TiesOptions]):
    name = "ties"
    summary = "Keep the largest changes of each model, elect a sign for each entry, average those that agree."
    formula = (
        "τ̂ᵢ = top density of τᵢ by magnitude; s = sign(Σ wᵢτ̂ᵢ), or of Σ sign(wᵢτ̂ᵢ); "
        "θ = base + λ Σ_A wᵢτ̂ᵢ / Σ_A wᵢ over A = {i: sign(wᵢτ̂ᵢ) = s ≠ 0}"
    )
    reference = "TIES-Merging, 2023, arXiv:2306.01708"
    use = (
        "Tasks that conflict strongly, where electing signs helps; elsewhere an average was better (see "
        "docs/merging.md)."
    )
    options = TiesOptions

    def kept(self, options: TiesOptions, model: int, count: int) -> tuple[int, int]:
        return 0, max(1, share_of(count, options.density[model]))

    def merged(self, vectors: Sequence[torch.Tensor], options: TiesOptions) -> torch.Tensor:
        return elected_mean(vectors, options.weight, options.elect, options.normalize)


@dataclass(frozen=True)
class BreadcrumbsOptions(TrimOptions):
    density: tuple[float, ...] = option((0.9,), "share of entries that is kept", above=0.0, most=1.0)
    gamma: tuple[float, ...] = option(
        (0.01,), "share of the largest changes that is dropped, at most 1 − density", least=0.0, below=1.0
    )


class Breadcrumbs(TrimmingStrategy[BreadcrumbsOptions]):
    name = "breadcrumbs"
    summary = (
        "Drop the largest changes of each model (outliers) and the smallest ones (noise), add up the rest."
    )
    formula = "τ̂ᵢ = τᵢ without its largest γ and its smallest 1 − density − γ of entries; θ = base + λ Σ wᵢτ̂ᵢ"
    reference = "Model Breadcrumbs, 2023, arXiv:2312.06795"
    use = "Many fine-tunes, where single large changes hurt."
    options = BreadcrumbsOptions

    def kept(self, options: BreadcrumbsOptions, model: int, count: int) -> tuple[int, int]:
        kept = max(1, share_of(count, options.density[model]))
        return min(share_of(count, options.gamma[model]), count - kept), kept

    def merged(self, vectors: Sequence[torch.Tensor], options: BreadcrumbsOptions) -> torch.Tensor:
        return linear_sum(vectors, options.weight, options.normalize)


class BreadcrumbsTies(Breadcrumbs):
    name = "breadcrumbs-ties"
    summary = "As breadcrumbs, but an entry's changes are added up only where they have the elected sign."
    formula = "τ̂ᵢ as in breadcrumbs; θ = base + λ Σ_A wᵢτ̂ᵢ over A = {i: sign(wᵢτ̂ᵢ) = sign(Σ wⱼτ̂ⱼ) ≠ 0}"
    use = "As breadcrumbs, for tasks that conflict strongly."

    def merged(self, vectors: Sequence[torch.Tensor], options: BreadcrumbsOptions) -> torch.Tensor:
        return elected_mean(vectors, options.weight, "mass", options.normalize)
