"""The long-running filter process that git starts for add, checkout, status and the like.

Protocol: gitattributes(5), "Long Running Filter Process", version 2, with clean, smudge and delay. The
handshake is answered before NumPy is imported, so that git does not wait for what it may not need.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from git_theta import manifest as manifests
from git_theta.errors import ThetaError
from git_theta.git import callers, hook_files, recovery
from git_theta.git.fetching import fetch_missing
from git_theta.git.pktline import PacketReader, PacketWriter, ProtocolError, widen_pipe
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest

if TYPE_CHECKING:
    from git_theta.git.filters import Filters

_CAPABILITIES = ("clean", "smudge", "delay")


def serve(incoming: int, outgoing: int) -> None:
    """Answer git until it closes the pipe.

    Raises:
        ProtocolError: git speaks another protocol.
    """
    for descriptor in (incoming, outgoing):
        widen_pipe(descriptor)
    reader, writer = PacketReader(incoming), PacketWriter(outgoing)
    _shake_hands(reader, writer)
    server = _Server(reader, writer)
    try:
        while (request := reader.lines()) is not None:
            server.answer(dict(line.partition("=")[::2] for line in request))
    finally:
        server.close()


def _shake_hands(reader: PacketReader, writer: PacketWriter) -> None:
    hello = reader.lines()
    if hello is None or hello[:1] != ["git-filter-client"] or "version=2" not in hello:
        raise ProtocolError(f"git does not speak version 2 of the filter protocol: {hello}")
    writer.lines(["git-filter-server", "version=2"])
    offered = reader.lines() or []
    writer.lines([f"capability={name}" for name in _CAPABILITIES if f"capability={name}" in offered])


class _Server:
    def __init__(self, reader: PacketReader, writer: PacketWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._repository = Repository.here()
        self._settings = self._repository.config.settings()
        self._command = callers.calling_command()
        self._filters: Filters | None = None
        self._delayed: dict[str, tuple[bytes, Manifest]] = {}  # asked for, not yet offered
        self._offered: dict[str, tuple[bytes, Manifest]] = {}
        self._missing: dict[str, str] = {}
        self._failing: dict[str, tuple[bytes, Manifest]] = {}
        self._hooks_checked = callers.only_looks(self._command)

    def close(self) -> None:
        self._repository.close()

    @property
    def filters(self) -> Filters:
        if self._filters is None:
            from git_theta.git.filters import Filters  # needs NumPy

            self._filters = Filters(self._repository, self._settings, self._command, _warn)
        return self._filters

    def answer(self, request: dict[str, str]) -> None:
        command, pathname = request.get("command"), request.get("pathname", "")
        if command == "list_available_blobs":
            self._list_available()
            return
        self._reader.start()
        if command == "clean":
            self._clean(pathname)
        elif command == "smudge" and pathname in self._offered | self._failing:
            _drain(self._reader)
            offered = self._offered if pathname in self._offered else self._failing
            text, manifest = offered.pop(pathname)
            self._smudge(pathname, text, manifest)
        elif command == "smudge":
            self._begin_smudge(pathname, request.get("can-delay") == "1")
        else:
            _drain(self._reader)
            self._status("abort")

    def _clean(self, pathname: str) -> None:
        from git_theta.filters.content import Content

        if not self._hooks_checked:
            self._hooks_checked = True
            if line := hook_files.warning(self._repository):
                _warn(line)
        content = Content(self._reader)
        try:
            text = self.filters.clean(content, pathname)
        except ThetaError as error:
            content.drain()
            _say(error)
            self._status("error")
            return
        self._status("success")
        self._writer.contents(text)
        self._writer.flush()
        self._writer.flush()

    def _begin_smudge(self, pathname: str, can_delay: bool) -> None:
        text = _read_all(self._reader)
        if self._settings.skip_smudge or callers.wants_manifests(self._command):
            self._send(text)
            return
        if not manifests.is_manifest(text):
            self._send(text)  # a checkpoint that was committed without git-theta: it is what it is
            return
        try:
            manifest = manifests.parse(text)
            if not manifest.storage:
                raise ThetaError("the manifest does not say where the data are stored")
        except ThetaError as error:
            self._fail(pathname, error)
            return
        if can_delay:
            self._delayed[pathname] = text, manifest
            self._status("delayed")
            return
        self._missing |= fetch_missing(self._repository, manifest.oids())
        self._smudge(pathname, text, manifest)

    def _list_available(self) -> None:
        """Offer the delayed files: first those that can be written, in a last round those that cannot.

        Git forgets the files that it sorts behind a failing one of the same answer.
        """
        if self._delayed:
            wanted = {oid: size for _, m in self._delayed.values() for oid, size in m.oids().items()}
            self._missing |= fetch_missing(self._repository, wanted)
            for pathname, (text, manifest) in self._delayed.items():
                lacking = not self._settings.skip_missing and self._missing.keys() & manifest.oids().keys()
                (self._failing if lacking else self._offered)[pathname] = text, manifest
            self._delayed = {}
            names = list(self._offered) or list(self._failing)
        else:
            names = list(self._failing)
        self._writer.lines([f"pathname={name}" for name in names])
        self._writer.lines(["status=success"])

    def _smudge(self, pathname: str, text: bytes, manifest: Manifest) -> None:
        lacking = sorted(self._missing.keys() & manifest.oids().keys())
        if lacking and self._settings.skip_missing:
            _warn(f"{pathname}: {len(lacking)} objects are missing; its manifest was written instead")
            self._send(text)
            return
        if lacking:
            self._fail(pathname, recovery.missing(manifest, lacking, self._missing))
            return
        started = False

        def write(view: memoryview) -> None:
            nonlocal started
            if not started:
                self._status("success")
                started = True
            self._writer.contents(view)

        try:
            self.filters.smudge(manifest, write)
        except ThetaError as error:
            if not started:
                self._fail(pathname, error)
                return
            _say(recovery.advised(pathname, error, self._command))
            self._writer.flush()
            self._status("error")
            return
        if not started:
            self._status("success")
        self._writer.flush()
        self._writer.flush()

    def _fail(self, pathname: str, error: ThetaError) -> None:
        _say(recovery.advised(pathname, error, self._command))
        self._status("error")

    def _send(self, text: bytes) -> None:
        self._status("success")
        self._writer.contents(text)
        self._writer.flush()
        self._writer.flush()

    def _status(self, status: str) -> None:
        self._writer.lines([f"status={status}"])


def _read_all(reader: PacketReader) -> bytes:
    from git_theta.filters.content import Content

    return Content(reader).rest()


def _drain(reader: PacketReader) -> None:
    from git_theta.filters.content import Content

    Content(reader).drain()


def _say(error: ThetaError) -> None:
    print(f"git-theta: {error}", file=sys.stderr, flush=True)


def _warn(line: str) -> None:
    print(f"git-theta: {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve git on standard input and output."""
    outgoing = os.dup(1)
    os.dup2(2, 1)  # whatever prints by accident must not reach git's ears
    serve(0, outgoing)
