"""Entries chosen by how the models' changes compare: MagMax and consensus (TALL) masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.merges.interface import Block, Strategy
from git_theta.merges.options import option
from git_theta.merges.strategies.consensus import iterate_task_vectors, onto_base, task_vectors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MagmaxOptions:
    lambda_: float = option(1.0, "factor on the chosen changes")


class Magmax(Strategy[MagmaxOptions]):
    name = "magmax"
    summary = "Per entry, take the change of the model that changed it most."
    formula = "θ = base + λ τₖ, k = argmaxᵢ |τᵢ| per entry (of equals the first)"
    reference = "MagMax, 2024, arXiv:2407.06322"
    use = "Models fine-tuned one after the other, or on very different tasks."
    options = MagmaxOptions
    base = "required"
    least = 1

    def combine(self, block: Block, options: MagmaxOptions, state: None) -> torch.Tensor:
        vectors = iterate_task_vectors(block)
        chosen = next(vectors)
        magnitude = chosen.abs()
        for vector in vectors:
            other = vector.abs()
            larger = (other - magnitude).relu_().sign_()
            magnitude = magnitude.maximum(other)
            chosen -= chosen * larger
            chosen += vector.mul_(larger)
        return onto_base(block, chosen, options.lambda_)


@dataclass(frozen=True)
class ConsensusOptions:
    tall_lambda: float = option(
        0.4, "how much an entry of one task vector must weigh against the rest to count as used", least=0.0
    )
    k: int = option(2, "how many models must use an entry", least=1)
    lambda_: float = option(1.0, "factor on the merged task vector")


class Consensus(Strategy[ConsensusOptions]):
    name = "consensus"
    summary = "Add up all changes, but only at entries that at least k models use (TALL masks)."
    formula = "τ = Σ τᵢ; mᵢ = [|τᵢ| ≥ tall-lambda · |τ − τᵢ|]; θ = base + λ [Σ mᵢ ≥ k] ∘ τ"
    reference = (
        "Localizing Task Information for Improved Model Merging and Compression, 2024, arXiv:2405.07813"
    )
    use = "Many tasks, to leave out what only one of them needs."
    options = ConsensusOptions
    base = "required"

    def combine(self, block: Block, options: ConsensusOptions, state: None) -> torch.Tensor:
        vectors = task_vectors(block)
        together = vectors[0].clone()
        for vector in vectors[1:]:
            together += vector
        unused = None  # in how many models each entry is not used
        for vector in vectors:
            rest = (together - vector).abs_().mul_(options.tall_lambda).sub_(vector.abs_())
            rest.relu_().sign_()
            unused = rest if unused is None else unused.add_(rest)
        assert unused is not None
        used = unused.neg_().add_(len(vectors) - options.k + 0.5).relu_().sign_()
        return onto_base(block, together.mul_(used), options.lambda_)
