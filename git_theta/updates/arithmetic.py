"""What element-wise predictions share: blocks that stay in cache, and results that any machine agrees on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from git_theta.dtypes import DType
from git_theta.values import Overflow, round_finite, to_float

if TYPE_CHECKING:
    from git_theta.tensors import Bits
    from git_theta.values import Floats

BLOCK = 32 << 10
"""Items that are computed at a time."""


def blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Ranges that make up [start, stop)."""
    for first in range(start, stop, BLOCK):
        yield first, min(first + BLOCK, stop)


def settle(values: Floats, dtype: DType, base: Bits, out: Bits, overflow: Overflow = "nan") -> None:
    """Fill `out` with computed values as bits; with the base's bits where one is not finite.

    IEEE 754 leaves open which NaN an operation gives, and machines differ.

    Args:
        out: may be `base` itself.
    """
    finite = np.isfinite(values)
    if finite.all():
        round_finite(values, dtype, out, overflow)
        return
    kept = base[~finite]
    round_finite(values, dtype, out, overflow)
    out[~finite] = kept


def widened(bits: Bits, dtype: DType, out: Floats) -> Floats:
    """The values of items in `out`, which may be wider than the dtype needs."""
    if out.dtype == np.float64 and dtype.itemsize < 4:
        with np.errstate(invalid="ignore"):  # signalling NaNs, which become quiet ones
            np.copyto(out, to_float(bits, dtype))
        return out
    return to_float(bits, dtype, out)


def in_kernels(dtype: DType) -> bool:
    """Whether `kernels.weighted_sum` takes items of a dtype."""
    return dtype.name in ("BF16", "F32")


def weighted_sum(coefficients: Sequence[float], inputs: Iterable[Floats], out: Floats) -> None:
    """Fill `out` with Σ cᵢ xᵢ, computed in its type: each product is rounded, then each sum, first to last.

    This is what averaging models means here: merges compute with it, and the update `combine` predicts with
    it, so that what a merge gives is what is predicted, bit for bit.

    Args:
        inputs: of the type and length of `out`; each is overwritten before the next is asked for.
    """
    kind = out.dtype.type
    if not coefficients:
        out.fill(0)
    with np.errstate(all="ignore"):
        for place, (coefficient, values) in enumerate(zip(coefficients, inputs, strict=True)):
            if place == 0:
                np.multiply(values, kind(coefficient), out=out)
            else:
                np.multiply(values, kind(coefficient), out=values)
                np.add(out, values, out=out)
