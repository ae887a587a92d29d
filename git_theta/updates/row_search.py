"""Finds which rows of a tensor are rows of another: in place, or anywhere by what they contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from git_theta import splitmix
from git_theta.tensors import CHUNK_BYTES, Tensor
from git_theta.updates.matrices import row_blocks, sampled_rows

if TYPE_CHECKING:
    from git_theta.tensors import Bits

Range = tuple[int, int]
"""How many rows, and the first one's number in the base, or NEW."""
NEW = -1
"""Where rows begin that are not in the base."""
_MOVED = 0.3  # part of a sample's rows that must be found at other places before all are looked for
_SAME = 0.5  # part of a sample's rows that must be equal to take them to lie where they lay
_READS = 4  # times that the base is decoded, at most
_MOST = 10_000  # ranges
_LOOKS = 7  # bases that are compared for the nearest
_ALL = 0.99  # part of a sample's rows that makes a base the nearest at once
_ROWS, _WORDS = 256, 64  # of a sample, and items of each row that are compared


def search(target: Tensor, base: Tensor, columns: int) -> list[Range]:
    """The target's rows as ranges of the base's; empty where that would not help, or cost too much to read.

    Args:
        columns: items of a row, of both.
    """
    if columns == 1 and base.shape == target.shape:
        return []
    same, moved = _evidence(target, base, columns)
    if base.shape == target.shape:
        ranges = _found(target, base, columns) if moved > _MOVED else []
    elif same >= _SAME or columns == 1:
        ranges = _in_place(target.shape[0], base.shape[0])
    else:
        ranges = _found(target, base, columns)
    return ranges if _reads(ranges, columns * target.dtype.itemsize) <= _READS else []


def nearest(target: Tensor, bases: Sequence[Tensor], columns: int) -> int:
    """Which base has most of a sample's rows, wherever; of equals the first.

    Args:
        columns: items of a row, of all of them.
    """
    found: list[float] = []
    for base in bases[:_LOOKS]:
        found.append(sum(_evidence(target, base, columns)))
        if found[-1] > _ALL:
            break
    return found.index(max(found))


def _in_place(target: int, base: int) -> list[Range]:
    """Rows where they were, then new ones."""
    ranges = [(min(target, base), 0), (target - base, NEW)]
    return [one for one in ranges if one[0] > 0]


def _reads(ranges: list[Range], row_bytes: int) -> float:
    """Chunks of the base that predicting every chunk of the target decodes, for each chunk of the target."""
    pairs: set[tuple[int, int]] = set()
    row = 0
    for count, start in ranges:
        if start != NEW:
            first, last = row * row_bytes // CHUNK_BYTES, (row + count) * row_bytes // CHUNK_BYTES
            for chunk in range(first, last + 1):
                low = max(chunk * CHUNK_BYTES, row * row_bytes) + (start - row) * row_bytes
                high = min((chunk + 1) * CHUNK_BYTES, (row + count) * row_bytes) + (start - row) * row_bytes
                pairs.update((chunk, other) for other in range(low // CHUNK_BYTES, -(-high // CHUNK_BYTES)))
        row += count
    return len(pairs) / max(1, -(-row * row_bytes // CHUNK_BYTES))


def _evidence(target: Tensor, base: Tensor, columns: int) -> tuple[float, float]:
    """How much of a sample's rows is equal in the base: in place, and at another place."""
    (first, last), (low, high) = (sampled_rows(tensor, columns) for tensor in (target, base))
    last = min(last, first + _ROWS)
    if first != low or first >= last or low >= high:
        return 0.0, 0.0
    wanted, given = (
        _hashes(tensor.read(first * columns, end * columns).reshape(-1, columns)[:, :_WORDS])
        for tensor, end in ((target, last), (base, min(high, first + 2 * _ROWS)))
    )
    both = min(wanted.size, given.size)
    same = np.count_nonzero(wanted[:both] == given[:both])
    ordered = np.sort(given)
    place = np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)
    found = np.count_nonzero(ordered[place] == wanted)
    return same / wanted.size, (found - same) / wanted.size


def _hashes(rows: Bits) -> NDArray[np.uint64]:
    """A number for each row by its contents; equal rows have equal ones."""
    words = rows.view("<u8") if rows.shape[1] * rows.itemsize % 8 == 0 else rows
    sums: NDArray[np.uint64] = words @ (splitmix.words(words.shape[1]) | np.uint64(1))
    return sums ^ (sums >> np.uint64(29))


def _found(target: Tensor, base: Tensor, columns: int) -> list[Range]:
    """Ranges by what rows contain; rows in between that are not found take the place of those in between."""
    wanted, given = (
        np.concatenate([_hashes(block) for _, block in row_blocks(tensor, columns)])
        for tensor in (target, base)
    )
    return _filled(_matches(wanted, given), given.size)


def _matches(wanted: NDArray[np.uint64], given: NDArray[np.uint64]) -> list[Range]:
    """Longest runs of equal rows, from the first row on; NEW for rows that are nowhere."""
    order = np.argsort(given, kind="stable")
    place = np.minimum(np.searchsorted(given[order], wanted), given.size - 1)
    source = np.where(given[order[place]] == wanted, order[place], NEW)
    new = source == NEW
    if np.count_nonzero((np.diff(source) != 1) & ~(new[1:] & new[:-1])) > _MOST:
        return []
    ranges: list[Range] = []
    row = after = 0
    while row < wanted.size:
        follows = after < given.size and given[after] == wanted[row]
        start = after if follows else int(source[row])
        if start == NEW:
            count = _run(source[row:] == NEW)
        else:
            most = min(wanted.size - row, given.size - start)
            count = _run(wanted[row : row + most] == given[start : start + most])
            after = start + count
        ranges.append((count, start))
        row += count
    return ranges


def _run(equal: NDArray[np.bool_]) -> int:
    """How many are true before the first that is not."""
    return equal.size if equal.all() else int(equal.argmin())


def _filled(ranges: list[Range], rows: int) -> list[Range]:
    """Let new rows follow the range before them, as far as the base has rows up to the next range."""
    filled: list[Range] = []
    after = 0
    for number, (count, start) in enumerate(ranges):
        if start != NEW:
            filled.append((count, start))
            after = start + count
            continue
        following = ranges[number + 1][1] if number + 1 < len(ranges) else rows
        held = min(count, max(0, following - after))
        filled += [one for one in ((held, after), (count - held, NEW)) if one[0]]
    return filled
