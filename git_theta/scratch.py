"""Buffers that are used again.

The first touch of fresh memory costs more than most of what git-theta does with it (0.3 GB/s against
12 GB/s for a warm copy, measured on a virtual machine), so large buffers are taken from here and given
back. Thread-safe.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLAB = 64 << 10
"""Bytes of the smallest buffer; larger ones are powers of two, so that they fit again."""
_KEEP = 96 << 20  # bytes of idle buffers that are kept
_idle: dict[int, list[NDArray[np.uint8]]] = {}
_kept = 0
_lock = threading.Lock()


def take(nbytes: int) -> NDArray[np.uint8]:
    """A buffer of exactly nbytes, with anything in it. Hand it to `give` when done."""
    global _kept
    size = max(SLAB, 1 << max(0, nbytes - 1).bit_length())
    with _lock:
        idle = _idle.get(size)
        slab = idle.pop() if idle else None
        if slab is not None:
            _kept -= size
    if slab is None:
        slab = np.empty(size, np.uint8)
    return slab[:nbytes]


def give(buffer: NDArray[np.uint8]) -> None:
    """Give back what `take` gave; nothing may look at it any more."""
    global _kept
    slab = buffer.base if isinstance(buffer.base, np.ndarray) else buffer
    with _lock:
        if _kept + slab.size <= _KEEP:
            _idle.setdefault(slab.size, []).append(slab)
            _kept += slab.size


class borrow:  # noqa: N801  it is used like a function
    """An array of that many items for the time of a `with` block."""

    def __init__(self, items: int, dtype: Any = np.uint8) -> None:
        self._kind = np.dtype(dtype)
        self._nbytes = items * self._kind.itemsize

    def __enter__(self) -> NDArray[Any]:
        self._buffer = take(self._nbytes)
        return self._buffer.view(self._kind)

    def __exit__(self, *_: object) -> None:
        give(self._buffer)
        del self._buffer
