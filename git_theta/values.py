"""Bits as numbers, and numbers as bits, for every dtype that arithmetic is done on.

NumPy has no bfloat16 and no 8-bit floats, so these are converted here with integer arithmetic and tables;
rounding is to nearest, ties to even, as torch does it. All functions work on 1-D arrays of items (complex
numbers are two items each) and the results are the same on any machine.

The 8-bit formats are those of "FP8 Formats for Deep Learning" (arXiv:2209.05433), and their FNUZ forms
(arXiv:2206.02915): no infinities, no negative zero, one NaN at 0x80.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from git_theta.dtypes import DType
from git_theta.errors import ThetaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

Overflow = Literal["nan", "saturate"]
"""What an 8-bit float makes of a number too large for it: the largest finite value, or NaN (infinity
in the one format that has it)."""

_SMALL = tuple(
    (np.full(1, np.finfo(kind).smallest_subnormal), np.full(1, np.finfo(kind).tiny))
    for kind in (np.float32, np.float64)
)
"""The smallest number, and the smallest normal one."""
_PARTS = {"C32": "F16", "C64": "F32", "C128": "F64"}
_BIAS = {"F8_E4M3": 7, "F8_E4M3FNUZ": 8, "F8_E5M2": 15, "F8_E5M2FNUZ": 16}


def is_number(dtype: DType) -> bool:
    """Whether the items of a dtype can be computed with; false for packed and scale-only formats."""
    return dtype.kind != "raw"


def carrier(dtype: DType) -> np.dtype[np.floating[Any]]:
    """The NumPy float type that `to_float` gives: float32, or float64 where that is too narrow.

    Every value of a float type, and of an integer type of at most 32 bits, is held exactly.
    """
    wide = dtype.itemsize == 8 or (dtype.itemsize == 4 and dtype.kind in ("int", "uint"))
    return np.dtype(np.float64 if wide else np.float32)


def to_float(bits: Bits, dtype: DType, out: Floats | None = None) -> Floats:
    """The values of items as float32 or float64, see `carrier`.

    Args:
        bits: 1-D, of dtype.storage.
        out: a contiguous array of that type to fill; otherwise a new array, or a view of `bits`.
    """
    if dtype.kind in ("float", "complex"):
        values = _float_values(bits, dtype, out)
    elif dtype.kind == "raw":
        raise ValueError(f"{dtype.name} has no arithmetic")
    else:
        values = bits.view(f"<i{dtype.itemsize}") if dtype.kind == "int" else bits
    with np.errstate(invalid="ignore"):  # signalling NaNs
        if out is None:
            return values.astype(carrier(dtype), copy=False)
        if values is not out:
            np.copyto(out, values, casting="unsafe")
    return out


def _float_values(bits: Bits, dtype: DType, out: Floats | None) -> NDArray[Any]:
    name = _PARTS.get(dtype.name, dtype.name)
    if name in ("F16", "F32", "F64"):
        return bits.view(f"<f{dtype.itemsize}")
    if out is None:
        out = np.empty(bits.size, np.float32)
    if name == "BF16":
        wide = out.view(np.uint32)
        np.copyto(wide, bits)
        np.left_shift(wide, 16, out=wide)
    else:
        np.take(_values_of_float8(name), bits, out=out, mode="clip")
    return out


def from_float(values: Floats, dtype: DType, out: Bits | None = None, overflow: Overflow = "nan") -> Bits:
    """The bits of the items nearest to these values, ties to even.

    float64 values become 16 and 8-bit floats by way of float32, as in torch. A NaN becomes a quiet NaN of
    the same sign; integers take NaN as 0 and saturate; in a bool, everything but 0 is true.

    Args:
        values: 1-D float32 or float64.
        out: a contiguous array of dtype.storage to fill; otherwise a new array.
        overflow: for 8-bit floats only; the others overflow to infinity.
    """
    if out is None:
        out = np.empty(values.size, dtype.storage)
    round_finite(values, dtype, out, overflow)
    if dtype.kind in ("float", "complex") and dtype.itemsize > 1:
        _quieten(values, out, dtype)
    return out


def round_finite(values: Floats, dtype: DType, out: Bits, overflow: Overflow = "nan") -> None:
    """As `from_float`, a little faster: what NaN becomes is left open for floats of 16 bits and more."""
    name = _PARTS.get(dtype.name, dtype.name)
    with np.errstate(over="ignore", invalid="ignore"):
        if name in ("F16", "F32", "F64"):
            if name == "F16" and values.dtype == np.float64:
                values = values.astype(np.float32)
            np.copyto(out.view(f"<f{dtype.itemsize}"), values, casting="unsafe")
        elif name == "BF16":
            _round_to_bfloat16(values.astype(np.float32, copy=False).view(np.uint32), out)
        elif dtype.kind == "float":
            words = values.astype(np.float32, copy=False).view(np.uint32)
            # Rounding to odd keeps what lies below 16 bits, so rounding again (by the table) is exact.
            keys = np.right_shift(words, 16)
            np.bitwise_or(keys, (words & 0xFFFF) != 0, out=keys)
            np.take(_float8_of_top_halves(name, overflow), keys, out=out, mode="clip")
        elif dtype.kind == "bool":
            np.not_equal(values, 0, out=out.view(np.bool_))
        elif dtype.kind == "raw":
            raise ValueError(f"{dtype.name} has no arithmetic")
        else:
            _round_to_integers(values, dtype, out)


def ordered(bits: Bits, dtype: DType, out: Bits | None = None) -> Bits:
    """Bits as integers in the order of the values, modulo 2**(width of an item); its own inverse.

    Floats are sign and magnitude: here the magnitude's bits of negative ones are inverted, which gives two's
    complement with -0.0 one below 0.0. Other dtypes are in order as they are.

    Args:
        out: where to; may be `bits` itself.
    """
    if dtype.kind not in ("float", "complex"):
        if out is None:
            return bits
        np.copyto(out, bits)
        return out
    if out is None:
        out = np.empty_like(bits)
    sign_at = 8 * dtype.itemsize - 1
    signed, target = bits.view(f"<i{dtype.itemsize}"), out.view(f"<i{dtype.itemsize}")
    mask = np.right_shift(signed, sign_at, out=None if out is bits else target)
    np.bitwise_and(mask, (1 << sign_at) - 1, out=mask)
    np.bitwise_xor(signed, mask, out=target)
    return out


def check_denormals() -> None:
    """Check that this thread computes with denormal numbers as IEEE 754 says, rather than with zeros.

    Some libraries switch that off when they are loaded; predictions would then not be the same on every
    machine, and what is predicted here could not be read elsewhere.

    Raises:
        ThetaError: it does not.
    """
    for smallest, normal in _SMALL:
        half = normal * normal.dtype.type(0.5)
        if not (smallest + smallest > smallest and smallest * 3 > smallest and half > 0):
            raise ThetaError(
                "a library in this process has switched denormal numbers off, so it computes other numbers",
                "in Python: torch.set_flush_denormal(False); else start git without what was preloaded",
            )


def _round_to_bfloat16(words: NDArray[np.uint32], out: Bits) -> None:
    rounded = np.right_shift(words, 16)
    np.bitwise_and(rounded, 1, out=rounded)
    np.add(rounded, 0x7FFF, out=rounded)
    np.add(rounded, words, out=rounded)
    np.right_shift(rounded, 16, out=out, casting="unsafe")


def _quieten(values: Floats, out: Bits, dtype: DType) -> None:
    """Give every NaN one pattern; what hardware keeps of a payload differs, and so do its signs."""
    nan = np.isnan(values)
    if nan.any():
        quiet = ((1 << (dtype.exponent + 1)) - 1) << (dtype.mantissa - 1)
        sign = 1 << (8 * dtype.itemsize - 1)
        negative, positive = np.array([quiet | sign, quiet], out.dtype)
        out[nan] = np.where(np.signbit(values[nan]), negative, positive)


def _round_to_integers(values: Floats, dtype: DType, out: Bits) -> None:
    limits = np.iinfo(dtype.numpy)
    high = float(limits.max)
    if high > limits.max:
        high = float(np.nextafter(high, 0))
    rounded = np.rint(values.astype(np.float64, copy=False))
    np.copyto(rounded, 0, where=np.isnan(rounded))
    np.clip(rounded, float(limits.min), high, out=rounded)
    np.copyto(out.view(f"<{np.dtype(dtype.numpy).str[1:]}"), rounded, casting="unsafe")


@cache
def _values_of_float8(name: str) -> NDArray[np.float32]:
    """The 256 values of an 8-bit float format; NaN where a code is none."""
    mantissa = 3 if "E4M3" in name else 2
    codes = np.arange(256)
    exponent, fraction = (codes & 0x7F) >> mantissa, codes & ((1 << mantissa) - 1)
    whole = np.where(exponent == 0, fraction, fraction + (1 << mantissa)).astype(np.float64)
    values = np.ldexp(whole, np.maximum(exponent, 1) - _BIAS[name] - mantissa)
    values[codes >= 0x80] *= -1
    if name.endswith("FNUZ"):
        values[0x80] = np.nan
    elif name == "F8_E4M3":
        values[[0x7F, 0xFF]] = np.nan
    else:
        values[[0x7C, 0xFC]] = np.inf, -np.inf
        values[[0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]] = np.nan
    table: NDArray[np.float32] = values.astype(np.float32)
    table.flags.writeable = False
    return table


@cache
def _float8_of_top_halves(name: str, overflow: Overflow) -> NDArray[np.uint8]:
    """The 8-bit float nearest to each float32 whose lower 16 bits are zero, by its upper 16 bits."""
    values = _values_of_float8(name).astype(np.float64)
    unsigned_zero = name.endswith("FNUZ")
    finite = values[: np.flatnonzero(np.isfinite(values[:128]))[-1] + 1]
    largest = finite.size - 1
    top = 2 * finite[-1] - finite[-2]  # where the next value would be: half-way to it is too large, or ties
    bounds = (finite + np.append(finite[1:], top)) / 2
    halves = np.arange(0x8000, dtype=np.uint32)
    with np.errstate(invalid="ignore"):
        numbers = (halves << 16).view(np.float32).astype(np.float64)
    codes = np.searchsorted(bounds, numbers)
    tie = bounds[np.minimum(codes, largest)] == numbers
    codes += tie & (codes & 1 == 1)
    too_large = {"F8_E5M2": 0x7C, "F8_E4M3": 0x7F}.get(name, 0x80)
    codes[codes > largest] = largest if overflow == "saturate" else too_large
    codes[np.isnan(numbers)] = 0x80 if unsigned_zero else 0x7F
    negative = codes | 0x80
    if unsigned_zero:
        negative[codes == 0] = 0
    table = np.concatenate([codes, negative]).astype(np.uint8)
    table.flags.writeable = False
    return table
