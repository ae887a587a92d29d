"""The innermost loops in NumPy.

Arrays are 1-D and contiguous; items are unsigned little-endian integers of 1, 2, 4 or 8 bytes. All functions
raise ValueError where lengths or types do not fit together, and fill the array that they are given as `out`.
They run in blocks that stay in a core's cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch

if TYPE_CHECKING:
    from git_theta.tensors import Bits

    Bytes = NDArray[np.uint8]
    Signed = NDArray[np.signedinteger[Any]]

_BLOCK = 128 << 10  # bytes of each array that are handled at a time
_ROW = 1024  # products that are added in float32 before float64 takes over
_SORTED = 128 << 10  # pairs that are sorted at a time


def changed(first: Bits, second: Bits) -> int:
    """How many items differ."""
    _check(first.size == second.size and first.dtype == second.dtype)
    return int(np.count_nonzero(first != second))


def positions(first: Bits, second: Bits, out: NDArray[np.int64]) -> None:
    """Where items differ, ascending: as many as `out` has room for."""
    _check(first.size == second.size and first.dtype == second.dtype)
    found = np.flatnonzero(first != second)
    _check(found.size == out.size)
    out[:] = found


def difference(predicted: Bits, target: Bits, floats: bool, out: Bits) -> None:
    """The difference of two arrays' bits as unsigned integers, small wherever the values are near.

    Bits are subtracted modulo their width, so nothing is ever lost. Then signs go to the lowest bit
    ("zigzag": 0, -1, 1, -2 become 0, 1, 2, 3).

    Args:
        floats: the bits are sign and magnitude, and to be compared in the order of the values: where the
            signs of both differ, the target's magnitude is inverted, and where the prediction is negative the
            order is turned round. That gives the same sizes as mapping both to two's complement.
        out: may be `target`.
    """
    for p, t, z, a, b in _blocks(predicted, target, out):
        if floats:
            t = _turn(t, p, a, b)
        np.subtract(t, p, out=a)
        np.right_shift(a, 8 * a.itemsize - 1, out=b)
        np.add(a, a, out=a)
        np.bitwise_xor(a, b, out=z)


def add(predicted: Bits, differences: Bits, floats: bool, out: Bits) -> None:
    """Undo `difference`: fill `out` with the target's bits; it may be either argument."""
    unsigned = predicted.dtype
    for p, z, t, a, b in _blocks(predicted, differences, out):
        np.bitwise_and(z, 1, out=a)
        np.negative(a, out=a)
        np.right_shift(z.view(unsigned), 1, out=b.view(unsigned))
        np.bitwise_xor(a, b, out=a)
        if floats:
            np.add(a, p, out=a)
            _turn(a, p, t, b)
        else:
            np.add(a, p, out=t)


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
    """Of those numbers whose fields are all ones, what they are more than that, without the low bits.

    Args:
        fields: what `write_fields` has written.
    """
    _fields(fields, numbers, bits, shift)
    high = numbers >> shift
    top = (1 << bits) - 1
    large = high[high >= top]
    _check(large.size == out.size)
    np.subtract(large, top, out=out)


def add_excess(numbers: Bits, fields: Bytes, bits: int, shift: int, rest: Bits) -> None:
    """Undo `excess`: add it to the numbers that `read_fields` gave."""
    _fields(fields, numbers, bits, shift)
    large = np.flatnonzero(numbers >> shift == (1 << bits) - 1)
    _check(large.size == rest.size)
    numbers[large] += rest << shift


def classify(bits: Bits, mantissa: int, exponent: int, top: int, count: int, codes: Bytes) -> list[int]:
    """Classes of exponents: `top - exponent` modulo 256, at most `count - 1`.

    Args:
        bits: an even number of floats of 16 or 32 bits.
        mantissa, exponent: their widths; exponents count modulo 256.
        codes: one a pair of neighbours: 16 * class of the second + class of the first.

    Returns:
        How many items have each class.
    """
    _check(bits.size == 2 * codes.size and bits.itemsize in (2, 4) and 1 <= count <= 16)
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


