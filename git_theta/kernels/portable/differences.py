"""Compares two arrays bit by bit: how many items differ, where, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.kernels.portable.common import BLOCK, check

if TYPE_CHECKING:
    from git_theta.tensors import Bits

    Signed = NDArray[np.signedinteger[Any]]


def changed(first: Bits, second: Bits) -> int:
    """How many items differ."""
    check(first.size == second.size and first.dtype == second.dtype)
    return int(np.count_nonzero(first != second))


def positions(first: Bits, second: Bits, out: NDArray[np.int64]) -> None:
    """Where items differ, ascending: as many as `out` has room for."""
    check(first.size == second.size and first.dtype == second.dtype)
    found = np.flatnonzero(first != second)
    check(found.size == out.size)
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


def _blocks(first: Bits, second: Bits, out: Bits) -> Iterator[tuple[Signed, ...]]:
    """Blocks of the three arrays, as signed integers, and two more to work in."""
    check(first.size == second.size == out.size and first.dtype == second.dtype == out.dtype)
    step, signed = BLOCK // out.itemsize, f"<i{out.itemsize}"
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
