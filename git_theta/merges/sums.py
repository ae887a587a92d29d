"""Sums over blocks in float64, the same for any number of threads.

Each block is summed on one thread; the sums of blocks are added exactly (math.fsum), so their order does
not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from git_theta.merges.interface import Block, Blocks

if TYPE_CHECKING:
    import torch


def total(values: torch.Tensor) -> float:
    """The sum of a block's values."""
    import torch

    # Metal has no float64.
    kind = torch.float32 if values.device.type == "mps" else torch.float64
    return float(values.sum(dtype=kind))


def widest(values: torch.Tensor) -> torch.Tensor:
    """The values in float64, where the device has it."""
    return values if values.device.type == "mps" else values.double()


def over_blocks(blocks: Blocks, measure: Callable[[Block], Sequence[float]]) -> list[float]:
    """The sums over all blocks of what `measure` gives for each: a fixed number of partial sums."""
    return [math.fsum(parts) for parts in zip(*blocks.map(measure), strict=True)]


def gram(blocks: Blocks, around_base: bool) -> list[list[float]]:
    """The inner products of all models, or of all task vectors (models minus base), with each other."""
    count = blocks.models
    pairs = [(row, column) for row in range(count) for column in range(row + 1)]

    def measure(block: Block) -> list[float]:
        vectors = [widest(model) for model in block.models]
        if around_base:
            base = widest(_base(block))
            vectors = [vector - base for vector in vectors]
        return [total(vectors[row] * vectors[column]) for row, column in pairs]

    products = dict(zip(pairs, over_blocks(blocks, measure), strict=True))
    return [[products[max(i, j), min(i, j)] for j in range(count)] for i in range(count)]


def _base(block: Block) -> torch.Tensor:
    assert block.base is not None
    return block.base
