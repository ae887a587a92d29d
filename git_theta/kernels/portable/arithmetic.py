"""Sums of floats: weighted, and of squares and products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.kernels.portable.common import BLOCK, check

if TYPE_CHECKING:
    from git_theta.tensors import Bits


_ROW = 1024  # products that are added in float32 before float64 takes over


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
    check(1 <= len(inputs) == len(coefficients) <= 64 and out.itemsize in (2, 4))
    check(all(one.size == out.size and one.dtype == out.dtype for one in inputs))
    kind = np.dtype(np.float64 if wide else np.float32).type
    step, wild, lost = BLOCK // 8, 0, 0
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
    check(old.size == new.size and old.dtype == new.dtype and old.itemsize in (2, 4))
    step, changed = BLOCK // 4, 0
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
    check(old.size == new.size == out.size and old.dtype == new.dtype and old.itemsize in (2, 4))
    check(out.dtype == np.float32)
    step = BLOCK // 4
    with scratch.borrow(2 * step, np.float32) as room, np.errstate(all="ignore"):
        for start in range(0, old.size, step):
            part = out[start : start + step]
            a = _widened(old[start : start + step], room[: part.size])
            b = _widened(new[start : start + step], room[step : step + part.size])
            np.subtract(b, a, out=part)
            np.copyto(part, 0, where=~np.isfinite(part))


def squares(bits: Bits) -> float:
    """The sum of squares of an array; see `sums`."""
    check(bits.itemsize in (2, 4))
    step, total = BLOCK // 4, 0.0
    with scratch.borrow(step, np.float32) as room, np.errstate(all="ignore"):
        for start in range(0, bits.size, step):
            part = bits[start : start + step]
            values = _widened(part, room[: part.size])
            total += _inner(values, values)
    return total


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
