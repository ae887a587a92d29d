"""What the filter process does for a git that stores or checks out: clean, smudge, and delayed smudge."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from git_theta import manifest as manifests
from git_theta.drivers.interrupted import advised, interrupted
from git_theta.drivers.pktline import PacketReader, PacketWriter
from git_theta.errors import MissingObject, ThetaError, too_little_memory
from git_theta.files import make_folder
from git_theta.filters import stand_ins
from git_theta.filters.source import Content
from git_theta.filters.stand_ins import parsed
from git_theta.git import callers
from git_theta.git.callers import Caller
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.remotes.advice import advice
from git_theta.remotes.fetching import fetch_missing, missing
from git_theta.setup import hook_files
from git_theta.terminal.progress import Progress, make_way
from git_theta.terminal.showing import printable
from git_theta.versions import mending, recovery
from git_theta.versions.recovery import named

if TYPE_CHECKING:
    from git_theta.drivers.filters import Filters

_PIECE = 1 << 20


class Server:
    """Answers git's requests.

    Args:
        caller: the git command that asks.
    """

    def __init__(self, reader: PacketReader, writer: PacketWriter, caller: Caller) -> None:
        self._reader = reader
        self._writer = writer
        self._repository = Repository.here()
        self._settings = self._repository.config.settings()
        self._caller = caller
        self._command = caller.command
        self._filters: Filters | None = None
        self._delayed: dict[str, tuple[bytes, Manifest]] = {}  # asked for, not yet offered
        self._offered: dict[str, tuple[bytes, Manifest]] = {}
        self._missing: dict[str, str] = {}  # why, by oid
        self._damaged: dict[str, ThetaError] = {}
        self._failing: dict[str, ThetaError] = {}
        self._cleaned: dict[str, bytes] = {}  # by git apply, which removes files before it writes them
        self._treeish = ""  # what git is checking out, as far as it tells
        self._prepared = callers.looks(self._command)
        self._at_once = callers.makes_conflicts_again(self._command)

    def close(self) -> None:
        self._repository.close()

    @property
    def filters(self) -> Filters:
        if self._filters is None:
            from git_theta.drivers.filters import Filters  # needs NumPy

            self._filters = Filters(self._repository, self._settings, self._caller, _warn)
        return self._filters

    def answer(self, request: dict[str, str]) -> None:
        command, pathname = request.get("command"), request.get("pathname", "")
        if command == "list_available_blobs":
            self._list_available()
            return
        self._reader.start()
        if not self._prepared:
            self._prepared = True
            self._prepare()
        if command == "clean":
            self._clean(pathname)
        elif command == "smudge" and pathname in self._offered:
            _drain(self._reader)
            self._smudge(pathname, *self._offered.pop(pathname))
        elif command == "smudge" and pathname in self._failing:
            _drain(self._reader)
            self._fail_all()
        elif command == "smudge":
            self._treeish = request.get("treeish", "")
            can_delay = request.get("can-delay") == "1" and not self._at_once
            self._begin_smudge(pathname, can_delay)
        else:
            _drain(self._reader)
            self._status("abort")

    def _prepare(self) -> None:
        """Wake the template's hook, which looks whether there are data of ours; where it is not, say so."""
        with suppress(OSError):
            make_folder(self._repository.theta)
        if warning := hook_files.warning(self._repository):
            _warn(warning)

    def _clean(self, pathname: str) -> None:
        content = Content(self._reader)
        try:
            with _refusals():
                text = self.filters.clean(content, pathname)
        except ThetaError as error:
            content.drain()
            _say(error)
            self._status("error")
            return
        if self._command[:1] == ["apply"]:
            self._cleaned[pathname] = text
        self._writer.send(text)

    def _begin_smudge(self, pathname: str, can_delay: bool) -> None:
        content = Content(self._reader)
        head = content.head(stand_ins.PROBE)
        if not manifests.is_manifest(head):
            if found := stand_ins.recognise(head):
                _warn(found.warning(pathname))
            self.pass_through(pathname, content)  # a raw checkpoint is what it is
            return
        text = b""
        try:
            text = content.rest(manifests.LARGEST)
            plain = stand_ins.plain(text)
            whole, manifest = self._whole(pathname, plain)
            text = whole if whole != plain else text
        except ThetaError as error:
            if found := stand_ins.recognise(text):
                _warn(found.warning(pathname))
                self._writer.send(text)
            elif can_delay:
                self._failing[pathname] = error
                self._status("delayed")
            else:
                self._fail(pathname, error)
            return
        if self._settings.skip_smudge or manifest is None:
            self._writer.send(text)
            return
        if can_delay:
            self._delayed[pathname] = text, manifest
            self._status("delayed")
            return
        self._fetch(manifest.oids())
        if pathname in self._cleaned:
            self._damaged |= self._repository.store.damaged(manifest.oids().keys() - self._missing.keys())
        self._smudge(pathname, text, manifest)

    def _whole(self, pathname: str, text: bytes) -> tuple[bytes, Manifest | None]:
        """The text and manifest to check out for what git sent; no manifest: write the text as it is."""
        before = self._before(pathname)
        try:
            return mending.whole(self._repository, pathname, text, *([before] if before else ()))
        except ThetaError as error:
            if self._settings.skip_smudge:
                return text, None
            if before is None:
                raise
            return self._stays(pathname, error), before

    def _before(self, pathname: str) -> Manifest | None:
        """The earlier manifest of a file that `git apply` is rewriting, to fall back on if that fails."""
        return parsed(self._cleaned.get(pathname, b""))

    def _stays(self, pathname: str, error: ThetaError) -> bytes:
        """Fall back on a file's earlier manifest, and warn that the patch was not applied to it."""
        _warn(f"{named(pathname, error).message}; the file stays as it was")
        if isinstance(error, MissingObject):
            _warn(f"to apply it all the same: {advice(self._repository).text()}\n  and then the same again")
        return self._cleaned.pop(pathname)

    def pass_through(self, pathname: str, content: Content) -> None:
        """Answer with what git sent. It must be read whole before anything is sent, and can be large."""
        head = content.head(_PIECE)
        if len(head) < _PIECE:
            self._writer.send(head)
            return
        try:
            with _refusals(), self._repository.store.spool() as file:
                content.spool(file)
                file.seek(0)
                self._status("success")
                while piece := file.read(_PIECE):
                    self._writer.contents(piece)
        except ThetaError as error:
            content.drain()
            self._fail(pathname, error)
            return
        self._writer.flush()
        self._writer.flush()

    def _list_available(self) -> None:
        """Offer the delayed files: first those that can be written, in a last round those that cannot.

        Git forgets the files that it sorts behind a failing one of the same answer.
        """
        if self._delayed:
            wanted = {oid: size for _, m in self._delayed.values() for oid, size in m.oids().items()}
            self._fetch(wanted)
            if len(self._delayed) > 1 or self._settings.skip_missing:
                self._damaged |= self._repository.store.damaged(wanted.keys() - self._missing.keys())
            for pathname, (text, manifest) in self._delayed.items():
                lost = self._lost(manifest)
                if lost and not self._settings.skip_missing:
                    self._failing[pathname] = lost
                else:
                    self._offered[pathname] = text, manifest
            self._delayed = {}
        names = self._offered or self._failing
        self._writer.lines([f"pathname={name}" for name in names])
        self._writer.lines(["status=success"])

    def _fetch(self, oids: Mapping[str, int]) -> None:
        try:
            with _refusals():
                size = sum(missing(self._repository, oids).values())
                quiet = callers.is_quiet(self._command)
                with Progress("Fetching objects", size, sized=True, quiet=quiet) as progress:
                    self._missing |= fetch_missing(self._repository, oids, advance=progress.advance)
        except ThetaError as error:
            self._missing |= dict.fromkeys(oids, error.message)

    def _lost(self, manifest: Manifest) -> ThetaError | None:
        """The error for a file whose objects are already found to be missing or damaged; None for others."""
        oids = manifest.oids().keys()
        if lacking := sorted(self._missing.keys() & oids):
            return recovery.missing(manifest, lacking, self._missing)
        if damaged := sorted(self._damaged.keys() & oids):
            return recovery.damaged(manifest, [self._damaged[oid] for oid in damaged], damaged)
        return None

    def _smudge(self, pathname: str, text: bytes, manifest: Manifest) -> None:
        lost = self._lost(manifest)
        if lost and self._settings.skip_missing:
            _warn(f"{printable(pathname)}: {lost.message}; its manifest was written instead")
            self._writer.send(text)
            return
        if lost and self._before(pathname) is not None:
            text = self._stays(pathname, lost)
            self._smudge(pathname, text, manifests.parse(text))
            return
        if lost:
            self._fail(pathname, lost)
            return
        started = False

        def write(view: memoryview) -> None:
            nonlocal started
            if not started:
                self._status("success")
                started = True
            self._writer.contents(view)

        try:
            with _refusals():
                self.filters.smudge(manifest, pathname, write)
        except ThetaError as error:
            if not started:
                self._fail(pathname, error)
                return
            self._tell({pathname: error})
            self._writer.flush()
            self._status("error")
            return
        if not started:
            self._status("success")
        self._writer.flush()
        self._writer.flush()

    def _fail(self, pathname: str, error: ThetaError) -> None:
        self._tell({pathname: error})
        self._status("error")

    def _fail_all(self) -> None:
        """Git gives up at the first file that fails, so this tells of all."""
        self._tell(self._failing)
        self._status("error")

    def _tell(self, failures: Mapping[str, ThetaError]) -> None:
        what = interrupted(self._repository, self._command, self._treeish)
        _say(advised(self._repository, failures, what))

    def _status(self, status: str) -> None:
        self._writer.lines([f"status={status}"])


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns what the system refuses into errors that users can understand."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        if (memory := too_little_memory(error)) is not None:
            raise memory from error
        if not isinstance(error, OSError):
            raise
        place = f" ({error.filename})" if error.filename else ""
        raise ThetaError(f"{error.strerror or error}{place}") from error


def _drain(reader: PacketReader) -> None:
    Content(reader).drain()


def _say(error: ThetaError) -> None:
    make_way()
    print(f"git-theta: {error}", file=sys.stderr, flush=True)


def _warn(line: str) -> None:
    make_way()
    print(f"git-theta: {line}", file=sys.stderr, flush=True)
