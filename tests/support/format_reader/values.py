"""Items as numbers, and numbers as items."""

from __future__ import annotations

import numpy as np

from format_reader.dtypes import BIAS, MANTISSA, PARTS, width_of


def float8(dtype: str) -> np.ndarray:
    """The finite magnitudes of an 8-bit float by code, ascending."""
    mantissa = 3 if "E4M3" in dtype else 2
    last = {"F8_E4M3": 0x7E, "F8_E5M2": 0x7B}.get(dtype, 0x7F)
    codes = np.arange(last + 1)
    exponent, fraction = codes >> mantissa, codes & ((1 << mantissa) - 1)
    whole = fraction + (exponent > 0) * (1 << mantissa)
    return np.ldexp(whole.astype(np.float64), np.maximum(exponent, 1) - BIAS[dtype] - mantissa)


def values(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Items as float32, or float64 where the page says so."""
    part, width = PARTS.get(dtype, dtype), bits.itemsize
    if part in ("F16", "F32", "F64"):
        found = bits.view(f"<f{width}")
    elif part == "BF16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    elif part in BIAS:
        finite = float8(part)
        table = np.full(256, np.nan, np.float32)
        if part == "F8_E5M2":
            table[[0x7C, 0xFC]] = np.inf, -np.inf
        table[: finite.size] = finite
        table[128 : 128 + finite.size] = -finite
        if part.endswith("FNUZ"):
            table[128] = np.nan
        return table[bits]
    else:
        found = bits.view(f"<i{width}") if dtype[0] == "I" else bits
        return found.astype(np.float64 if width >= 4 else np.float32)
    return found.astype(np.float64 if width == 8 else np.float32)


def rounded(numbers: np.ndarray, dtype: str, overflow: str = "nan") -> np.ndarray:
    """The nearest items; NaN as `cast` has it."""
    part, width = PARTS.get(dtype, dtype), width_of(dtype)
    if part == "BOOL":
        return (numbers != 0).astype(np.uint8)
    if part[0] in "IU":
        limits = np.iinfo(f"{'u' if part[0] == 'U' else ''}int{8 * width}")
        most = float(limits.max) if width < 8 else np.nextafter(float(limits.max), 0)
        whole = np.clip(np.nan_to_num(np.rint(numbers.astype(np.float64)), nan=0), limits.min, most)
        return whole.astype(limits.dtype).view(f"<u{width}")
    if part in BIAS:
        return rounded_to_float8(numbers.astype(np.float32), part, overflow)
    if part == "BF16":
        words = numbers.astype(np.float32).view(np.uint32)
        result = ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")
    else:
        narrow = numbers.astype(np.float32) if part == "F16" else numbers
        result = narrow.astype(f"<f{width}").view(f"<u{width}")
    nan = np.isnan(numbers)
    exponent = 8 * width - 1 - MANTISSA[part]
    quiet = ((1 << (exponent + 1)) - 1) << (MANTISSA[part] - 1)
    result[nan] = quiet | np.signbit(numbers[nan]).astype(result.dtype) << (8 * width - 1)
    return result


def rounded_to_float8(numbers: np.ndarray, dtype: str, overflow: str) -> np.ndarray:
    finite = float8(dtype)
    further = [*finite, 2 * finite[-1] - finite[-2]]  # as if the numbers went on
    halves = (finite + further[1:]) / 2
    magnitude = np.abs(numbers.astype(np.float64))
    codes = np.searchsorted(halves, magnitude)  # a tie goes to the lower one
    tied = np.append(halves, np.nan)[codes] == magnitude
    codes += tied & (codes % 2 == 1)
    too_large = {"F8_E4M3": 0x7F, "F8_E5M2": 0x7C}.get(dtype, 0x80)
    codes[codes == finite.size] = too_large if overflow == "nan" else finite.size - 1
    fnuz = dtype.endswith("FNUZ")
    codes[np.isnan(numbers)] = 0x80 if fnuz else 0x7F
    signed = np.signbit(numbers) & ~(fnuz & (codes == 0))
    return (codes | 0x80 * signed).astype(np.uint8)


def settled(results: np.ndarray, base: np.ndarray, dtype: str) -> np.ndarray:
    return np.where(np.isfinite(results), rounded(results, dtype), base)
