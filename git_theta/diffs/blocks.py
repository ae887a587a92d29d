"""The arithmetic of one range of two or three tensors: sums of squares and products, largest entries, counts.

Most dtypes are computed in float32 blocks that fit a cache; the sums of ROW products each are then added in
float64. The error of a norm is at most ROW/2 roundings of float32, 3.1e-5 of it, for
a dot product that adds one product after the other; the BLAS libraries in use add 8 to 32 at a time, which
was measured at less than 2e-7. A block whose squares overflow float32 or vanish in it, or that holds NaN or
infinity, is computed again in float64, as wide integers, float64 and complex numbers always are.

Entries that are NaN or infinite on any side are counted, and count for no norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.tensors import Tensor, chunks
from git_theta.values import carrier, is_number, to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

BLOCK = 512 << 10
"""Items that are computed at once in float32. The two arrays of 2 MiB stay in a third-level cache; with
smaller ones, two threads wait for Python's lock more than they compute (measured: half as fast)."""

WIDE_BLOCK = 128 << 10
"""The same for float64, which needs more arrays."""

ROW = 1024
"""Products that are added in float32 before float64 takes over."""

_TINY = 1e-26  # squares below 2**-126 may vanish: BLOCK of them are no more than 1e-7 of this
BINS = 512
"""Bins of a histogram of differences: sign and binary exponent, as float32 has them."""


@dataclass(frozen=True)
class Sums:
    """What one range of an old and a new tensor adds up to.

    Norms are kept rather than their squares, which float64 may not hold.

    Attributes:
        items: compared ones.
        changed: elements whose bits differ (whose values differ, where the dtypes do).
        old, new, difference: 2-norms.
        product: the inner product of old and new (its real part, for complex numbers); not finite where
            float64 does not hold it.
        largest: the largest absolute difference.
        nans, infinities: elements that are NaN, or infinite, in the new tensor and not in the old one.
        bins: how many differences have each sign and exponent (see BINS), where asked for.
    """

    items: int = 0
    changed: int = 0
    old: float = 0.0
    new: float = 0.0
    difference: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    nans: int = 0
    infinities: int = 0
    bins: NDArray[np.int64] | None = field(default=None, compare=False)


def total(parts: Sequence[Sums]) -> Sums:
    """The sums over several ranges; the order does not matter to the last bits that are shown."""
    binned = [part.bins for part in parts if part.bins is not None]
    return Sums(
        sum(part.items for part in parts),
        sum(part.changed for part in parts),
        math.hypot(*(part.old for part in parts)),
        math.hypot(*(part.new for part in parts)),
        math.hypot(*(part.difference for part in parts)),
        _sum(part.product for part in parts),
        max((part.largest for part in parts), default=0.0),
        sum(part.nans for part in parts),
        sum(part.infinities for part in parts),
        np.sum(binned, axis=0) if binned else None,
    )


def compare_bits(old: Bits, old_dtype: DType, new: Bits, new_dtype: DType, binned: bool = False) -> Sums:
    """The sums of one range.

    Args:
        old, new: as many items each.
        binned: whether to count differences by sign and exponent.

    Raises:
        ValueError: one dtype is complex and the other is not, or only one can be computed with.
    """
    if not is_number(old_dtype) or not is_number(new_dtype):
        if old_dtype != new_dtype:
            raise ValueError(f"{old_dtype.name} and {new_dtype.name} cannot be compared")
        return Sums(old.size, int(np.count_nonzero(old != new)))
    if old_dtype.components != new_dtype.components:
        raise ValueError(f"{old_dtype.name} and {new_dtype.name} cannot be compared")
    narrow = in_float32(old_dtype) and in_float32(new_dtype)
    parts = []
    with np.errstate(all="ignore"), scratch.borrow(2 * min(old.size, BLOCK), np.float32) as room:
        for start in range(0, old.size, BLOCK):
            sides = old[start : start + BLOCK], old_dtype, new[start : start + BLOCK], new_dtype
            part = _narrow(*sides, room, binned) if narrow else None
            parts += [part] if part is not None else _wide_parts(*sides, binned)
    return total(parts)


def norm(bits: Bits, dtype: DType) -> float:
    """The 2-norm of the finite items of a range."""
    parts = []
    with np.errstate(all="ignore"), scratch.borrow(min(bits.size, BLOCK), np.float32) as room:
        for start in range(0, bits.size, BLOCK):
            block = bits[start : start + BLOCK]
            found = squares(float32(block, dtype, room[: block.size])) if in_float32(dtype) else None
            if found is None:
                wide = float64(block, dtype)
                parts.append(wide_norm(np.where(np.isfinite(wide), wide, 0.0)))
            else:
                parts.append(math.sqrt(found))
    return math.hypot(*parts)


def norm_of(tensor: Tensor) -> float:
    """The 2-norm of the finite values of a tensor, of a dtype that can be computed with."""
    return math.hypot(*(norm(tensor.read(start, stop), tensor.dtype) for start, stop in chunks(tensor)))


def in_float32(dtype: DType) -> bool:
    """Whether float32 holds every item of a dtype exactly, and blocks of it are computed in float32."""
    return dtype.components == 1 and carrier(dtype) == np.float32


