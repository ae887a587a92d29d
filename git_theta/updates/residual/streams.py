"""What a residual consists of: a description (small numbers) and byte streams, written and read in order."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from git_theta.errors import DamagedObject

Bytes = NDArray[np.uint8]


class NoRoom(Exception):
    """The streams of a residual do not fit into the room they are given."""


class Writer:
    """Collects a description and streams.

    Args:
        room: where the streams go, one behind the other; with the description they will not be longer.
    """

    def __init__(self, room: Bytes) -> None:
        self._room = room
        self._used = 0
        self.description = bytearray()
        self.streams: list[Bytes] = []

    def note(self, layout: str, *numbers: int) -> None:
        """Add numbers to the description, packed little-endian as `struct` says."""
        self.description += struct.pack("<" + layout, *numbers)

    def stream(self, *sizes: int) -> Bytes:
        """The next stream, or several in one piece, to be filled. Raises NoRoom."""
        start, end = self._used, self._used + sum(sizes)
        if end + len(self.description) > self._room.size:
            raise NoRoom
        for size in sizes:
            self.streams.append(self._room[self._used : self._used + size])
            self._used += size
        return self._room[start:end]


class Reader:
    """Hands out what a `Writer` collected. Both methods raise DamagedObject past the end."""

    def __init__(self, description: bytes, streams: Bytes) -> None:
        self._description = description
        self._streams = streams
        self._at = self._used = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        """The next numbers of the description."""
        try:
            numbers = struct.unpack_from("<" + layout, self._description, self._at)
        except struct.error:
            raise DamagedObject("the description of a residual is cut off") from None
        self._at += struct.calcsize("<" + layout)
        return numbers

    def stream(self, size: int) -> Bytes:
        """The next stream, of that many bytes."""
        start, self._used = self._used, self._used + size
        if self._used > self._streams.size:
            raise DamagedObject("the streams of a residual are cut off")
        return self._streams[start : self._used]

    def finish(self) -> None:
        """Check that everything was used."""
        if self._at != len(self._description) or self._used != self._streams.size:
            raise DamagedObject("a residual is longer than its chunk needs")
