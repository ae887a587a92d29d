"""Whether the largest changes of two models are the same entries.

Of very large models a sample is looked at, every n-th entry: the share is wanted to a few hundredths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from git_theta.dtypes import DType
from git_theta.values import to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

_SHARE = 0.2
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Magnitudes:
    """How much both sides changed, at the same sampled entries."""

    ours: NDArray[np.float32]
    theirs: NDArray[np.float32]


def step_for(items: int) -> int:
    """The stride of the sample taken of a tensor; odd, so that it meets every column of a matrix."""
    return items // _SAMPLE | 1 if items > _SAMPLE else 1


def magnitudes(sides: Sequence[Bits], dtype: DType, start: int, step: int) -> Magnitudes:
    """How much each side changed the sampled entries of one range.

    Args:
        start: the position of its first item in the tensor.
    """
    with np.errstate(all="ignore"):
        base, *others = (to_float(bits[-start % step :: step], dtype) for bits in sides)
        ours, theirs = (np.abs(side - base).astype(np.float32) for side in others)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    return Magnitudes(np.where(finite, ours, 0), np.where(finite, theirs, 0))


def top_overlap(parts: Iterable[Magnitudes]) -> float | None:
    """The share of the largest fifth of our changes that is among the largest fifth of theirs.

    Where fewer entries changed, all of them count; None where a side changed nothing.
    """
    parts = list(parts)
    if not parts:
        return None
    ours, theirs = (
        _largest(np.concatenate([getattr(part, side) for part in parts])) for side in ("ours", "theirs")
    )
    fewer = min(int(np.count_nonzero(ours)), int(np.count_nonzero(theirs)))
    return int(np.count_nonzero(ours & theirs)) / fewer if fewer else None


def _largest(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Marks the largest fifth of the values, zeros excepted."""
    if not values.size:
        return values > 0
    rank = values.size - max(1, int(_SHARE * values.size))
    least = np.partition(values, rank)[rank]
    marked: NDArray[np.bool_] = (values >= least) & (values > 0)
    return marked
