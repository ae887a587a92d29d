"""A list of unsigned integers as byte streams that an entropy coder does well on.

Mostly small numbers: those below 2**bits - 1 are packed (see packing), the rest marked by the largest value
and their excess written as a list of its own. Mostly zeros: the positions of the others as gaps, and
these less one as a list of their own. Large numbers: their low bits, which are noise, are split off as they
are. With no escapes and 8-bit parts that is a plain split into byte planes, which never takes more room than
the numbers themselves.

Written for each list: u8 bits (0: gaps), u8 shift (low bits split off, a multiple of 4), u32 how many numbers
are in the list that follows, and for gaps u32 bytes of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.errors import DamagedObject
from git_theta.updates.residual import gaps
from git_theta.updates.residual.packing import pack, packed_size, split, unpack
from git_theta.updates.residual.streams import Reader, Writer

if TYPE_CHECKING:
    from git_theta.tensors import Bits

SPARSE = 8
"""Where less than one number in this many is not zero, gaps are smaller and faster than packing."""
_SAMPLE = 4096
_RARE = 32  # at most one number in this many may be an escape
_DEPTH = 3  # lists in lists; each is much shorter than the one around it


def write(numbers: Bits, writer: Writer) -> None:
    """Write a list in the way that a sample of it suggests. Raises NoRoom."""
    _write(numbers, writer, 0)


def write_planes(numbers: Bits, writer: Writer) -> None:
    """Write a list as byte planes: as many bytes as it has."""
    _write_fields(numbers, 8, 8 * numbers.itemsize - 8, writer, _DEPTH)


def write_positions(positions: NDArray[np.signedinteger[Any]], writer: Writer) -> None:
    """Write ascending positions, as gaps."""
    stream = gaps.encode(positions)
    writer.note("II", positions.size, stream.size)
    writer.stream(stream.size)[:] = stream


def read_positions(reader: Reader, limit: int) -> NDArray[np.int64]:
    """Undo `write_positions` for positions below `limit`. Raises DamagedObject."""
    count, size = reader.numbers("II")
    return gaps.decode(reader.stream(size), count, limit)


def read(reader: Reader, out: Bits) -> None:
    """Undo `write` or `write_planes`: fill `out`. Raises DamagedObject."""
    _read(reader, out, 0)


def _write(numbers: Bits, writer: Writer, depth: int) -> None:
    if depth == _DEPTH:
        write_planes(numbers, writer)
        return
    # An odd step, so that the sample does not keep to one column of a matrix.
    sample = numbers[:: numbers.size // _SAMPLE | 1]
    if np.count_nonzero(sample) * SPARSE < sample.size:
        positions = np.flatnonzero(numbers != 0)
        if positions.size * SPARSE < 2 * numbers.size:
            _write_gaps(numbers, positions, writer, depth)
            return
    _write_fields(numbers, *_fields(sample), writer, depth)


def _fields(sample: Bits) -> tuple[int, int]:
    """Bits of a field and of the low part that leave few numbers of the sample too large."""
    rank = sample.size - 1 - sample.size // _RARE
    large = int(np.partition(sample, rank)[rank])
    for bits in (2, 4, 8):
        if large < (1 << bits) - 1:
            return bits, 0
    shift = -(-(large + 1).bit_length() // 4) * 4 - 8
    return 8, min(shift, 8 * sample.itemsize - 8)


def _write_gaps(numbers: Bits, positions: NDArray[np.signedinteger[Any]], writer: Writer, depth: int) -> None:
    writer.note("BB", 0, 0)
    write_positions(positions, writer)
    if positions.size:
        rest = numbers[positions]
        rest -= 1
        _write(rest, writer, depth + 1)


def _write_fields(numbers: Bits, bits: int, shift: int, writer: Writer, depth: int) -> None:
    count, (planes, half) = numbers.size, divmod(shift, 8)
    for plane in range(planes):
        np.right_shift(numbers, 8 * plane, out=writer.stream(count), casting="unsafe")
    with scratch.borrow(count) as parts:
        if half:
            np.right_shift(numbers, 8 * planes, out=parts, casting="unsafe")
            np.bitwise_and(parts, 15, out=parts)
            pack(parts, 4, writer.stream(packed_size(count, 4)))
        escapes = split(numbers, shift, bits, parts)
        pack(parts, bits, writer.stream(packed_size(count, bits)))
    writer.note("BBI", bits, shift, escapes.size)
    if escapes.size:
        rest = numbers[escapes]
        np.right_shift(rest, shift, out=rest)
        rest -= (1 << bits) - 1
        _write(rest, writer, depth + 1)


def _read(reader: Reader, out: Bits, depth: int) -> None:
    bits, shift = reader.numbers("BB")
    if depth > _DEPTH:
        raise DamagedObject("a residual is nested too deep")
    if bits == 0:
        positions = read_positions(reader, out.size)
        out.fill(0)
        if positions.size:
            out[positions] = _rest(reader, positions.size, out, depth) + 1
        return
    if bits not in (1, 2, 4, 8) or shift % 4 or shift + 8 > 8 * out.itemsize or (shift and bits != 8):
        raise DamagedObject("a residual is packed in an unknown way")
    (escaped,) = reader.numbers("I")
    with scratch.borrow(out.size) as parts:
        _read_fields(reader, bits, shift, parts, out)
        if escaped:
            escapes = np.flatnonzero(parts == (1 << bits) - 1)
            if escapes.size != escaped:
                raise DamagedObject("a residual has another number of large values than it says")
            out[escapes] += _rest(reader, escaped, out, depth) << shift


def _read_fields(reader: Reader, bits: int, shift: int, parts: Bits, out: Bits) -> None:
    """Fill `out`, and `parts` with the fields."""
    count, (planes, half) = out.size, divmod(shift, 8)
    low = [reader.stream(count) for _ in range(planes)]
    nibbles = reader.stream(packed_size(count, 4)) if half else None
    unpack(reader.stream(packed_size(count, bits)), bits, parts)
    np.copyto(out, parts)
    if nibbles is not None:
        with scratch.borrow(count) as halves:
            unpack(nibbles, 4, halves)
            np.left_shift(out, 4, out=out)
            np.bitwise_or(out, halves, out=out)
    for plane in reversed(low):
        np.left_shift(out, 8, out=out)
        np.bitwise_or(out, plane, out=out)


def _rest(reader: Reader, count: int, like: Bits, depth: int) -> Bits:
    rest = np.empty(count, like.dtype)
    _read(reader, rest, depth + 1)
    return rest
