"""Ranges of tensors that were decoded last, for tensors that several others are predicted from.

A comparison reads the same range of an old and a new tensor, one after the other in one thread. Where the
new one is stored as an update on the old one, or both on a third, what they share is decoded once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from git_theta import scratch
from git_theta.tensors import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

_KEPT = 4  # tensors by thread, one range of each

Key = tuple[str, str]
"""Digest of a tensor, and the dtype as which its bits are read."""


class RecentRanges:
    """The ranges that each thread has read last."""

    def __init__(self) -> None:
        self._local = threading.local()

    def watched(self, digest: str, tensor: Tensor) -> Tensor:
        """The tensor, whose last range is kept by each thread that reads it."""
        return _Watched(self, (digest, tensor.dtype.name), tensor)

    def find(self, key: Key, start: int, stop: int, out: Bits) -> bool:
        """Fill `out` with items [start, stop), if this thread has them."""
        first, buffer = self._ranges.get(key, (0, None))
        if buffer is None:
            return False
        bits = buffer.view(out.dtype)
        if not first <= start <= stop <= first + bits.size:
            return False
        out[:] = bits[start - first : stop - first]
        return True

    def keep(self, key: Key, start: int, bits: Bits) -> None:
        """Keep the items from `start` on in place of what was kept of this tensor."""
        ranges = self._ranges
        if key not in ranges and len(ranges) >= _KEPT:
            scratch.give(ranges.popitem(last=False)[1][1])
        elif key in ranges:
            scratch.give(ranges.pop(key)[1])
        buffer = scratch.take(bits.nbytes)
        buffer.view(bits.dtype)[:] = bits
        ranges[key] = start, buffer

    @property
    def _ranges(self) -> OrderedDict[Key, tuple[int, NDArray[np.uint8]]]:
        try:
            found: OrderedDict[Key, tuple[int, NDArray[np.uint8]]] = self._local.ranges
        except AttributeError:
            found = self._local.ranges = OrderedDict()
        return found


class _Watched:
    def __init__(self, recent: RecentRanges, key: Key, tensor: Tensor) -> None:
        self.dtype, self.shape, self.items = tensor.dtype, tensor.shape, tensor.items
        self._recent = recent
        self._key = key
        self._tensor = tensor

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        bits: Bits = np.empty(stop - start, self.dtype.storage) if out is None else out
        if not self._recent.find(self._key, start, stop, bits):
            self._tensor.read(start, stop, bits)
            self._recent.keep(self._key, start, bits)
        return bits
