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
    return [[one.value for one in found] for found in ranked(tensors, values, ranks)]


@dataclass(frozen=True)
class Ties:
    """How many entries of a block have a value."""

    tensor: int
    start: int
    count: int


@dataclass(frozen=True)
class Ranked:
    """The value of a rank.

    Attributes:
        above: how many of the entries with that value have at least that rank.
        ties: where all entries with that value are, by tensor and block, in order.
    """

    value: float
    above: int
    ties: tuple[Ties, ...]


def ranked(tensors: Sequence[Blocks], values: Values, ranks: Sequence[Sequence[int]]) -> list[list[Ranked]]:
    """As `order_statistics`, with where the entries are that have these values."""
    count = sum(tensor.elements for tensor in tensors)
    samples = _samples(tensors, values, max(1, count // _SAMPLE))
    brackets = [
        _bracket(samples[series], rank / max(1, count - 1), series, rank)
        for series, wanted in enumerate(ranks)
        for rank in wanted
    ]
    found: dict[tuple[int, int], Ranked] = {}
    while brackets:
        retried = []
        for bracket, parts in zip(brackets, _count(tensors, values, brackets), strict=True):
            answer = _find(bracket, parts)
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
    """How a block's values lie to a bracket: counts below its ends, and at most at them, and those inside."""

    tensor: int
    start: int
    below_low: int
    up_to_low: int
    below_high: int
    up_to_high: int
    inside: NDArray[Any]


def _find(bracket: _Bracket, parts: Sequence[_Part]) -> Ranked | _Bracket:
    """The value of the rank, or where to look instead."""
    rank = bracket.rank
    up_to_low = sum(part.up_to_low for part in parts)
    up_to_high = sum(part.up_to_high for part in parts)
    if rank < sum(part.below_low for part in parts):
        return _Bracket(bracket.series, rank, -math.inf, bracket.low)
    if rank < up_to_low:
        counts = [part.up_to_low - part.below_low for part in parts]
        return Ranked(bracket.low, up_to_low - rank, _ties(parts, counts))
    if rank < sum(part.below_high for part in parts):
        inside, place = np.concatenate([part.inside for part in parts]), rank - up_to_low
        value = np.partition(inside, place)[place]
        counts = [int(np.count_nonzero(part.inside == value)) for part in parts]
        return Ranked(float(value), int(np.count_nonzero(inside <= value)) - place, _ties(parts, counts))
    if rank < up_to_high:
        counts = [part.up_to_high - part.below_high for part in parts]
        return Ranked(bracket.high, up_to_high - rank, _ties(parts, counts))
    return _Bracket(bracket.series, rank, bracket.high, math.inf)


def _ties(parts: Sequence[_Part], counts: Sequence[int]) -> tuple[Ties, ...]:
    pairs = zip(parts, counts, strict=True)
    return tuple(Ties(part.tensor, part.start, count) for part, count in pairs if count)


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


def _count(
    tensors: Sequence[Blocks], values: Values, brackets: Sequence[_Bracket]
) -> list[tuple[_Part, ...]]:
    """For each bracket how the values of all blocks lie to it."""

    def measured(number: int, tensor: Blocks) -> list[list[_Part]]:
        def measure(block: Block) -> list[_Part]:
            series = values(block)
            return [_place(number, block.start, series[bracket.series], bracket) for bracket in brackets]

        return tensor.map(measure)

    parts = [part for number, tensor in enumerate(tensors) for part in measured(number, tensor)]
    return list(zip(*parts, strict=True))


def _place(tensor: int, start: int, values: torch.Tensor, bracket: _Bracket) -> _Part:
    low, high = bracket.low, bracket.high
    flat = values.reshape(-1)
    if flat.device.type == "cpu":  # NumPy compares several times as fast as torch here
        array = flat.numpy()
        return _Part(
            tensor,
            start,
            int(np.count_nonzero(array < low)),
            int(np.count_nonzero(array <= low)),
            int(np.count_nonzero(array < high)),
            int(np.count_nonzero(array <= high)),
            array[(array > low) & (array < high)],
        )
    import torch

    masks = (flat < low, flat <= low, flat < high, flat <= high)
    below_low, up_to_low, below_high, up_to_high = torch.stack([mask.sum() for mask in masks]).tolist()
    inside = _host(flat[masks[2] & ~masks[1]])
    return _Part(tensor, start, below_low, up_to_low, below_high, up_to_high, inside)


def _host(values: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.cpu().numpy()
    return array
