"""Codes the residual of one chunk as a row, and restores the chunk from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject
from git_theta.updates.residual import differences, frames, numbers
from git_theta.updates.residual import grouping as groups
from git_theta.updates.residual.streams import NoRoom, Reader, Writer

if TYPE_CHECKING:
    from git_theta.tensors import Bits

MARGIN = 64
"""A row is at most this many bytes longer than its chunk."""
_SPARSE, _GROUPED = 1, 2


class NotExact(Exception):
    """A row does not give back what it was made from: the prediction is not the same every time."""


def encode(
    predicted: Bits, target: Bits, dtype: DType, width: int, grouping: bool, verify: bool = False
) -> bytes | None:
    """The residual of a chunk as a compressed row of `width` bytes; None where the prediction is exact.

    Args:
        predicted, target: bits of the chunk's items, contiguous.
        width: at least the chunk's bytes and MARGIN.
        grouping: whether differences may be grouped, where a sample says that it pays.
        verify: decode the row and compare; `predicted` then becomes the target.

    Raises:
        NotExact: the row does not give the target.
    """
    changed = target != predicted
    count = np.count_nonzero(changed)
    if not count:
        return None
    sparse = count * numbers.SPARSE < target.size
    order: list[groups.Block] = []  # sorting is most of the work: once serves both ways
    with scratch.borrow(width - frames.OVERHEAD) as room:
        writer = Writer(room)
        try:
            positions = np.flatnonzero(changed) if sparse else None
            _write(predicted, target, dtype, grouping, positions, writer, order)
        except NoRoom:
            writer = Writer(room)
            writer.note("B", 0)
            with scratch.borrow(target.size, target.dtype) as difference:
                differences.difference(predicted, target, dtype, difference)
                numbers.write_planes(difference, writer)
        row = frames.compress(writer, width)
    if verify:
        _decode(row, width, predicted, dtype, order)
        if not np.array_equal(predicted, target):
            raise NotExact
    return row


def decode(row: bytes | memoryview, width: int, bits: Bits, dtype: DType) -> None:
    """Turn predicted bits into the target's, in place.

    Args:
        row: what `encode` returned.
        bits: the prediction of the chunk's items.

    Raises:
        DamagedObject: the row is damaged, or not the residual of this prediction.
    """
    _decode(row, width, bits, dtype, None)


def _decode(
    row: bytes | memoryview, width: int, bits: Bits, dtype: DType, order: list[groups.Block] | None
) -> None:
    with frames.decompress(row, width) as reader:
        (flags,) = reader.numbers("B")
        if flags & ~(_SPARSE | _GROUPED):
            raise DamagedObject("a residual is coded in an unknown way")
        if flags & _SPARSE:
            positions = numbers.read_positions(reader, bits.size)
            changed = bits[positions]
            _restore(reader, flags, changed, dtype, 1, order)
            bits[positions] = changed
        else:
            _restore(reader, flags, bits, dtype, 0, order)
        reader.finish()


def _write(
    predicted: Bits,
    target: Bits,
    dtype: DType,
    grouping: bool,
    positions: NDArray[np.signedinteger[Any]] | None,
    writer: Writer,
    order: list[groups.Block],
) -> None:
    if positions is not None:
        predicted, target = predicted[positions], target[positions]
    with scratch.borrow(target.size, target.dtype) as difference:
        differences.difference(predicted, target, dtype, difference)
        if positions is not None:
            difference -= 1
        classes = groups.choose(difference, predicted, dtype) if grouping else None
        writer.note("B", (0 if positions is None else _SPARSE) | (0 if classes is None else _GROUPED))
        if positions is not None:
            numbers.write_positions(positions, writer)
        if classes is None:
            numbers.write(difference, writer)
        else:
            _write_groups(difference, predicted, dtype, classes, writer, order)


def _write_groups(
    difference: Bits,
    predicted: Bits,
    dtype: DType,
    classes: groups.Classes,
    writer: Writer,
    order: list[groups.Block],
) -> None:
    even = difference.size & ~1
    order += groups.sorted_blocks(predicted[:even], dtype, classes)
    counts = groups.gather(difference[:even], dtype, classes, order)
    writer.note(f"BB{classes.count}I", classes.top, classes.count, *counts)
    start = 0
    for members in groups.lists(counts):
        count = sum(counts[number] for number in members)
        numbers.write(difference[start : start + count], writer)
        start += count
    if even < difference.size:
        writer.note("I", int(difference[even]))


def _restore(
    reader: Reader, flags: int, bits: Bits, dtype: DType, least: int, order: list[groups.Block] | None
) -> None:
    """Add the differences that are read, and `least` (before the sign is taken off), to bits."""
    with scratch.borrow(bits.size, bits.dtype) as difference:
        if flags & _GROUPED:
            _restore_groups(reader, bits, difference, dtype, least, order)
            return
        numbers.read(reader, difference)
        if least:
            difference += least
        differences.add(bits, difference, dtype, bits)


def _restore_groups(
    reader: Reader,
    bits: Bits,
    difference: Bits,
    dtype: DType,
    least: int,
    order: Iterable[groups.Block] | None,
) -> None:
    top, count = reader.numbers("BB")
    counts = reader.numbers(f"{count}I")
    even = bits.size & ~1
    if not 2 <= count <= 16 or sum(counts) != even or dtype.itemsize not in (2, 4):
        raise DamagedObject("a residual's groups do not fit its chunk")
    start = 0
    for members in groups.lists(counts):
        end = start + sum(counts[number] for number in members)
        numbers.read(reader, difference[start:end])
        start = end
    if even < bits.size:
        difference[even] = reader.numbers("I")[0]
    if least:
        difference += least
    classes = groups.Classes(top, count)
    if order is None:
        order = groups.sorted_blocks(bits[:even], dtype, classes)
    for start, block in groups.scatter(difference[:even], counts, dtype, classes, order):
        part = bits[start : start + block.size]
        differences.add(part, block, dtype, part)
    if even < bits.size:
        differences.add(bits[even:], difference[even:], dtype, bits[even:])
