"""Task vectors trimmed by magnitude: TIES and Model Breadcrumbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np

from git_theta.merges import sums
from git_theta.merges.interface import Block, Blocks, Strategy
from git_theta.merges.options import option
from git_theta.merges.order_statistics import order_statistics
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
    """Which magnitudes of one model's task vector are kept: low <= |τ| <= high; None is no bound."""

    low: float | None
    high: float | None


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
        "tensor", "rank magnitudes within each tensor, or over all tensors merged with these options"
    )


T = TypeVar("T", bound=TrimOptions)


class TrimmingStrategy(Strategy[T], Generic[T]):
    """Trims each task vector by the ranks of its magnitudes, then merges what is left."""

    base = "required"
    least = 1

    def ranks(self, options: T, model: int, count: int) -> tuple[int | None, int | None]:
        """The ranks of the smallest and the largest magnitude that are kept, of `count` > 0 in all.

        None where nothing is cut off.
        """
        raise NotImplementedError

    def merged(self, vectors: Sequence[torch.Tensor], options: T) -> torch.Tensor:
        """The merged task vector."""
        raise NotImplementedError

    def surveys(self, options: T) -> bool:
        return options.trim == "global"

    def survey(self, tensors: Sequence[Blocks], options: T) -> tuple[Band, ...]:
        return self._bands(tensors, options)

    def prepare(self, blocks: Blocks, options: T, survey: tuple[Band, ...] | None) -> Trimmed:
        bands = survey or self._bands([blocks], options)
        if not options.rescale:
            return Trimmed(bands, (1.0,) * blocks.models)

        def magnitudes(block: Block) -> list[float]:
            vectors = task_vectors(block)
            kept = [trim(vector, band) for vector, band in zip(vectors, bands, strict=True)]
            return [sums.total(one.abs()) for one in [*vectors, *kept]]

        found = sums.over_blocks(blocks, magnitudes)
        before, after = found[: blocks.models], found[blocks.models :]
        return Trimmed(bands, tuple(b / a if a else 1.0 for b, a in zip(before, after, strict=True)))

    def combine(self, block: Block, options: T, state: Trimmed) -> torch.Tensor:
        vectors = [
            trim(vector, band) if factor == 1 else trim(vector, band) * factor
            for vector, band, factor in zip(
                iterate_task_vectors(block), state.bands, state.factors, strict=True
            )
        ]
        return onto_base(block, self.merged(vectors, options), options.lambda_)

    def _bands(self, tensors: Sequence[Blocks], options: T) -> tuple[Band, ...]:
        count = sum(tensor.elements for tensor in tensors)
        ends = [self.ranks(options, model, count) for model in range(tensors[0].models)]
        cut = [model for model, pair in enumerate(ends) if pair != (None, None)]
        if not cut:
            return (Band(None, None),) * len(ends)

        def magnitudes(block: Block) -> list[torch.Tensor]:
            assert block.base is not None
            return [(block.models[model] - block.base).abs_() for model in cut]

        wanted = [[rank for rank in ends[model] if rank is not None] for model in cut]
        values = [iter(one) for one in order_statistics(tensors, magnitudes, wanted)]
        bands = [Band(None, None)] * len(ends)
        for model, found in zip(cut, values, strict=True):
            bands[model] = Band(*(None if rank is None else next(found) for rank in ends[model]))
        return tuple(bands)


def trim(vector: torch.Tensor, band: Band) -> torch.Tensor:
    """The entries with a magnitude in the band; the others become 0."""
    from torch.nn.functional import hardshrink

    result = vector
    if band.low is not None and band.low > 0:
        # hardshrink keeps what is larger than its bound.
        kind = np.float64 if vector.element_size() == 8 else np.float32
        result = hardshrink(vector, float(np.nextafter(kind(band.low), kind(0))))
    if band.high is not None:
        result = result - hardshrink(vector, band.high)
    return result


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
        "Fine-tunes whose changes disagree in sign (see the predicted interference), or more than two models."
    )
    options = TiesOptions

    def ranks(self, options: TiesOptions, model: int, count: int) -> tuple[int | None, int | None]:
        kept = max(1, share_of(count, options.density[model]))
        return (count - kept if kept < count else None), None

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

    def ranks(self, options: BreadcrumbsOptions, model: int, count: int) -> tuple[int | None, int | None]:
        density = options.density[model]
        largest = share_of(count, min(options.gamma[model], 1.0 - density))
        smallest = share_of(count, max(0.0, 1.0 - density - options.gamma[model]))
        smallest = min(smallest, count - 1)
        largest = min(largest, count - 1 - smallest)
        return (smallest or None), (count - 1 - largest if largest else None)

    def merged(self, vectors: Sequence[torch.Tensor], options: BreadcrumbsOptions) -> torch.Tensor:
        return linear_sum(vectors, options.weight, options.normalize)


class BreadcrumbsTies(Breadcrumbs):
    name = "breadcrumbs-ties"
    summary = "As breadcrumbs, but an entry's changes are added up only where they have the elected sign."
    formula = "τ̂ᵢ as in breadcrumbs; θ = base + λ Σ_A wᵢτ̂ᵢ over A = {i: sign(wᵢτ̂ᵢ) = sign(Σ wⱼτ̂ⱼ) ≠ 0}"
    use = "As breadcrumbs, where the changes disagree in sign."

    def merged(self, vectors: Sequence[torch.Tensor], options: BreadcrumbsOptions) -> torch.Tensor:
        return elected_mean(vectors, options.weight, "mass", options.normalize)
