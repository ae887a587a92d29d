"""Sorts residuals by the exponent of what was predicted.

A fine-tuning step is about as large for all weights of a matrix, but one unit in the last place of a small
weight is much less than of a large one. So the size of a residual follows the exponent, and lists of one
exponent each take up to a third less than all together. The order depends on the predicted bits alone:
both sides compute it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject

if TYPE_CHECKING:
    from git_theta.tensors import Bits

    Indices = NDArray[np.signedinteger[Any]]

BLOCK = 64 << 10
"""Items that are sorted at a time: they and their indices stay in a core's cache."""
_FREQUENT = 10
"""An exponent that more than one item in this many has is looked up by itself: that costs 0.6 ns for each item
of the block, sorting costs 6 ns for each item sorted."""
_GAIN = 0.03
_SAMPLE = 8192
OWN_LIST = 4096
"""Items of one exponent that make a list of their own."""


def can_group(dtype: DType) -> bool:
    """Whether a dtype has an exponent and is wide enough for grouping to pay."""
    return dtype.kind in ("float", "complex") and dtype.itemsize >= 2


def exponents(bits: Bits, dtype: DType, out: NDArray[np.uint8]) -> None:
    """The exponent of each item, modulo 256."""
    np.right_shift(bits, dtype.mantissa, out=out, casting="unsafe")
    if dtype.exponent < 8:
        np.bitwise_and(out, (1 << dtype.exponent) - 1, out=out)


def pay(numbers: Bits, bits: Bits, dtype: DType) -> bool:
    """Whether numbers grouped by the exponents of bits would take noticeably less room, by a sample."""
    if not can_group(dtype) or numbers.size < 2 * OWN_LIST:
        return False
    step = numbers.size // _SAMPLE | 1
    sample, near = numbers[::step], bits[::step]
    context = np.empty(sample.size, np.uint8)
    exponents(near, dtype, context)
    lengths = np.frexp(sample.astype(np.float64))[1].astype(np.int64)  # of each number, in bits
    table = np.bincount(context * np.int64(65) + lengths, minlength=256 * 65).reshape(256, 65)
    together = _entropy(table.sum(axis=0)) + np.maximum(lengths - 1, 0).sum()
    gain = _entropy(table.sum(axis=0)) + _entropy(table.sum(axis=1)) - _entropy(table)
    return bool(gain > _GAIN * together)


def _entropy(counts: NDArray[np.integer[Any]]) -> float:
    """Bits that symbols with these counts take."""
    found = counts[counts > 0].astype(np.float64)
    return float((found * np.log2(found.sum() / found)).sum())


def arrange(counts: Mapping[int, int]) -> dict[int, int]:
    """The counts in the order that their groups lie in: long ones first, then by exponent."""
    return dict(sorted(counts.items(), key=lambda item: (item[1] < OWN_LIST, item[0])))


def lists(counts: Mapping[int, int]) -> list[int]:
    """Lengths of the lists that arranged groups are written as: one for each long one, one for the rest."""
    long = [count for count in counts.values() if count >= OWN_LIST]
    rest = sum(counts.values()) - sum(long)
    return [*long, rest] if rest else long


def gather(numbers: Bits, bits: Bits, dtype: DType) -> dict[int, int]:
    """Sort numbers, in place, by the exponents of bits; stable. Returns the arranged counts of exponents."""
    step = bits.size // 4096 | 1
    sample = np.empty(bits[::step].size, np.uint8)
    exponents(bits[::step], dtype, sample)
    counted = np.bincount(sample, minlength=256)
    frequent = np.flatnonzero(counted * _FREQUENT > sample.size).tolist()
    pieces: dict[int, list[Bits]] = {}
    with scratch.borrow(numbers.size, numbers.dtype) as staged:
        at = 0
        for start, runs in _blocks(bits, dtype, frequent):
            for indices, sizes in runs:
                run = staged[at : at + indices.size]
                np.take(numbers[start : start + BLOCK], indices, out=run, mode="clip")
                for exponent, size in sizes:
                    pieces.setdefault(exponent, []).append(staged[at : at + size])
                    at += size
        counts = arrange({exponent: sum(map(len, found)) for exponent, found in pieces.items()})
        np.concatenate([piece for exponent in counts for piece in pieces[exponent]], out=numbers)
    return counts


def scatter(numbers: Bits, counts: Mapping[int, int], bits: Bits, dtype: DType) -> Iterator[tuple[int, Bits]]:
    """Undo `gather`: yields the start of each block and its numbers in their own order.

    The block must be used before the next one is asked for; `bits` of it may be overwritten then.

    Raises:
        DamagedObject: the counts are not those of the bits' exponents.
    """
    ends = np.cumsum(list(counts.values())).tolist()
    groups = {exponent: [end - counts[exponent], end] for exponent, end in zip(counts, ends, strict=True)}
    frequent = [exponent for exponent, count in counts.items() if count * _FREQUENT > numbers.size]
    with scratch.borrow(BLOCK, numbers.dtype) as room:
        for start, runs in _blocks(bits, dtype, frequent):
            for indices, sizes in runs:
                pieces = []
                for exponent, size in sizes:
                    group = groups.get(exponent, [0, 0])
                    at, group[0] = group[0], group[0] + size
                    if group[0] > group[1]:
                        raise DamagedObject("a residual is grouped by other exponents than its base has")
                    pieces.append(numbers[at : at + size])
                room[indices] = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            yield start, room[: min(BLOCK, numbers.size - start)]


def _blocks(
    bits: Bits, dtype: DType, frequent: Sequence[int]
) -> Iterator[tuple[int, list[tuple[Indices, list[tuple[int, int]]]]]]:
    """For each block its start and runs of indices into it, each with the exponents and sizes it consists of."""
    with (
        scratch.borrow(BLOCK) as room,
        scratch.borrow(BLOCK, np.bool_) as mask,
        scratch.borrow(BLOCK, np.bool_) as rest,
    ):
        for start in range(0, bits.size, BLOCK):
            part = bits[start : start + BLOCK]
            context, found, others = (buffer[: part.size] for buffer in (room, mask, rest))
            exponents(part, dtype, context)
            runs = []
            others.fill(True)
            for exponent in frequent:
                np.equal(context, exponent, out=found)
                np.greater(others, found, out=others)
                indices = np.flatnonzero(found)
                runs.append((indices, [(exponent, indices.size)]))
            indices = np.flatnonzero(others)
            if indices.size:
                context = context[indices]
                by_exponent = context.argsort(kind="stable")
                context = context[by_exponent]
                bounds = [0, *(np.flatnonzero(context[1:] != context[:-1]) + 1).tolist(), context.size]
                sizes = [(int(context[a]), b - a) for a, b in pairwise(bounds)]
                runs.append((indices[by_exponent], sizes))
            yield start, runs
