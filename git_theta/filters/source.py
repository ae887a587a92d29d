"""The bytes that a filter is given, read once from front to back."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import IO, BinaryIO, Protocol, cast

from git_theta.errors import ThetaError

_PIECE = 1 << 20


class Stream(Protocol):
    """Something that bytes come out of."""

    def readinto(self, view: memoryview) -> int:
        """Fill view; less is read only at the end."""
        ...


class DescriptorStream:
    """The rest of a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def readinto(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view):
            got = os.readv(self._descriptor, [view[filled:]])
            if not got:
                break
            filled += got
        return filled


class Content:
    """The contents of one file; also the Source that checkpoint formats read (see checkpoints.layout).

    The head can be looked at without using it up. `spool` writes everything to a file, for formats that do
    not begin with their directory; from then on the contents come from there.
    """

    def __init__(self, stream: Stream) -> None:
        """Contents that come from a stream."""
        self._stream = stream
        self._head = bytearray()
        self._used = 0  # bytes of the head that readinto has given out
        self._past_head = False  # whether the stream is further than the head, which can then not grow
        self._file: IO[bytes] | None = None
        self._advance: Callable[[int], object] = lambda count: None
        self.size: int | None = None

    @staticmethod
    def of(file: IO[bytes]) -> Content:
        """Contents that lie in a file already."""
        content = Content(DescriptorStream(file.fileno()))
        content._file, content.size = file, os.fstat(file.fileno()).st_size
        return content

    def watch(self, advance: Callable[[int], object]) -> None:
        """Have `advance` called with the number of bytes of whatever is read from now on."""
        self._advance = advance

    def head(self, count: int) -> bytes:
        """The first `count` bytes; fewer where there are no more."""
        if self._file is not None:
            self._file.seek(0)
            return self._file.read(count)
        self._extend(count)
        return bytes(self._head[:count])

    def seek(self, position: int) -> None:
        """Go to a place in the whole file; only after `spool`."""
        self.file().seek(position)

    def file(self) -> BinaryIO:
        """The whole file; only after `spool`."""
        if self._file is None:
            raise RuntimeError("a format that streams has asked for the whole file")
        return cast(BinaryIO, self._file)

    def readinto(self, view: memoryview) -> int:
        """Fill view with what comes next; less is read only at the end."""
        count = self._readinto(view)
        self._advance(count)
        return count

    def _readinto(self, view: memoryview) -> int:
        if self._file is not None:
            return _read_file(self._file, view)
        kept = min(len(view), len(self._head) - self._used)
        view[:kept] = self._head[self._used : self._used + kept]
        self._used += kept
        if kept == len(view):
            return kept
        self._past_head = True
        return kept + self._stream.readinto(view[kept:])

    def rest(self, limit: int) -> bytes:
        """Everything that is left. Raises ThetaError, having read it, if that is more than `limit` bytes."""
        parts: list[bytes] = []
        left = limit

        def use(view: memoryview) -> None:
            nonlocal left
            left -= len(view)
            if left >= 0:
                parts.append(bytes(view))

        self.each(use)
        if left < 0:
            raise ThetaError(f"a text of {limit - left} bytes is no manifest: those have {limit} at most")
        return b"".join(parts)

    def drain(self) -> None:
        """Read everything that is left of the stream, and forget it."""
        if self._file is None:
            self.each(lambda _: None)

    def spool(self, target: IO[bytes]) -> None:
        """Write everything to a file, which is then what `file` gives."""
        advance, self._advance = self._advance, lambda count: None  # it is still to be read
        self.each(target.write)
        self._advance = advance
        self.size = target.tell()
        self._file = target

    def each(self, use: Callable[[memoryview], object]) -> None:
        """Hand over everything that is left, piece by piece."""
        buffer = memoryview(bytearray(_PIECE))
        while count := self.readinto(buffer):
            use(buffer[:count])

    def _extend(self, count: int) -> None:
        while len(self._head) < count and not self._past_head:
            piece = memoryview(bytearray(min(_PIECE, count - len(self._head))))
            got = self._stream.readinto(piece)
            self._head += piece[:got]
            if got < len(piece):
                break


def _read_file(file: IO[bytes], view: memoryview) -> int:
    filled = 0
    while filled < len(view):
        got = cast(io.RawIOBase, file).readinto(view[filled:])
        if not got:
            break
        filled += got
    return filled
