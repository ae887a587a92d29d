"""Contents of Git's packets."""

from __future__ import annotations

import os


def read_packets(descriptor: int, out: memoryview, left: int, header: memoryview) -> tuple[int, int, int]:
    """Read the contents of Git's packets (see drivers.pktline) from a file descriptor.

    Args:
        out: bytes to fill.
        left: bytes of the current packet that were not read yet, at least one.
        header: 4 bytes: of the header that follows the last packet, what was read with it.

    Returns:
        How many bytes of `out` were filled; less than all, where a header has been read that is not whole or
        does not begin a packet with contents, or where there is no more. What is left of the current packet
        then, and how many bytes of `header` were read.

    Raises:
        OSError: as reading does.
    """
    count = min(left, len(out))
    got = os.readv(descriptor, [out[:count], header] if count == left else [out[:count]])
    filled = min(got, count)
    return filled, left - filled, got - filled
