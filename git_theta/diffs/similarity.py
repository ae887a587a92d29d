"""Whether two tensors of different names hold similar values: renamed and changed in one step, then.

This alone reads values to decide what changed, and only where tensors went and others came; every comparison
asks it, so that all of them say the same.
"""

from __future__ import annotations

from git_theta.diffs.entries import Entry, Open, open_entry
from git_theta.errors import ThetaError

_SAMPLE = 64 << 10
_FEWEST = 2
"""Values that two tensors need to be compared: a single one has no direction but its sign."""


class SimilarValues:
    """Whether the first values of two tensors point the same way: their cosine is at least one half."""

    def __init__(self, old: Open, new: Open) -> None:
        self._old, self._new = old, new

    def __call__(self, old: Entry, new: Entry) -> bool:
        from git_theta.diffs.blocks import compare_bits  # needs NumPy
        from git_theta.diffs.change import cosine

        count = min(_SAMPLE, old.items)
        if count < _FEWEST:
            return False
        try:
            before = open_entry(old, self._old).read(0, count)
            after = open_entry(new, self._new).read(0, count)
        except (ThetaError, OSError):
            return False
        sums = compare_bits(before, old.dtype, after, new.dtype)
        angle = cosine(sums.old, sums.new, sums.difference, sums.product)
        return angle is not None and angle >= 0.5