def float32(bits: Bits, dtype: DType, out: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of items of a dtype that is `in_float32`; `out`, or a view of the bits."""
    if dtype.name == "F32":
        return bits.view("<f4")
    if dtype.name == "F16":  # a table is twice as fast as NumPy's conversion
        return np.take(_values_of_float16(), bits, out=out, mode="clip")
    to_float(bits, dtype, out)
    return out


def float64(bits: Bits, dtype: DType) -> NDArray[np.float64]:
    """The values of items of any dtype that can be computed with."""
    return to_float(bits, dtype).astype(np.float64, copy=False)


def inner(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """An inner product of float32 arrays: rows of products in float32, their sum in float64."""
    whole = one.size - one.size % ROW
    result = 0.0
    if whole:
        rows = np.matmul(one[:whole].reshape(-1, 1, ROW), other[:whole].reshape(-1, ROW, 1))
        result = float(rows.sum(dtype=np.float64))
    if whole < one.size:
        result += float(np.dot(one[whole:], other[whole:]))
    return result


def squares(values: NDArray[np.float32]) -> float | None:
    """The sum of squares, or None where float32 cannot be trusted with it."""
    result = inner(values, values)
    if _TINY <= result < math.inf:
        return result
    return 0.0 if result == 0 and not values.any() else None


def _narrow(
    old: Bits, old_dtype: DType, new: Bits, new_dtype: DType, room: NDArray[np.float32], binned: bool
) -> Sums | None:
    """One block in float32, or None where that cannot be trusted."""
    count = old.size
    same = old_dtype == new_dtype
    changed = int(np.count_nonzero(old != new)) if same else count
    a = float32(old, old_dtype, room[:count])
    aa = squares(a)
    if aa is None:
        return None
    if not changed:
        length = math.sqrt(aa)
        bins = _binned(np.zeros(count, np.float32)) if binned else None
        return Sums(count, 0, length, length, product=aa, bins=bins)
    b = float32(new, new_dtype, room[-count:])
    bb = squares(b)
    if bb is None:
        return None
    alike = 0.01 * aa < bb < 100 * aa
    ab = 0.0 if alike else inner(a, b)
    difference = np.subtract(b, a, out=room[-count:])
    dd = squares(difference)
    if dd is None or not math.isfinite(ab):
        return None
    if alike:
        ab = (aa + bb - dd) / 2
    if not same:
        changed = int(np.count_nonzero(difference))
    largest = max(float(difference.max()), -float(difference.min()))
    bins = _binned(difference) if binned else None
    return Sums(count, changed, math.sqrt(aa), math.sqrt(bb), math.sqrt(dd), ab, largest, bins=bins)


def _wide_parts(old: Bits, old_dtype: DType, new: Bits, new_dtype: DType, binned: bool) -> list[Sums]:
    return [
        _wide(old[start : start + WIDE_BLOCK], old_dtype, new[start : start + WIDE_BLOCK], new_dtype, binned)
        for start in range(0, old.size, WIDE_BLOCK)
    ]


def _wide(old: Bits, old_dtype: DType, new: Bits, new_dtype: DType, binned: bool) -> Sums:
    """One block in float64: any dtype, any values."""
    a, b = float64(old, old_dtype), float64(new, new_dtype)
    same = old_dtype if old_dtype == new_dtype else None
    changed = old != new if same else (a != b) & ~(np.isnan(a) & np.isnan(b))
    nans = np.isnan(b) & ~np.isnan(a)
    infinities = np.isinf(b) & ~np.isinf(a)
    finite = np.isfinite(a) & np.isfinite(b)
    difference = np.where(finite, exact_difference(a, b, old, new, same), 0.0)
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    components = old_dtype.components
    moduli = np.abs(difference)
    if components == 2:
        changed, nans, infinities = (_either(mask) for mask in (changed, nans, infinities))
        moduli = np.hypot(difference[::2], difference[1::2])
    return Sums(
        old.size,
        int(np.count_nonzero(changed)),
        wide_norm(a),
        wide_norm(b),
        wide_norm(difference),
        float(np.dot(a, b)),
        float(moduli.max(initial=0.0)),
        int(np.count_nonzero(nans)),
        int(np.count_nonzero(infinities)),
        _binned(difference.astype(np.float32)) if binned else None,
    )


def exact_difference(
    a: NDArray[np.float64], b: NDArray[np.float64], old: Bits, new: Bits, dtype: DType | None
) -> NDArray[np.float64]:
    """b - a, without the rounding of 64-bit integers to float64 that would hide a step of one.

    Args:
        old, new: the bits of a and b.
        dtype: what both are of; None where they differ.
    """
    difference = b - a
    if dtype is not None and dtype.itemsize == 8 and dtype.kind in ("int", "uint"):
        return np.where(np.abs(difference) < 2.0**62, (new - old).view("<i8"), difference)
    return difference


def wide_norm(values: NDArray[np.float64]) -> float:
    """The 2-norm of finite values, also where their squares overflow or vanish."""
    squares = float(np.dot(values, values))
    if 1e-280 < squares < math.inf:
        return math.sqrt(squares)
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0 or largest == math.inf:
        return largest
    _, exponent = math.frexp(largest)
    scaled = np.ldexp(values, -exponent)
    return float(np.ldexp(np.sqrt(np.dot(scaled, scaled)), exponent))


def _either(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Per complex number, whether either of its parts is marked."""
    pairs: NDArray[np.bool_] = mask[::2] | mask[1::2]
    return pairs


def _binned(difference: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.bincount(np.right_shift(difference.view(np.uint32), 23), minlength=BINS)


def _sum(values: Iterable[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


@cache
def _values_of_float16() -> NDArray[np.float32]:
    from git_theta.dtypes import dtype

    table = to_float(np.arange(1 << 16, dtype="<u2"), dtype("F16")).astype(np.float32)
    table.flags.writeable = False
    return table
