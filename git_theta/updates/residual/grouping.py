"""Sorts residuals by the exponent of what was predicted.

A fine-tuning step is about as large for all weights of a matrix, but one unit in the last place of a small
weight is much less than of a large one. So the size of a difference follows the exponent, and lists of one
exponent each take up to a third less than all together. The order depends on the predicted bits alone:
reader and writer both compute it.

Neighbours are sorted in pairs, by the classes of both (see kernels.portable.gather): exponents counted down
from the largest common one, `top`, in `count` steps; the last class holds all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import kernels
from git_theta.dtypes import DType
from git_theta.settings import Grouping

if TYPE_CHECKING:
    from git_theta.tensors import Bits

_CLASSES = 16  # two classes make a byte
_RARE = 1024  # an exponent at the edge that fewer than one item in this many has needs no class of its own
_GAINS: dict[Grouping, float] = {"auto": 0.1, "on": 0.03}
"""Part of the bits that grouping must save. It costs a sixth of the time of adding and merging: too much for
the twentieth that it saves of float32 differences, most of whose bits are noise, but not for the third that
it saves of bfloat16's, or the eighth of float16's."""
_SAMPLE = 8192
_OWN_LIST = 4096  # differences of one class that make a list of their own


@dataclass(frozen=True)
class Classes:
    """Classes of exponents: `top - exponent` modulo 256, at most `count - 1`."""

    top: int
    count: int


def choose(differences: Bits, bits: Bits, dtype: DType, grouping: Grouping) -> Classes | None:
    """Classes for a chunk, from a sample; None where it should not be grouped."""
    if grouping == "off":
        return None
    if dtype.kind not in ("float", "complex") or dtype.itemsize not in (2, 4) or bits.size < 2 * _OWN_LIST:
        return None
    step = bits.size // _SAMPLE | 1
    near = _exponents(bits[::step], dtype)
    lengths = np.frexp(differences[::step].astype(np.float64))[1].astype(np.int64)  # in bits
    table = np.bincount(near.astype(np.int64) * 64 + lengths, minlength=256 * 64).reshape(256, 64)
    found = table.sum(axis=1)
    together = _entropy(table.sum(axis=0))
    gain = together + _entropy(found) - _entropy(table)
    if gain < _GAINS[grouping] * (together + int(np.maximum(lengths - 1, 0).sum())):
        return None
    # The window of exponents, on the circle that 256 of them make, that most items lie in.
    width = _CLASSES - 1
    sums = np.cumsum(np.concatenate([[0], found, found]))
    low = int(np.argmax(sums[width : width + 256] - sums[:256]))
    window = [*range(low, low + width)]
    while len(window) > 1 and found[window[0] % 256] * _RARE < near.size:
        window.pop(0)
    while len(window) > 1 and found[window[-1] % 256] * _RARE < near.size:
        window.pop()
    return Classes(window[-1] % 256, len(window) + 1)


def lists(counts: Sequence[int]) -> list[list[int]]:
    """Which classes share a list: each long one has its own, the short ones share the last."""
    long = [[number] for number, count in enumerate(counts) if count >= _OWN_LIST]
    short = [number for number, count in enumerate(counts) if 0 < count < _OWN_LIST]
    return [*long, short] if short else long


def order(counts: Sequence[int]) -> bytes:
    """The classes in the order of their lists."""
    return bytes(number for members in lists(counts) for number in members)


def classify(bits: Bits, dtype: DType, classes: Classes, codes: NDArray[np.uint8]) -> list[int]:
    """Fill `codes`, one a pair of neighbours, with the classes of bits; returns the counts of the classes."""
    return kernels.classify(bits, dtype.mantissa, dtype.exponent, classes.top, classes.count, codes)


def _exponents(bits: Bits, dtype: DType) -> NDArray[np.uint8]:
    """The exponent of each item, modulo 256."""
    out = np.empty(bits.size, np.uint8)
    np.right_shift(bits, dtype.mantissa, out=out, casting="unsafe")
    if dtype.exponent < 8:
        np.bitwise_and(out, (1 << dtype.exponent) - 1, out=out)
    return out


def _entropy(counts: NDArray[np.integer[Any]]) -> float:
    """Bits that symbols with these counts take."""
    found = counts[counts > 0].astype(np.float64)
    return float((found * np.log2(found.sum() / found)).sum())
