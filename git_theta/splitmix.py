"""Numbers that look random, the same everywhere; to import numpy.random takes 20 ms.

The bits are mixed as in Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def words(count: int) -> NDArray[np.uint64]:
    """The first `count` pseudo-random words of 64 bits; the sequence is always the same."""
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def signs(rows: int, columns: int) -> NDArray[np.float32]:
    """A matrix of +1 and -1."""
    positive = (words(rows * columns) >> np.uint64(63)).astype(np.float32)
    return (2 * positive - 1).reshape(rows, columns)
