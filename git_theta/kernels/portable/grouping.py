"""Sorts items by the exponents of other items, and undoes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.kernels.portable.common import check

if TYPE_CHECKING:
    from git_theta.tensors import Bits

    Bytes = NDArray[np.uint8]

_SORTED = 128 << 10  # pairs that are sorted at a time


def classify(bits: Bits, mantissa: int, exponent: int, top: int, count: int, codes: Bytes) -> list[int]:
    """Classes of exponents: `top - exponent` modulo 256, at most `count - 1`.

    Args:
        bits: an even number of floats of 16 or 32 bits.
        mantissa, exponent: their widths; exponents count modulo 256.
        codes: one a pair of neighbours: 16 * class of the second + class of the first.

    Returns:
        How many items have each class.
    """
    check(bits.size == 2 * codes.size and bits.itemsize in (2, 4) and 1 <= count <= 16)
    for start in range(0, codes.size, _SORTED):
        part = bits[2 * start : 2 * (start + _SORTED)]
        found = np.empty(part.size, np.uint8)
        np.right_shift(part, mantissa, out=found, casting="unsafe")
        if exponent < 8:
            np.bitwise_and(found, (1 << exponent) - 1, out=found)
        np.subtract(np.uint8(top), found, out=found)
        np.minimum(found, np.uint8(count - 1), out=found)
        pairs = found.view("<u2")
        work = np.right_shift(pairs, 4)
        np.bitwise_or(pairs, work, out=work)
        np.copyto(codes[start : start + part.size // 2], work, casting="unsafe")
    table = np.bincount(codes, minlength=256).reshape(16, 16)
    counts: list[int] = (table.sum(axis=0) + table.sum(axis=1))[:count].tolist()
    return counts


def gather(differences: Bits, codes: Bytes, order: bytes, out: Bits) -> None:
    """Sort items by class.

    A class's list has, block by block, the second items of pairs, by the class of the first, and then the
    first items, by the class of the second.

    Args:
        codes: of `classify`.
        order: the classes in the order of their lists; those that no item has may be left out.
    """
    pairs, half = _pairs(differences, codes, order), 8 * differences.itemsize
    lanes: list[tuple[Bits, Bits, list[int]]] = []
    with scratch.borrow(out.size, out.dtype) as staged:
        for start, ranks, bounds in _sorted(codes):
            taken = np.take(pairs[start : start + ranks.size], ranks)
            firsts, seconds = staged[2 * start :][: 2 * ranks.size].reshape(2, -1)
            np.copyto(firsts, taken, casting="unsafe")
            np.right_shift(taken, half, out=seconds, casting="unsafe")
            lanes.append((firsts, seconds, bounds.tolist()))
        pieces: list[Bits] = [out[:0]]
        for number in order:
            for firsts, seconds, at in lanes:
                pieces.append(seconds[at[16 * number] : at[16 * number + 16]])
                pieces += [firsts[at[code] : at[code + 1]] for code in range(number, 256, 16)]
        np.concatenate(pieces, out=out)


def scatter(lists: Bits, codes: Bytes, order: bytes, out: Bits) -> None:
    """Undo `gather`."""
    pairs, half = _pairs(out, codes, order), 8 * out.itemsize
    table = np.bincount(codes, minlength=256).reshape(16, 16)
    counts = table.sum(axis=0) + table.sum(axis=1)
    at, position = np.zeros(16, np.int64), 0
    for number in order:
        at[number], position = position, position + counts[number]
    with scratch.borrow(2 * min(_SORTED, codes.size), out.dtype) as parts:
        for start, ranks, bounds in _sorted(codes):
            runs = np.diff(bounds).reshape(16, 16)
            seconds_end = at + runs.sum(axis=1)
            firsts_end = seconds_end + runs.cumsum(axis=0)
            firsts, seconds = parts[: 2 * ranks.size].reshape(2, -1)
            for lane, begins, stops in (
                (seconds, at, seconds_end),
                (firsts, (firsts_end - runs).ravel(), firsts_end.ravel()),
            ):
                ranges = zip(begins.tolist(), stops.tolist(), strict=True)
                np.concatenate([lists[begin:stop] for begin, stop in ranges], out=lane)
            at = firsts_end[-1]
            joined = seconds.astype(pairs.dtype)
            np.left_shift(joined, half, out=joined)
            np.bitwise_or(joined, firsts, out=joined)
            pairs[start : start + ranks.size][ranks] = joined


def _pairs(bits: Bits, codes: Bytes, order: bytes) -> NDArray[np.unsignedinteger[Any]]:
    """An even number of items as pairs, after checking that the order has every class."""
    check(bits.size == 2 * codes.size and bits.itemsize in (2, 4))
    table = np.bincount(codes, minlength=256).reshape(16, 16)
    check(set(np.flatnonzero(table.sum(axis=0) + table.sum(axis=1)).tolist()) <= set(order))
    return bits.view(f"<u{2 * bits.itemsize}")


def _sorted(codes: Bytes) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Blocks of pairs: the first one, their order by code, and where in that order each code begins."""
    for start in range(0, codes.size, _SORTED):
        part = codes[start : start + _SORTED]
        ranks = part.argsort(kind="stable")
        yield start, ranks, np.searchsorted(part[ranks], np.arange(257))
