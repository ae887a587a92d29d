"""Numbers as byte planes, and as fields of few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.kernels.portable.common import check

if TYPE_CHECKING:
    from git_theta.tensors import Bits

    Bytes = NDArray[np.uint8]


def split_planes(bits: Bits, planes: Bytes) -> None:
    """Byte j of every item into row j of `planes`, least significant first; zeros behind them.

    Args:
        planes: itemsize rows of equal length, at least as many bytes each as there are items.
    """
    rows = _planes(planes, bits)
    for j in range(bits.itemsize):  # shifts run about twice as fast as strided copies
        np.right_shift(bits, 8 * j, out=rows[j, : bits.size], casting="unsafe")
    rows[:, bits.size :] = 0


def join_planes(planes: Bytes, out: Bits) -> None:
    """Undo `split_planes`."""
    rows = _planes(planes, out)[:, : out.size]
    if out.itemsize == 1:
        out[:] = rows[0]
        return
    np.left_shift(rows[-1], 8, out=out, dtype=out.dtype, casting="unsafe")
    for plane in rows[-2:0:-1]:
        np.bitwise_or(out, plane, out=out)
        np.left_shift(out, 8, out=out)
    np.bitwise_or(out, rows[0], out=out)


def write_fields(numbers: Bits, bits: int, shift: int, out: Bytes) -> int:
    """Split numbers into fields of `bits` bits, which saturate, and `shift` bits below them.

    Packed number i goes to bits [k * bits, (k + 1) * bits) of byte i mod n, n bytes in all: neighbours lie in
    different bytes, which lets whole arrays be shifted at once.

    Args:
        bits: 1, 2, 4 or 8.
        shift: a multiple of 4; not 0 only where bits is 8.
        out: the byte planes of the low bits, then four bits of each number packed where shift is no multiple
            of 8, then the packed fields.

    Returns:
        How many fields are all ones, and stand for anything from that up; 0 where every number fits.
    """
    parts = _fields(out, numbers, bits, shift)
    for plane, part in enumerate(parts[: shift // 8]):
        np.right_shift(numbers, 8 * plane, out=part, casting="unsafe")
    with scratch.borrow(numbers.size) as field, scratch.borrow(numbers.size, numbers.dtype) as high:
        if shift % 8:
            np.right_shift(numbers, shift - 4, out=field, casting="unsafe")
            np.bitwise_and(field, 15, out=field)
            _pack(field, 4, parts[-2])
        np.right_shift(numbers, shift, out=high)
        top = (1 << bits) - 1
        large = 0
        if shift + bits < 8 * numbers.itemsize:
            large = int(np.count_nonzero(high >= top))
            np.minimum(high, top, out=high)
        np.copyto(field, high, casting="unsafe")
        _pack(field, bits, parts[-1])
    return large


def read_fields(fields: Bytes, bits: int, shift: int, out: Bits) -> None:
    """Undo `write_fields`, but for numbers whose fields are all ones."""
    parts = _fields(fields, out, bits, shift)
    with scratch.borrow(out.size) as field:
        _unpack(parts[-1], bits, field)
        np.copyto(out, field)
        if shift % 8:
            _unpack(parts[-2], 4, field)
            np.left_shift(out, 4, out=out)
            np.bitwise_or(out, field, out=out)
    for part in reversed(parts[: shift // 8]):
        np.left_shift(out, 8, out=out)
        np.bitwise_or(out, part, out=out)


def excess(numbers: Bits, fields: Bytes, bits: int, shift: int, out: Bits) -> None:
    """How far the numbers that are too large for their field exceed it, without the low bits.

    Args:
        fields: what `write_fields` has written.
    """
    _fields(fields, numbers, bits, shift)
    high = numbers >> shift
    top = (1 << bits) - 1
    large = high[high >= top]
    check(large.size == out.size)
    np.subtract(large, top, out=out)


def add_excess(numbers: Bits, fields: Bytes, bits: int, shift: int, rest: Bits) -> None:
    """Undo `excess`: add it to the numbers that `read_fields` gave."""
    _fields(fields, numbers, bits, shift)
    large = np.flatnonzero(numbers >> shift == (1 << bits) - 1)
    check(large.size == rest.size)
    numbers[large] += rest << shift


def _planes(planes: Bytes, bits: Bits) -> Bytes:
    check(planes.size % bits.itemsize == 0 and planes.size >= bits.nbytes)
    return planes.reshape(bits.itemsize, -1)


def _fields(fields: Bytes, numbers: Bits, bits: int, shift: int) -> list[Bytes]:
    """The parts of fields: byte planes, packed half bytes, packed fields."""
    check(bits in (1, 2, 4, 8) and shift >= 0 and shift % 4 == 0 and (bits == 8 or shift == 0))
    check(shift + bits <= 8 * numbers.itemsize)
    count = numbers.size
    sizes = [count] * (shift // 8) + [-(-count // 2)] * (shift % 8 > 0) + [-(-count * bits // 8)]
    check(sum(sizes) == fields.size)
    ends = np.cumsum(sizes).tolist()
    return [fields[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _pack(numbers: Bytes, bits: int, out: Bytes) -> None:
    lane = out.size
    out[:] = numbers[:lane]
    with scratch.borrow(lane) as buffer:
        for k in range(1, 8 // bits):
            part = numbers[k * lane : (k + 1) * lane]
            shifted = buffer[: part.size]
            np.multiply(part, 1 << (k * bits), out=shifted)
            np.bitwise_or(out[: part.size], shifted, out=out[: part.size])


def _unpack(packed: Bytes, bits: int, out: Bytes) -> None:
    lane = packed.size
    for k in range(8 // bits):
        part = out[k * lane : (k + 1) * lane]
        np.right_shift(packed[: part.size], k * bits, out=part)
        np.bitwise_and(part, (1 << bits) - 1, out=part)
