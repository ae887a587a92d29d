"""Exactly so many of the largest: where magnitudes are equal, those at the first positions count as larger.

Weights in 16 bits, and those that only weight decay has moved, have changes that are equal by the thousand;
a threshold alone would keep all that are equal to it, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from git_theta.merges.interface import Block, Blocks
from git_theta.merges.order_statistics import Ranked, Values, ranked

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Cut:
    """A border in the order of one tensor's magnitudes: above it are larger ones, and the first equal ones.

    Attributes:
        position: in the flattened tensor; equal ones from here on are below. None: all are above.
    """

    value: float
    position: int | None = None


def cuts(tensors: Sequence[Blocks], values: Values, above: Sequence[Sequence[int]]) -> list[list[list[Cut]]]:
    """The borders above which there are so many of all entries of one or more tensors.

    Args:
        values: magnitudes, as many of each series as the block has elements.
        above: for each series how many entries are to be above each border, at least 1, at most all.

    Returns:
        For each tensor, for each series, these borders. Of equal entries, those of earlier tensors come
        first; zeros, which are the same dropped or kept, are not told apart.
    """
    count = sum(tensor.elements for tensor in tensors)
    found = ranked(tensors, values, [[count - number for number in wanted] for wanted in above])
    splits = [[_split(series, one) for one in wanted] for series, wanted in enumerate(found)]
    positions = _positions(tensors, values, [one for wanted in splits for one in wanted if one])

    def cut(tensor: int, one: Ranked, split: _Split | None) -> Cut:
        if split is None or tensor < split.tensor:
            return Cut(one.value)
        return Cut(one.value, positions[split] if tensor == split.tensor else 0)

    return [
        [
            [cut(tensor, one, split) for one, split in zip(*pair, strict=True)]
            for pair in zip(found, splits, strict=True)
        ]
        for tensor in range(len(tensors))
    ]


def above(values: torch.Tensor, cut: Cut, start: int) -> torch.Tensor:
    """The entries whose magnitude is above a border; the others become 0.

    Args:
        values: a block's.
        start: the position of its first element in the flattened tensor.
    """
    from torch.nn.functional import hardshrink

    # hardshrink keeps what is larger than its bound.
    kind = np.float64 if values.element_size() == 8 else np.float32
    before = float(np.nextafter(kind(cut.value), kind(0)))
    first = values.numel() if cut.position is None else min(max(cut.position - start, 0), values.numel())
    if first == values.numel():
        return hardshrink(values, before)
    if first == 0:
        return hardshrink(values, cut.value)
    import torch

    flat = values.reshape(-1)
    parts = [hardshrink(flat[:first], before), hardshrink(flat[first:], cut.value)]
    return torch.cat(parts).reshape(values.shape)


@dataclass(frozen=True)
class _Split:
    """Where a border runs between equal entries: after so many of those in one block of one tensor."""

    series: int
    value: float
    tensor: int
    start: int
    number: int


def _split(series: int, one: Ranked) -> _Split | None:
    """None where all equal entries are above the border, or it does not matter."""
    if one.value == 0 or one.above == sum(ties.count for ties in one.ties):
        return None
    left = one.above
    for ties in one.ties:
        if left <= ties.count:
            return _Split(series, one.value, ties.tensor, ties.start, left)
        left -= ties.count
    raise AssertionError("more entries above a border than there are")


def _positions(tensors: Sequence[Blocks], values: Values, splits: Sequence[_Split]) -> dict[_Split, int]:
    """The position after the last entry above each border; one more pass over the tensors that have one."""

    def find(block: Block, wanted: Sequence[_Split]) -> dict[_Split, int]:
        wanted = [split for split in wanted if split.start == block.start]
        series = values(block) if wanted else []
        equal = {split: (series[split.series].reshape(-1) == split.value).nonzero() for split in wanted}
        return {split: block.start + int(equal[split][split.number - 1]) + 1 for split in wanted}

    found: dict[_Split, int] = {}
    for number, tensor in enumerate(tensors):
        wanted = [split for split in splits if split.tensor == number]
        if wanted:
            for positions in tensor.map(partial(find, wanted=wanted)):
                found |= positions
    return found
