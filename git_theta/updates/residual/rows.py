"""Codes the residual of one chunk as a row, and restores the chunk from it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from git_theta import kernels, scratch
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject, NewerObject
from git_theta.settings import Grouping
from git_theta.updates.residual import frames, numbers
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
    predicted: Bits, target: Bits, dtype: DType, width: int, grouping: Grouping, verify: bool = False
) -> bytes | None:
    """The residual of a chunk as a compressed row of `width` bytes; None where the prediction is exact.

    Args:
        predicted, target: bits of the chunk's items, contiguous.
        width: at least the chunk's bytes and MARGIN.
        grouping: whether differences may be grouped, where a sample says that it pays; see Settings.
        verify: decode the row and compare; `predicted` then becomes the target.

    Raises:
        NotExact: the row does not give the target.
    """
    changed = kernels.changed(target, predicted)
    if not changed:
        return None
    with scratch.borrow(width - frames.OVERHEAD) as room, _codes(target) as codes:
        writer = Writer(room)
        counts: list[int] | None = None
        try:
            positions = None
            if changed * numbers.SPARSE < target.size:
                positions = np.empty(changed, np.int64)
                kernels.positions(target, predicted, positions)
            counts = _write(predicted, target, dtype, grouping, positions, writer, codes)
        except NoRoom:
            writer = Writer(room)
            writer.note("B", 0)
            with scratch.borrow(target.size, target.dtype) as difference:
                kernels.difference(predicted, target, _floats(dtype), difference)
                numbers.write_planes(difference, writer)
        row = frames.compress(writer, width)
        if verify:
            _decode(row, width, predicted, dtype, codes, counts)
            if kernels.changed(predicted, target):
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
    with _codes(bits) as codes:
        _decode(row, width, bits, dtype, codes, None)


def _decode(
    row: bytes | memoryview,
    width: int,
    bits: Bits,
    dtype: DType,
    codes: NDArray[np.uint8],
    known: list[int] | None,
) -> None:
    """As `decode`.

    Args:
        codes: room for the classes of pairs.
        known: how many items have each class, where `codes` holds these already.
    """
    with frames.decompress(row, width) as reader:
        (flags,) = reader.numbers("B")
        if flags & ~(_SPARSE | _GROUPED):
            raise NewerObject(f"made by a newer git-theta (its residual is coded in another way: {flags})")
        if flags & _SPARSE:
            positions = numbers.read_positions(reader, bits.size)
            changed = bits[positions]
            _restore(reader, flags, changed, dtype, 1, codes, known)
            bits[positions] = changed
        else:
            _restore(reader, flags, bits, dtype, 0, codes, known)
        reader.finish()


def _write(
    predicted: Bits,
    target: Bits,
    dtype: DType,
    grouping: Grouping,
    positions: NDArray[np.int64] | None,
    writer: Writer,
    codes: NDArray[np.uint8],
) -> list[int] | None:
    """Write a chunk; returns how many items have each class where they are grouped, with `codes` filled."""
    if positions is not None:
        predicted, target = predicted[positions], target[positions]
    with scratch.borrow(target.size, target.dtype) as difference:
        kernels.difference(predicted, target, _floats(dtype), difference)
        if positions is not None:
            difference -= 1
        classes = groups.choose(difference, predicted, dtype, grouping)
        writer.note("B", (0 if positions is None else _SPARSE) | (0 if classes is None else _GROUPED))
        if positions is not None:
            numbers.write_positions(positions, writer)
        if classes is None:
            numbers.write(difference, writer)
            return None
        return _write_groups(difference, predicted, dtype, classes, writer, codes)


def _write_groups(
    difference: Bits,
    predicted: Bits,
    dtype: DType,
    classes: groups.Classes,
    writer: Writer,
    codes: NDArray[np.uint8],
) -> list[int]:
    even = difference.size & ~1
    codes = codes[: even // 2]
    counts = groups.classify(predicted[:even], dtype, classes, codes)
    writer.note(f"BB{classes.count}I", classes.top, classes.count, *counts)
    with scratch.borrow(even, difference.dtype) as lists:
        kernels.gather(difference[:even], codes, groups.order(counts), lists)
        start = 0
        for members in groups.lists(counts):
            count = sum(counts[number] for number in members)
            numbers.write(lists[start : start + count], writer)
            start += count
    if even < difference.size:
        writer.note("I", int(difference[even]))
    return counts


def _restore(
    reader: Reader,
    flags: int,
    bits: Bits,
    dtype: DType,
    least: int,
    codes: NDArray[np.uint8],
    known: list[int] | None,
) -> None:
    """Add the differences that are read, and `least` (before the sign is taken off), to bits."""
    with scratch.borrow(bits.size, bits.dtype) as difference:
        if flags & _GROUPED:
            _read_groups(reader, bits, difference, dtype, codes, known)
        else:
            numbers.read(reader, difference)
        if least:
            difference += least
        kernels.add(bits, difference, _floats(dtype), bits)


def _read_groups(
    reader: Reader,
    bits: Bits,
    difference: Bits,
    dtype: DType,
    codes: NDArray[np.uint8],
    known: list[int] | None,
) -> None:
    top, count = reader.numbers("BB")
    counts = [*reader.numbers(f"{count}I")]
    even = bits.size & ~1
    if not 2 <= count <= 16 or sum(counts) != even or dtype.itemsize not in (2, 4):
        raise DamagedObject("a residual's groups do not fit its chunk")
    codes = codes[: even // 2]
    with scratch.borrow(even, difference.dtype) as lists:
        start = 0
        for members in groups.lists(counts):
            end = start + sum(counts[number] for number in members)
            numbers.read(reader, lists[start:end])
            start = end
        if (known or groups.classify(bits[:even], dtype, groups.Classes(top, count), codes)) != counts:
            raise DamagedObject("a residual is grouped by other exponents than its base has")
        kernels.scatter(lists, codes, groups.order(counts), difference[:even])
    if even < bits.size:
        difference[even] = reader.numbers("I")[0]


def _codes(bits: Bits) -> AbstractContextManager[NDArray[np.uint8]]:
    """Room for the classes of pairs of a chunk's items."""
    return scratch.borrow(bits.size // 2)


def _floats(dtype: DType) -> bool:
    """Whether bits are sign and magnitude."""
    return dtype.kind in ("float", "complex")
