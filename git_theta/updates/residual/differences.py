"""The difference of two tensors' bits as unsigned integers: small wherever the values are near.

Bits are taken as integers in the order of the values (`values.ordered`) and subtracted modulo the width,
so that nothing is ever lost, whatever the bits are; then signs go to the lowest bit ("zigzag": 0, -1, 1, -2,
... become 0, 1, 2, 3, ...). Everything runs in blocks that stay in a core's cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Signed = NDArray[np.signedinteger[Any]]

BLOCK_BYTES = 64 << 10
"""Bytes of bits that are handled at a time."""


def difference(predicted: Bits, target: Bits, dtype: DType, out: Bits) -> None:
    """Fill `out` with zigzag(ordered(target) - ordered(predicted)); it may be `target` itself."""
    shift = 8 * dtype.itemsize - 1
    step = BLOCK_BYTES // dtype.itemsize
    with scratch.borrow(3 * step, f"<i{dtype.itemsize}") as buffer:
        for start in range(0, out.size, step):
            p, t = (_signed(bits[start : start + step], dtype) for bits in (predicted, target))
            a, b, c = (buffer[i * step : i * step + p.size] for i in range(3))
            p, t = _ordered(p, dtype, a, c), _ordered(t, dtype, b, c)
            np.subtract(t, p, out=b)
            np.right_shift(b, shift, out=c)
            np.add(b, b, out=b)
            np.bitwise_xor(b, c, out=_signed(out[start : start + step], dtype))


def add(bits: Bits, differences: Bits, dtype: DType, out: Bits) -> None:
    """Undo `difference`: fill `out` with the target's bits; it may be either argument."""
    step = BLOCK_BYTES // dtype.itemsize
    one = np.array(1, dtype.storage)[()]
    with scratch.borrow(3 * step, f"<i{dtype.itemsize}") as buffer:
        for start in range(0, out.size, step):
            p, z = bits[start : start + step], differences[start : start + step]
            a, b, c = (buffer[i * step : i * step + p.size] for i in range(3))
            np.bitwise_and(z, one, out=a.view(dtype.storage))
            np.negative(a, out=a)
            np.right_shift(z, one, out=b.view(dtype.storage))
            np.bitwise_xor(a, b, out=a)
            np.add(_ordered(_signed(p, dtype), dtype, b, c), a, out=a)
            target = _signed(out[start : start + step], dtype)
            ordered = _ordered(a, dtype, target, c)
            if ordered is not target:
                target[:] = ordered


def _signed(bits: Bits, dtype: DType) -> Signed:
    return bits.view(f"<i{dtype.itemsize}")


def _ordered(signed: Signed, dtype: DType, out: Signed, spare: Signed) -> Signed:
    """`values.ordered` on signed integers, in `out`, or the input where that is no work."""
    if dtype.kind not in ("float", "complex"):
        return signed
    shift = 8 * dtype.itemsize - 1
    np.right_shift(signed, shift, out=spare)
    np.bitwise_and(spare, (1 << shift) - 1, out=spare)
    np.bitwise_xor(signed, spare, out=out)
    return out
