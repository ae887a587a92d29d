"""The raw bytes of a tensor, piece by piece, for writers and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from git_theta.tensors import chunks

if TYPE_CHECKING:
    from git_theta.tensors import Tensor


def pieces(tensor: Tensor) -> Iterator[memoryview]:
    """The little-endian bytes of a tensor in order, at most CHUNK_BYTES at a time.

    The buffer is used again: each piece is valid until the next one is asked for.
    """
    from git_theta.scratch import borrow

    ranges = chunks(tensor)
    longest = max((stop - start for start, stop in ranges), default=0)
    with borrow(longest, tensor.dtype.storage) as buffer:
        for start, stop in ranges:
            yield tensor.read(start, stop, buffer[: stop - start]).data.cast("B")
