"""Positions of few among many, as the gaps between them: one byte each.

A byte below 255 ends a gap; 255 says that the gap goes on. Gaps of random positions have nearly the
entropy of the positions themselves, and no structure that a general compressor would need to find.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from git_theta.errors import DamagedObject

_MORE = 255


def encode(positions: NDArray[np.signedinteger[Any]]) -> NDArray[np.uint8]:
    """The gaps in front of each position; positions ascend."""
    gaps = np.diff(positions, prepend=-1)
    gaps -= 1
    if gaps.size == 0 or gaps.max() < _MORE:
        return gaps.astype(np.uint8)
    more = gaps // _MORE
    ends = np.cumsum(more + 1)
    out = np.full(int(ends[-1]), _MORE, np.uint8)
    out[ends - 1] = gaps - _MORE * more
    return out


def decode(gaps: NDArray[np.uint8], count: int, limit: int) -> NDArray[np.int64]:
    """Undo `encode` for `count` positions below `limit`.

    Raises:
        DamagedObject: there are not as many, or one lies past the limit.
    """
    ends = np.flatnonzero(gaps != _MORE)
    steps = np.cumsum(gaps, dtype=np.int64)
    positions = steps[ends] + np.arange(count, dtype=np.int64) if ends.size == count else None
    if positions is None or (count and (positions[-1] >= limit or ends[-1] != gaps.size - 1)):
        raise DamagedObject("the positions of a residual do not fit its chunk")
    return positions
