"""The long-running filter process that git starts for add, checkout, status, diff and the like.

Protocol: gitattributes(5), "Long Running Filter Process", version 2, with clean, smudge and delay. The
handshake is answered before anything else is imported, so that git does not wait for what it may not need;
for `git diff` nothing else is ever needed.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from git_theta.drivers.pktline import PacketReader, PacketWriter, ProtocolError, widen_pipe
from git_theta.filters.source import Content
from git_theta.git import callers

if TYPE_CHECKING:
    from git_theta.drivers.filter_server import Server

_CAPABILITIES = ("clean", "smudge", "delay")
_OBJECTS = 50_000  # that are made before the youngest are looked through for circles
_IN_MEMORY = 1 << 20  # bytes of what is passed through


def main() -> None:
    """Serve git on standard input and output."""
    outgoing = os.dup(1)
    os.dup2(2, 1)  # whatever prints by accident must not reach git's ears
    serve(0, outgoing)


def serve(incoming: int, outgoing: int) -> None:
    """Answer git until it closes the pipe.

    Raises:
        ProtocolError: git speaks another protocol.
    """
    for descriptor in (incoming, outgoing):
        widen_pipe(descriptor)
    reader, writer = PacketReader(incoming), PacketWriter(outgoing)
    _shake_hands(reader, writer)
    process = _Process(reader, writer)
    try:
        while (request := reader.lines()) is not None:
            process.answer(dict(line.partition("=")[::2] for line in request))
    finally:
        process.close()


def _shake_hands(reader: PacketReader, writer: PacketWriter) -> None:
    hello = reader.lines()
    if hello is None or hello[:1] != ["git-filter-client"] or "version=2" not in hello:
        raise ProtocolError(f"git does not speak version 2 of the filter protocol: {hello}")
    writer.lines(["git-filter-server", "version=2"])
    offered = reader.lines() or []
    writer.lines([f"capability={name}" for name in _CAPABILITIES if f"capability={name}" in offered])


class _Process:
    """Hands manifests to a git that shows differences, and leaves the rest to a server."""

    def __init__(self, reader: PacketReader, writer: PacketWriter) -> None:
        self._reader, self._writer = reader, writer
        self._caller = callers.caller()
        self._shows = callers.wants_manifests(self._caller.command)
        self._made: Server | None = None

    @property
    def _server(self) -> Server:
        if self._made is None:
            from git_theta.drivers.filter_server import Server

            # Tensors by the ten thousand are objects by the million, and none of them is in a circle: to look
            # for circles is a tenth of the work.
            gc.freeze()
            gc.set_threshold(_OBJECTS, 20, 20)
            self._made = Server(self._reader, self._writer, self._caller)
        return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def answer(self, request: dict[str, str]) -> None:
        if self._shows and request.get("command") == "smudge":
            self._reader.start()
            content = Content(self._reader)
            head = content.head(_IN_MEMORY)
            if len(head) < _IN_MEMORY:
                self._writer.send(head)
            else:
                self._server.pass_through(request.get("pathname", ""), content)
            return
        self._server.answer(request)
