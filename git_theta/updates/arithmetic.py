"""What element-wise predictions share: blocks that stay in cache, and results that any machine agrees on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from git_theta.dtypes import DType
from git_theta.values import Overflow, from_float

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
    """
    from_float(values, dtype, out, overflow)
    finite = np.isfinite(values)
    if not finite.all():
        np.copyto(out, base, where=~finite)
