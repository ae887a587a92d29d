"""Git's pkt-line framing, as the long-running filter protocol uses it.

Source: gitprotocol-common(5) and gitattributes(5), "Long Running Filter Process".
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress

from git_theta import kernels
from git_theta.errors import ThetaError

LARGEST_PAYLOAD = 65516
_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_PIPE_BYTES = 1 << 20  # fewer switches between git and us than with the default 64 KiB
_PACKETS_AT_ONCE = 256  # header and payload of each are two of the 1,024 buffers of one writev


class ProtocolError(ThetaError):
    """Git closed the pipe, or sent what the protocol does not allow."""


class _Closed(ProtocolError):
    """There is nothing more to read."""


def widen_pipe(descriptor: int) -> None:
    """Let a pipe hold more, where the system can."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[attr-defined,unused-ignore]


class PacketReader:
    """Reads packets from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._header = memoryview(bytearray(4))
        self._have = 0  # bytes of the next header that were already read
        self._left = 0  # bytes of the current packet that were not
        self._ended = False

    def lines(self) -> list[str] | None:
        """The text packets up to the next flush packet; None if git has closed the pipe."""
        found: list[str] = []
        self._ended = False
        while not self._ended:
            try:
                self._next_packet()
            except _Closed:
                if found or self._have:
                    raise
                return None
            if not self._ended:
                payload = memoryview(bytearray(self._left))
                self.readinto(payload)
                found.append(os.fsdecode(bytes(payload).removesuffix(b"\n")))
        return found

    def start(self) -> None:
        """Begin to read contents: what `readinto` gives, up to the next flush packet."""
        self._ended = False

    def readinto(self, view: memoryview) -> int:
        """Fill view with contents; less is read only where they end."""
        filled, wanted = 0, len(view)
        while filled < wanted:
            if not self._left:
                if self._ended:
                    break
                self._next_packet()
                continue
            got, self._left, self._have = kernels.read_packets(
                self._descriptor, view[filled:], self._left, self._header
            )
            if not got:
                raise ProtocolError("git closed the pipe in the middle of a file")
            filled += got
        return filled

    def _next_packet(self) -> None:
        while self._have < 4:
            got = os.readv(self._descriptor, [self._header[self._have :]])
            if not got:
                raise _Closed("git closed the pipe")
            self._have += got
        self._have = 0
        if not _LENGTH.match(self._header):
            raise ProtocolError(f"{bytes(self._header)!r} is no packet length")
        length = int(bytes(self._header), 16)
        if length in (1, 2, 3):
            raise ProtocolError(f"unexpected packet of length {length}")
        self._ended = length == 0
        self._left = max(0, length - 4)


class PacketWriter:
    """Writes packets to a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def lines(self, lines: Iterable[str]) -> None:
        """Text packets and a flush packet."""
        raw = b"".join(_packet(os.fsencode(line) + b"\n") for line in lines)
        self._write([memoryview(raw + b"0000")])

    def contents(self, data: memoryview | bytes) -> None:
        """Part of a file's contents."""
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        full = b"%04x" % (LARGEST_PAYLOAD + 4)
        buffers: list[memoryview] = []
        for start in range(0, len(view), LARGEST_PAYLOAD):
            payload = view[start : start + LARGEST_PAYLOAD]
            buffers.append(
                memoryview(full if len(payload) == LARGEST_PAYLOAD else b"%04x" % (len(payload) + 4))
            )
            buffers.append(payload)
            if len(buffers) >= 2 * _PACKETS_AT_ONCE:
                self._write(buffers)
                buffers = []
        if buffers:
            self._write(buffers)

    def send(self, data: bytes) -> None:
        """The whole contents of a file, as a filter's successful answer."""
        self.lines(["status=success"])
        self.contents(data)
        self.flush()  # the end of the contents
        self.flush()  # the status stands

    def flush(self) -> None:
        """A flush packet."""
        self._write([memoryview(b"0000")])

    def _write(self, buffers: list[memoryview]) -> None:
        while buffers:
            written = os.writev(self._descriptor, buffers)
            done = 0
            while done < len(buffers) and written >= len(buffers[done]):
                written -= len(buffers[done])
                done += 1
            buffers = buffers[done:]
            if written:
                buffers[0] = buffers[0][written:]


def _packet(payload: bytes) -> bytes:
    return b"%04x" % (len(payload) + 4) + payload