def weighted_sum(
    inputs: tuple[Bits, ...], coefficients: tuple[float, ...], wide: bool, out: Bits
) -> tuple[int, int]:
    """Fill `out` with Σ cᵢ xᵢ: each product is rounded, then each sum, first to last.

    Args:
        inputs: bfloat16 where items have 2 bytes, float32 where they have 4; at most 64 of them.
        wide: compute in float64 rather than float32. What becomes bfloat16 becomes float32 first.
        out: of the same type; rounded to nearest, ties to even. Where a sum is not finite, the first input's
            bits. May be the first input.

    Returns:
        How many sums are not finite; how many others are too large for `out`, and infinite there.
    """
    _check(1 <= len(inputs) == len(coefficients) <= 64 and out.itemsize in (2, 4))
    _check(all(one.size == out.size and one.dtype == out.dtype for one in inputs))
    kind = np.dtype(np.float64 if wide else np.float32).type
    step, wild, lost = _BLOCK // 8, 0, 0
    infinite = out.dtype.type(0x7F800000 >> (32 - 8 * out.itemsize))
    with scratch.borrow(step, np.float32) as room, np.errstate(all="ignore"):
        for start in range(0, out.size, step):
            parts = [bits[start : start + step] for bits in inputs]
            into = out[start : start + step]
            total = np.zeros(0, kind)
            for place, (bits, coefficient) in enumerate(zip(parts, coefficients, strict=True)):
                product = _widened(bits, room[: bits.size]).astype(kind) * kind(coefficient)
                total = total + product if place else product
            strange = ~np.isfinite(total)
            kept = parts[0][strange]
            words = total.astype(np.float32).view(np.uint32)
            if out.itemsize == 2:
                words += 0x7FFF + (words >> 16 & 1)
                words >>= 16
            np.copyto(into, words, casting="unsafe")
            lost += int(np.count_nonzero((into & infinite == infinite) & ~strange))
            into[strange] = kept
            wild += kept.size
    return wild, lost


def sums(old: Bits, new: Bits) -> tuple[int, float, float, float, float, float]:
    """What two arrays, of types as in `weighted_sum`, add up to.

    Squares and products are added in float32 for at most a thousand items, then in float64: a norm is off by
    at most 3.1e-5 of it, in fact by less than 1e-6. Where float32 overflows, or items are not finite, so
    are the sums.

    Returns:
        How many items have other bits; the sums of squares of old, new, and new - old; the sum of products of
        old and new; the largest magnitude in new - old.
    """
    _check(old.size == new.size and old.dtype == new.dtype and old.itemsize in (2, 4))
    step, changed = _BLOCK // 4, 0
    totals, largest = [0.0] * 4, 0.0
    with scratch.borrow(3 * step, np.float32) as room, np.errstate(all="ignore"):
        for start in range(0, old.size, step):
            parts = old[start : start + step], new[start : start + step]
            changed += int(np.count_nonzero(parts[0] != parts[1]))
            spaces = room.reshape(3, step)[:, : parts[0].size]
            a, b = (_widened(bits, space) for bits, space in zip(parts, spaces[:2], strict=True))
            difference = np.subtract(b, a, out=spaces[2])
            for place, pair in enumerate(((a, a), (b, b), (difference, difference), (a, b))):
                totals[place] += _inner(*pair)
            largest = max(largest, float(difference.max()), -float(difference.min()))
    return changed, totals[0], totals[1], totals[2], totals[3], largest


def subtract(old: Bits, new: Bits, out: NDArray[np.float32]) -> None:
    """new - old in float32, of types as in `weighted_sum`; 0 where that is not finite."""
    _check(old.size == new.size == out.size and old.dtype == new.dtype and old.itemsize in (2, 4))
    _check(out.dtype == np.float32)
    step = _BLOCK // 4
    with scratch.borrow(2 * step, np.float32) as room, np.errstate(all="ignore"):
        for start in range(0, old.size, step):
            part = out[start : start + step]
            a = _widened(old[start : start + step], room[: part.size])
            b = _widened(new[start : start + step], room[step : step + part.size])
            np.subtract(b, a, out=part)
            np.copyto(part, 0, where=~np.isfinite(part))


def squares(bits: Bits) -> float:
    """The sum of squares of an array; see `sums`."""
    _check(bits.itemsize in (2, 4))
    step, total = _BLOCK // 4, 0.0
    with scratch.borrow(step, np.float32) as room, np.errstate(all="ignore"):
        for start in range(0, bits.size, step):
            part = bits[start : start + step]
            values = _widened(part, room[: part.size])
            total += _inner(values, values)
    return total


