"""Sorts residuals by the exponent of what was predicted.

A fine-tuning step is about as large for all weights of a matrix, but one unit in the last place of a small
weight is much less than of a large one. So the size of a difference follows the exponent, and lists of one
exponent each take up to a third less than all together. The order depends on the predicted bits alone:
reader and writer both compute it.

Sorting is most of the time, so neighbours are sorted in pairs, by the classes of both: exponents counted
down from the largest common one, `top`, in `classes` steps; the last class holds all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject

if TYPE_CHECKING:
    from git_theta.tensors import Bits

_BLOCK = 128 << 10  # pairs that are sorted at a time
_CLASSES = 16  # two classes make a byte
_RARE = 1024  # an exponent at the edge that fewer than one item in this many has needs no class of its own
_GAIN = 0.03  # of the bits that grouping must save
_SAMPLE = 8192
_OWN_LIST = 4096  # differences of one class that make a list of their own


Block = tuple[int, NDArray[np.intp], NDArray[np.intp]]
"""The first pair of a block, the order of its pairs by the class of the second and then the first item, and
where in that order the pairs of each code, 16 * second + first, begin."""


@dataclass(frozen=True)
class Classes:
    """Classes of exponents: `top - exponent` modulo 256, at most `count - 1`."""

    top: int
    count: int


def choose(differences: Bits, bits: Bits, dtype: DType) -> Classes | None:
    """Classes for a chunk, from a sample; None where grouping would not take noticeably less room."""
    if dtype.kind not in ("float", "complex") or dtype.itemsize not in (2, 4) or bits.size < 2 * _OWN_LIST:
        return None
    step = bits.size // _SAMPLE | 1
    near = _exponents(bits[::step], dtype)
    lengths = np.frexp(differences[::step].astype(np.float64))[1].astype(np.int64)  # in bits
    table = np.bincount(near * np.int64(64) + lengths, minlength=256 * 64).reshape(256, 64)
    found = table.sum(axis=1)
    together = _entropy(table.sum(axis=0))
    gain = together + _entropy(found) - _entropy(table)
    if gain < _GAIN * (together + int(np.maximum(lengths - 1, 0).sum())):
        return None
    # The window of exponents, on the circle that 256 of them make, that most items lie in.
    width = _CLASSES - 1
    sums = np.cumsum(np.concatenate([[0], found, found]))
    low = int(np.argmax(sums[width : width + 256] - sums[:256]))
    window = [*range(low, low + width)]
    while len(window) > 1 and found[window[0] % 256] * _RARE < near.size:
        window.pop(0)
    while len(window) > 1 and found[window[-1] % 256] * _RARE < near.size:
        window.pop()
    return Classes(window[-1] % 256, len(window) + 1)


def lists(counts: Sequence[int]) -> list[list[int]]:
    """Which classes share a list: each long one has its own, the short ones share the last."""
    long = [[number] for number, count in enumerate(counts) if count >= _OWN_LIST]
    short = [number for number, count in enumerate(counts) if 0 < count < _OWN_LIST]
    return [*long, short] if short else long


def gather(differences: Bits, dtype: DType, classes: Classes, blocks: Iterable[Block]) -> list[int]:
    """Sort an even number of differences in place, into their lists. Returns the counts of the classes.

    A class's list has, block by block, the second items of pairs and then the first ones, by the class of
    the second.
    """
    pairs = differences.view(f"<u{2 * dtype.itemsize}")
    half = 8 * dtype.itemsize
    lanes: list[tuple[Bits, Bits, list[int]]] = []
    total = np.zeros(classes.count, np.int64)
    with (
        scratch.borrow(differences.size, differences.dtype) as staged,
        scratch.borrow(min(_BLOCK, pairs.size), pairs.dtype) as room,
    ):
        for start, order, bounds in blocks:
            taken = room[: order.size]
            np.take(pairs[start : start + order.size], order, out=taken, mode="clip")
            firsts, seconds = staged[2 * start :][: 2 * order.size].reshape(2, -1)
            np.copyto(firsts, taken, casting="unsafe")
            np.right_shift(taken, half, out=seconds, casting="unsafe")
            lanes.append((firsts, seconds, bounds.tolist()))
            runs = _runs(bounds, classes)
            total += runs.sum(axis=0) + runs.sum(axis=1)
        counts: list[int] = total.tolist()
        pieces: list[Bits] = []
        for number in (number for members in lists(counts) for number in members):
            for firsts, seconds, at in lanes:
                pieces.append(seconds[at[16 * number] : at[16 * number + 16]])
                pieces += [firsts[at[code] : at[code + 1]] for code in range(number, 16 * classes.count, 16)]
        np.concatenate(pieces, out=differences)
    return counts


def scatter(
    differences: Bits, counts: Sequence[int], dtype: DType, classes: Classes, blocks: Iterable[Block]
) -> Iterator[tuple[int, Bits]]:
    """Undo `gather`: yields the start of each block and its differences in their own order.

    These must be used before the next block is asked for; the block's bits may change then.

    Raises:
        DamagedObject: the counts are not those of the bits' exponents.
    """
    at, ends, position = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64), 0
    for number in (number for members in lists(counts) for number in members):
        at[number], position = position, position + counts[number]
        ends[number] = position
    half = 8 * dtype.itemsize
    size = min(_BLOCK, differences.size // 2)
    with (
        scratch.borrow(2 * size, dtype.storage) as parts,
        scratch.borrow(size, f"<u{2 * dtype.itemsize}") as joined,
        scratch.borrow(size, joined.dtype) as room,
    ):
        for start, order, bounds in blocks:
            runs = _runs(bounds, classes)
            seconds_end = at + runs.sum(axis=1)
            firsts_end = seconds_end + runs.cumsum(axis=0)
            firsts, seconds = parts[: 2 * order.size].reshape(2, -1)
            for lane, begins, stops in (
                (seconds, at, seconds_end),
                (firsts, (firsts_end - runs).ravel(), firsts_end.ravel()),
            ):
                if (stops[begins < stops] > np.resize(ends, stops.shape)[begins < stops]).any():
                    raise DamagedObject("a residual is grouped by other exponents than its base has")
                ranges = zip(begins.tolist(), stops.tolist(), strict=True)
                np.concatenate([differences[begin:stop] for begin, stop in ranges], out=lane)
            at = firsts_end[-1]
            pairs = joined[: order.size]
            np.copyto(pairs, seconds)
            np.left_shift(pairs, half, out=pairs)
            np.bitwise_or(pairs, firsts, out=pairs)
            room[order] = pairs
            yield 2 * start, room[: order.size].view(dtype.storage)


def sorted_blocks(bits: Bits, dtype: DType, classes: Classes) -> Iterator[Block]:
    """The order of an even number of items, by the exponents of their bits."""
    codes = np.arange(257)
    # The minimum with a scalar takes ten times as long.
    last = np.full(min(2 * _BLOCK, bits.size), classes.count - 1, np.uint8)
    for start in range(0, bits.size // 2, _BLOCK):
        found = _exponents(bits[2 * start : 2 * (start + _BLOCK)], dtype)
        np.subtract(classes.top, found, out=found)
        np.minimum(found, last[: found.size], out=found)
        pairs = found.view("<u2")
        work = np.right_shift(pairs, 4)
        np.bitwise_or(pairs, work, out=work)
        code = work.astype(np.uint8)
        order = code.argsort(kind="stable")
        yield start, order, np.searchsorted(code[order], codes)


def _runs(bounds: NDArray[np.intp], classes: Classes) -> NDArray[np.int64]:
    """How many pairs have each class of the second (row) and the first item (column)."""
    lengths: NDArray[np.int64] = np.diff(bounds).reshape(16, 16)[: classes.count, : classes.count]
    return lengths


def _exponents(bits: Bits, dtype: DType) -> NDArray[np.uint8]:
    """The exponent of each item, modulo 256."""
    out = np.empty(bits.size, np.uint8)
    np.right_shift(bits, dtype.mantissa, out=out, casting="unsafe")
    if dtype.exponent < 8:
        np.bitwise_and(out, (1 << dtype.exponent) - 1, out=out)
    return out


def _entropy(counts: NDArray[np.integer[Any]]) -> float:
    """Bits that symbols with these counts take."""
    found = counts[counts > 0].astype(np.float64)
    return float((found * np.log2(found.sum() / found)).sum())
