"""The k-th smallest of very many values, without sorting them.

A sorted sample says between which two values the answer lies; one pass over all values counts what lies
below, and collects what lies between; the answer is then found exactly among those few. Where the sample
was wrong, which only costs time, a second pass looks on the other side. Any number of ranks of any number
of series of values are found in the same passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta.merges.interface import Block, Blocks

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_SAMPLE = 1 << 16

Values = Callable[[Block], Sequence["torch.Tensor"]]
"""The values of every series in a block; finite."""


def order_statistics(
    tensors: Sequence[Blocks], values: Values, ranks: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Values by rank, over all elements of one or more tensors.

    Args:
        values: as many values of each series as the block has elements.
        ranks: for each series the ranks wanted, 0 for the smallest value.

    Returns:
        The values of those ranks, exactly.
    """
    count = sum(tensor.elements for tensor in tensors)
    samples = _samples(tensors, values, max(1, count // _SAMPLE))
    brackets = [
        _bracket(samples[series], rank / max(1, count - 1), series, rank)
        for series, wanted in enumerate(ranks)
        for rank in wanted
    ]
    found: dict[tuple[int, int], float] = {}
    while brackets:
        retried = []
        for bracket, part in zip(brackets, _count(tensors, values, brackets), strict=True):
            answer = part.find(bracket)
            if isinstance(answer, _Bracket):
                retried.append(answer)
            else:
                found[bracket.series, bracket.rank] = answer
        brackets = retried
    return [[found[series, rank] for rank in wanted] for series, wanted in enumerate(ranks)]


@dataclass(frozen=True)
class _Bracket:
    """Between which values the one of a rank is looked for."""

    series: int
    rank: int
    low: float
    high: float


@dataclass(frozen=True)
class _Part:
    """How values lie to a bracket: counts below its ends, and at most at them, and those strictly inside."""

    below_low: int
    up_to_low: int
    below_high: int
    up_to_high: int
    inside: NDArray[Any]

    def find(self, bracket: _Bracket) -> float | _Bracket:
        """The value of the rank, or where to look instead."""
        rank = bracket.rank
        if rank < self.below_low:
            return _Bracket(bracket.series, rank, -math.inf, bracket.low)
        if rank < self.up_to_low:
            return bracket.low
        if rank < self.below_high:
            place = rank - self.up_to_low
            return float(np.partition(self.inside, place)[place])
        if rank < self.up_to_high:
            return bracket.high
        return _Bracket(bracket.series, rank, bracket.high, math.inf)


def _samples(tensors: Sequence[Blocks], values: Values, step: int) -> list[NDArray[Any]]:
    parts = [
        part
        for tensor in tensors
        for part in tensor.map(lambda block: [_host(one).reshape(-1).copy() for one in values(block)], step)
    ]
    return [np.sort(np.concatenate(series)) for series in zip(*parts, strict=True)]


def _bracket(sample: NDArray[Any], share: float, series: int, rank: int) -> _Bracket:
    last = sample.size - 1
    place, spread = share * last, 3 * math.sqrt(last * share * (1 - share)) + 2
    low, high = math.floor(place - spread), math.ceil(place + spread)
    return _Bracket(
        series,
        rank,
        float(sample[low]) if low >= 0 else -math.inf,
        float(sample[high]) if high <= last else math.inf,
    )


def _count(tensors: Sequence[Blocks], values: Values, brackets: Sequence[_Bracket]) -> list[_Part]:
    def measure(block: Block) -> list[_Part]:
        series = values(block)
        return [_place(series[bracket.series], bracket.low, bracket.high) for bracket in brackets]

    parts = [part for tensor in tensors for part in tensor.map(measure)]
    return [_joined(of_bracket) for of_bracket in zip(*parts, strict=True)]


def _joined(parts: Sequence[_Part]) -> _Part:
    return _Part(
        sum(part.below_low for part in parts),
        sum(part.up_to_low for part in parts),
        sum(part.below_high for part in parts),
        sum(part.up_to_high for part in parts),
        np.concatenate([part.inside for part in parts]),
    )


def _place(values: torch.Tensor, low: float, high: float) -> _Part:
    flat = values.reshape(-1)
    if flat.device.type == "cpu":  # NumPy compares several times as fast as torch here
        array = flat.numpy()
        return _Part(
            int(np.count_nonzero(array < low)),
            int(np.count_nonzero(array <= low)),
            int(np.count_nonzero(array < high)),
            int(np.count_nonzero(array <= high)),
            array[(array > low) & (array < high)],
        )
    import torch

    masks = (flat < low, flat <= low, flat < high, flat <= high)
    below_low, up_to_low, below_high, up_to_high = torch.stack([mask.sum() for mask in masks]).tolist()
    return _Part(below_low, up_to_low, below_high, up_to_high, _host(flat[masks[2] & ~masks[1]]))


def _host(values: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array