def read_packets(descriptor: int, out: memoryview, left: int, header: memoryview) -> tuple[int, int, int]:
    """Read the contents of Git's packets (see git.pktline) from a file descriptor.

    Args:
        out: bytes to fill.
        left: bytes of the current packet that were not read yet, at least one.
        header: 4 bytes: of the header that follows the last packet, what was read with it.

    Returns:
        How many bytes of `out` were filled; less than all, where a header has been read that is not whole or
        does not begin a packet with contents, or where there is no more. What is left of the current packet
        then, and how many bytes of `header` were read.

    Raises:
        OSError: as reading does.
    """
    count = min(left, len(out))
    got = os.readv(descriptor, [out[:count], header] if count == left else [out[:count]])
    filled = min(got, count)
    return filled, left - filled, got - filled


def _check(fits: bool) -> None:
    if not fits:
        raise ValueError("the arrays do not fit together")


def _blocks(first: Bits, second: Bits, out: Bits) -> Iterator[tuple[Signed, ...]]:
    """Blocks of the three arrays, as signed integers, and two more to work in."""
    _check(first.size == second.size == out.size and first.dtype == second.dtype == out.dtype)
    step, signed = _BLOCK // out.itemsize, f"<i{out.itemsize}"
    with scratch.borrow(2 * step, signed) as buffer:
        for start in range(0, out.size, step):
            parts = [bits[start : start + step].view(signed) for bits in (first, second, out)]
            size = parts[0].size
            yield (*parts, buffer[:size], buffer[step : step + size])


def _turn(bits: Signed, predicted: Signed, out: Signed, spare: Signed) -> Signed:
    """Invert the magnitude of those bits whose sign is not that of the prediction; its own inverse."""
    shift = 8 * bits.itemsize - 1
    np.bitwise_xor(bits, predicted, out=spare)
    np.right_shift(spare, shift, out=spare)
    np.bitwise_and(spare, (1 << shift) - 1, out=spare)
    np.bitwise_xor(bits, spare, out=out)
    return out


def _planes(planes: Bytes, bits: Bits) -> Bytes:
    _check(planes.size % bits.itemsize == 0 and planes.size >= bits.nbytes)
    return planes.reshape(bits.itemsize, -1)


def _fields(fields: Bytes, numbers: Bits, bits: int, shift: int) -> list[Bytes]:
    """The parts of fields: byte planes, packed half bytes, packed fields."""
    _check(bits in (1, 2, 4, 8) and shift >= 0 and shift % 4 == 0 and (bits == 8 or shift == 0))
    _check(shift + bits <= 8 * numbers.itemsize)
    count = numbers.size
    sizes = [count] * (shift // 8) + [-(-count // 2)] * (shift % 8 > 0) + [-(-count * bits // 8)]
    _check(sum(sizes) == fields.size)
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


def _pairs(bits: Bits, codes: Bytes, order: bytes) -> NDArray[np.unsignedinteger[Any]]:
    """An even number of items as pairs, after checking that the order has every class."""
    _check(bits.size == 2 * codes.size and bits.itemsize in (2, 4))
    table = np.bincount(codes, minlength=256).reshape(16, 16)
    _check(set(np.flatnonzero(table.sum(axis=0) + table.sum(axis=1)).tolist()) <= set(order))
    return bits.view(f"<u{2 * bits.itemsize}")


def _sorted(codes: Bytes) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Blocks of pairs: the first one, their order by code, and where in that order each code begins."""
    for start in range(0, codes.size, _SORTED):
        part = codes[start : start + _SORTED]
        ranks = part.argsort(kind="stable")
        yield start, ranks, np.searchsorted(part[ranks], np.arange(257))


def _widened(bits: Bits, out: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of items as float32; `out`, or a view of the bits."""
    if bits.itemsize == 4:
        return bits.view(np.float32)
    words = out.view(np.uint32)
    np.copyto(words, bits)
    np.left_shift(words, 16, out=words)
    return out


def _inner(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """An inner product: rows of products in float32, their sum in float64."""
    whole = one.size - one.size % _ROW
    result = 0.0
    if whole:
        rows = np.matmul(one[:whole].reshape(-1, 1, _ROW), other[:whole].reshape(-1, _ROW, 1))
        result = float(rows.sum(dtype=np.float64))
    if whole < one.size:
        result += float(np.dot(one[whole:], other[whole:]))
    return result
