"""Model Stock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from git_theta.merges import sums
from git_theta.merges.interface import Block, Blocks, Coefficients, Strategy, Unit
from git_theta.merges.options import option
from git_theta.merges.strategies.consensus import task_vectors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ModelStockOptions:
    filter_wise: bool = option(False, "measure angles for each row instead of for the whole tensor")


class ModelStock(Strategy[ModelStockOptions]):
    name = "model-stock"
    summary = "Go from the base towards the mean of the models as far as the angle between them suggests."
    formula = "t = n c / (1 + (n − 1) c), c the mean cosine of pairs of τ; θ = t · mean(θᵢ) + (1 − t) · base"
    reference = "Model Stock, 2024, arXiv:2403.19522"
    use = "Several runs of the same fine-tuning with different seeds."
    options = ModelStockOptions
    base = "required"

    def unit(self, options: ModelStockOptions) -> Unit:
        return "row" if options.filter_wise else "element"

    def prepare(self, blocks: Blocks, options: ModelStockOptions, survey: Any) -> Coefficients | None:
        if options.filter_wise:
            return None
        gram, count = sums.gram(blocks, around_base=True), blocks.models
        cosines = []
        for i, j in combinations(range(count), 2):
            length = math.sqrt(gram[i][i]) * math.sqrt(gram[j][j])
            cosines.append(max(-1.0, min(1.0, gram[i][j] / length)) if length else 0.0)
        cosine = math.fsum(cosines) / len(cosines)
        divisor = 1 + (count - 1) * cosine
        t = count * cosine / divisor if divisor > 0 else 0.0
        return Coefficients((1.0 - t, *(t / count,) * count))

    def combine(self, block: Block, options: ModelStockOptions, state: None) -> torch.Tensor:
        import torch

        vectors = [sums.widest(vector) for vector in task_vectors(block)]
        count, tiny = len(vectors), torch.finfo(vectors[0].dtype).tiny
        lengths = [vector.square().sum(1, keepdim=True).sqrt_() for vector in vectors]
        cosine = torch.zeros_like(lengths[0])
        for i, j in combinations(range(count), 2):
            product = (vectors[i] * vectors[j]).sum(1, keepdim=True)
            cosine += product.div_((lengths[i] * lengths[j]).clamp_(min=tiny)).clamp_(-1, 1)
        cosine /= count * (count - 1) / 2
        divisor = 1 + (count - 1) * cosine
        t = count * cosine / divisor.clamp(min=tiny) * divisor.relu().sign()
        mean = vectors[0]
        for vector in vectors[1:]:
            mean += vector
        assert block.base is not None
        return block.base + mean.mul_(t / count).to(block.base.dtype)
