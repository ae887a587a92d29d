"""Task vectors with entries dropped at random: DARE and DELLA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from git_theta.errors import ThetaError
from git_theta.merges.interface import Block, Strategy, Unit
from git_theta.merges.options import option
from git_theta.merges.randomness import uniform
from git_theta.merges.strategies.consensus import elected_mean, iterate_task_vectors, linear_sum, onto_base

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DropOptions:
    weight: tuple[float, ...] = option((1.0,), "weight of each task vector")
    density: tuple[float, ...] = option(
        (0.5,), "probability that an entry of a task vector is kept", above=0.0, most=1.0
    )
    rescale: bool = option(True, "divide what is kept by the probability that it was")
    normalize: bool = option(False, "divide by the sum of the weights")
    lambda_: float = option(1.0, "factor on the merged task vector")
    seed: int = option(0, "of the random choice")


T = TypeVar("T", bound=DropOptions)


class DroppingStrategy(Strategy[T], Generic[T]):
    """Drops entries of each task vector at random, then merges what is left."""

    base = "required"
    least = 1

    def chances(self, vector: torch.Tensor, options: T, model: int) -> torch.Tensor | float:
        """The probability that each entry of a task vector is kept."""
        return options.density[model]

    def merged(self, vectors: Sequence[torch.Tensor], options: T) -> torch.Tensor:
        """The merged task vector."""
        return linear_sum(vectors, options.weight, options.normalize)

    def combine(self, block: Block, options: T, state: None) -> torch.Tensor:
        vectors = []
        for model, vector in enumerate(iterate_task_vectors(block)):
            chances = self.chances(vector, options, model)
            # Above 0 by at most 1 for what is kept, else 0 or less by less than 1: rounded up, 1 or 0.
            kept = uniform(options.seed, block.name, model, block.start, vector).neg_().add_(chances).ceil_()
            vector *= kept
            vectors.append(vector.div_(chances) if options.rescale else vector)
        return onto_base(block, self.merged(vectors, options), options.lambda_)


class DareLinear(DroppingStrategy[DropOptions]):
    name = "dare-linear"
    summary = "Drop most entries of each model's change at random, scale up the others, add them all."
    formula = "τ̂ᵢ = mᵢ ∘ τᵢ / density, mᵢ ~ Bernoulli(density); θ = base + λ Σ wᵢτ̂ᵢ"
    reference = "Language Models are Super Mario (DARE), 2023, arXiv:2311.03099"
    use = "Several fine-tunes with small changes; large changes do not bear it."
    options = DropOptions


class DareTies(DroppingStrategy[DropOptions]):
    name = "dare-ties"
    summary = "As dare-linear, but an entry's changes are added up only where they have the elected sign."
    formula = "τ̂ᵢ as in dare-linear; θ = base + λ Σ_A wᵢτ̂ᵢ over A = {i: sign(wᵢτ̂ᵢ) = sign(Σ wⱼτ̂ⱼ) ≠ 0}"
    reference = "DARE, 2023, arXiv:2311.03099, with the election of TIES, arXiv:2306.01708"
    use = "As dare-linear, for tasks that conflict strongly."
    options = DropOptions

    def merged(self, vectors: Sequence[torch.Tensor], options: DropOptions) -> torch.Tensor:
        return elected_mean(vectors, options.weight, "mass", options.normalize)


@dataclass(frozen=True)
class DellaLinearOptions(DropOptions):
    epsilon: tuple[float, ...] = option(
        (0.15,),
        "probabilities go from density − ε for a row's smallest change to density + ε for its largest "
        "(the paper's ε is twice this)",
        least=0.0,
        below=1.0,
    )

    def __post_init__(self) -> None:
        pairs = max(len(self.density), len(self.epsilon))
        if {len(self.density), len(self.epsilon)} - {1, pairs}:
            return  # the number of values is checked where the number of models is known
        for index in range(pairs):
            density = self.density[index % len(self.density)]
            epsilon = self.epsilon[index % len(self.epsilon)]
            if not (epsilon < density and density + epsilon <= 1):
                raise ThetaError(
                    f"density={density:g} with epsilon={epsilon:g} gives probabilities outside 0 to 1",
                    "choose epsilon smaller than density and than 1 − density",
                )


@dataclass(frozen=True)
class DellaOptions(DellaLinearOptions):
    normalize: bool = option(True, "mean rather than sum of the entries that agree")


D = TypeVar("D", bound=DellaLinearOptions)


class _DellaStrategy(DroppingStrategy[D], Generic[D]):
    reference = "DELLA-Merging, 2024, arXiv:2406.11617"

    def unit(self, options: D) -> Unit:
        return "row"

    def chances(self, vector: torch.Tensor, options: D, model: int) -> torch.Tensor:
        density, epsilon = options.density[model], options.epsilon[model]
        last = vector.shape[1] - 1
        if last == 0:
            return vector.new_full(vector.shape, density)
        return _ranks(vector).mul_(2 * epsilon / last).add_(density - epsilon)


class DellaLinear(_DellaStrategy[DellaLinearOptions]):
    name = "della-linear"
    summary = "As dare-linear, but within each row larger changes are kept with a higher probability."
    formula = (
        "pᵢ from density − ε to density + ε in equal steps by the rank of |τᵢ| in its row; "
        "τ̂ᵢ = mᵢ ∘ τᵢ / pᵢ, mᵢ ~ Bernoulli(pᵢ); θ = base + λ Σ wᵢτ̂ᵢ"
    )
    use = "As dare-linear, where large changes matter more."
    options = DellaLinearOptions


class Della(_DellaStrategy[DellaOptions]):
    name = "della"
    summary = "As della-linear, then average, for each entry, the changes that have the elected sign."
    formula = (
        "τ̂ᵢ as in della-linear; θ = base + λ Σ_A wᵢτ̂ᵢ / Σ_A wᵢ over A = {i: sign(wᵢτ̂ᵢ) = sign(Σ wⱼτ̂ⱼ) ≠ 0}"
    )
    use = "As della-linear, for tasks that conflict strongly."
    options = DellaOptions

    def merged(self, vectors: Sequence[torch.Tensor], options: DellaOptions) -> torch.Tensor:
        return elected_mean(vectors, options.weight, "mass", options.normalize)


def _ranks(vector: torch.Tensor) -> torch.Tensor:
    """The rank of each entry's magnitude in its row, from 0; of equal ones the first has the lower rank."""
    import torch

    columns = vector.shape[1]
    if vector.device.type == "cpu" and vector.element_size() == 4:
        # Magnitude and column as one integer: all differ, so any sort will do, and NumPy's is the fastest.
        keys = vector.abs().view(torch.int32).numpy().astype(np.int64)
        keys <<= 32
        keys |= np.arange(columns)
        keys.sort(axis=1)
        keys &= 0xFFFFFFFF
        order = torch.from_numpy(keys)
    else:
        order = torch.argsort(vector.abs(), dim=1, stable=True)
    places = torch.arange(columns, dtype=vector.dtype, device=vector.device).expand(vector.shape)
    return torch.empty_like(vector).scatter_(1, order, places)
