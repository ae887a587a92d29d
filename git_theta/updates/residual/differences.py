"""The difference of two tensors' bits as unsigned integers: small wherever the values are near.

Bits are taken as integers in the order of the values (`values.ordered`) and subtracted modulo the width, so
that nothing is ever lost, whatever the bits are. Where the prediction is negative the order is turned
round, because then the bits of floats are such integers already, unless the signs differ: their magnitudes
alone are compared. At last signs go to the lowest bit ("zigzag": 0, -1, 1, -2 become 0, 1, 2, 3). All this
runs in blocks that stay in a core's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Signed = NDArray[np.signedinteger[Any]]

_BLOCK = 128 << 10  # bytes of each array that are handled at a time


def difference(predicted: Bits, target: Bits, dtype: DType, out: Bits) -> None:
    """Fill `out` with zigzag differences; it may be `target` itself."""
    for p, t, z, a, b in _blocks(predicted, target, out, dtype):
        if dtype.kind in ("float", "complex"):
            t = _turn(t, p, dtype, a, b)
        np.subtract(t, p, out=a)
        np.right_shift(a, 8 * dtype.itemsize - 1, out=b)
        np.add(a, a, out=a)
        np.bitwise_xor(a, b, out=z)


def add(bits: Bits, differences: Bits, dtype: DType, out: Bits) -> None:
    """Undo `difference`: fill `out` with the target's bits; it may be either argument."""
    unsigned = np.dtype(dtype.storage)
    for p, z, t, a, b in _blocks(bits, differences, out, dtype):
        np.bitwise_and(z, 1, out=a)
        np.negative(a, out=a)
        np.right_shift(z.view(unsigned), 1, out=b.view(unsigned))
        np.bitwise_xor(a, b, out=a)
        if dtype.kind in ("float", "complex"):
            np.add(a, p, out=a)
            _turn(a, p, dtype, t, b)
        else:
            np.add(a, p, out=t)


def _turn(bits: Signed, predicted: Signed, dtype: DType, out: Signed, spare: Signed) -> Signed:
    """Invert the magnitude of those bits whose sign is not that of the prediction; its own inverse."""
    shift = 8 * dtype.itemsize - 1
    np.bitwise_xor(bits, predicted, out=spare)
    np.right_shift(spare, shift, out=spare)
    np.bitwise_and(spare, (1 << shift) - 1, out=spare)
    np.bitwise_xor(bits, spare, out=out)
    return out


def _blocks(first: Bits, second: Bits, out: Bits, dtype: DType) -> Iterator[tuple[Signed, ...]]:
    """Blocks of the three arrays, as signed integers, and two more to work in."""
    step = _BLOCK // dtype.itemsize
    signed = f"<i{dtype.itemsize}"
    with scratch.borrow(2 * step, signed) as buffer:
        for start in range(0, out.size, step):
            parts = [bits[start : start + step].view(signed) for bits in (first, second, out)]
            size = parts[0].size
            yield (*parts, buffer[:size], buffer[step : step + size])
