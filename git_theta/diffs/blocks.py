"""The arithmetic of one range of two or three tensors: sums of squares and products, largest entries, counts.

Most dtypes are computed in float32, a thousand products at a time (see kernels.portable.sums). A block whose
squares overflow float32 or vanish in it, or that holds NaN or infinity, is computed again in float64, as wide
integers, float64 and complex numbers always are.

Entries that are NaN or infinite on any side are counted, and count for no norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import kernels, scratch
from git_theta.dtypes import DType
from git_theta.tensors import Tensor, chunks
from git_theta.values import carrier, is_number, to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

BLOCK = 512 << 10
"""Items that are computed at once in float32; with fewer, two threads wait for Python's lock."""

WIDE_BLOCK = 128 << 10
"""The same for float64, which needs more arrays."""

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
    parts, narrow = [], in_float32(dtype)
    with np.errstate(all="ignore"), scratch.borrow(min(bits.size, BLOCK), np.float32) as room:
        for start in range(0, bits.size, BLOCK):
            block = bits[start : start + BLOCK]
            items = words(block, dtype, room[: block.size]) if narrow else block
            found = kernels.squares(items) if narrow else math.nan
            if trusted(found, items):
                parts.append(math.sqrt(found))
            else:
                wide = float64(block, dtype)
                parts.append(wide_norm(np.where(np.isfinite(wide), wide, 0.0)))
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


def words(bits: Bits, dtype: DType, room: NDArray[np.float32]) -> Bits:
    """Items of a dtype that is `in_float32` as kernels read them: as they are, or converted to float32."""
    if dtype.name in ("BF16", "F32"):
        return bits
    return _converted(bits, dtype, room)


def squares(values: NDArray[np.float32]) -> float | None:
    """The sum of squares, or None where float32 cannot be trusted with it."""
    found = kernels.squares(values.view(np.uint32))
    return found if trusted(found, values) else None


def float64(bits: Bits, dtype: DType) -> NDArray[np.float64]:
    """The values of items of any dtype that can be computed with."""
    return to_float(bits, dtype).astype(np.float64, copy=False)


def trusted(squares: float, values: NDArray[Any]) -> bool:
    """Whether this is the sum of the squares of values: none overflowed, none that matters vanished."""
    return _TINY <= squares < math.inf or (squares == 0 and not values.any())


def _narrow(
    old: Bits, old_dtype: DType, new: Bits, new_dtype: DType, room: NDArray[np.float32], binned: bool
) -> Sums | None:
    """One block in float32, or None where that cannot be trusted."""
    same = old_dtype == new_dtype
    read = words if same else _converted
    a, b = read(old, old_dtype, room[: old.size]), read(new, new_dtype, room[-new.size :])
    changed, aa, bb, dd, ab, largest = kernels.sums(a, b)
    if not (trusted(aa, a) and trusted(bb, b) and (trusted(dd, a) or not changed) and math.isfinite(ab)):
        return None
    bins = None
    if binned or not same:
        difference = float32(new, new_dtype, room[-new.size :]) - float32(old, old_dtype, room[: old.size])
        changed = int(np.count_nonzero(difference))
        bins = _binned(difference) if binned else None
    return Sums(old.size, changed, math.sqrt(aa), math.sqrt(bb), math.sqrt(dd), ab, largest, bins=bins)


def _converted(bits: Bits, dtype: DType, room: NDArray[np.float32]) -> Bits:
    return float32(bits, dtype, room).view(np.uint32)


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
