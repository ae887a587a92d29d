"""Clean and smudge for a repository: what the filter process and the single-shot commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from git_theta.drivers.purpose import Purpose, purpose
from git_theta.errors import DamagedManifest, ThetaError
from git_theta.filters import expansion, handoff
from git_theta.filters.clean import Cleaner, Request
from git_theta.filters.expansion import Expansion
from git_theta.filters.smudge import Smudger, Write
from git_theta.filters.source import Content
from git_theta.git import attributes, callers
from git_theta.git.callers import Caller
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.manifest.chains import closure
from git_theta.merging import conflicts
from git_theta.settings import Settings
from git_theta.storing.stock import Stock
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import printable
from git_theta.versions import mending, misplaced
from git_theta.versions.recorded import Related, recorded
from git_theta.versions.recovery import named
from git_theta.versions.stock import stock

_ELSEWHERE = (["archive"], ["cat-file"], ["show"])
"""Commands that write the bytes of files to their output, not into the work tree, where filters are run."""


class Filters:
    """The two directions, for one repository.

    Args:
        caller: the git command that calls.
        warn: shows a line to the user.
    """

    def __init__(
        self, repository: Repository, settings: Settings, caller: Caller, warn: Callable[[str], None]
    ) -> None:
        why = purpose(caller)
        if why is Purpose.SHOW and not _can_store(repository):
            why = Purpose.LOOK
        if why in (Purpose.SHOW, Purpose.PATCH) or caller.command[:1] == ["stash"]:
            # They only put aside, and must be able to, whatever the file is.
            settings = replace(settings, allow_damaged=True)
        self._repository = repository
        self._settings = settings
        self._warn = warn
        self._purpose = why
        self._may_store = why in (Purpose.SHOW, Purpose.PATCH) or callers.may_store(caller.command)
        self._adopts = callers.adopts(caller.command)
        self._quiet = callers.is_quiet(caller.command)
        self._adds = caller.command[:1] == ["add"]
        self._related = Related(repository, settings.base)
        self._smudger = Smudger(repository.objects)
        target = None if caller.command[:1] in _ELSEWHERE else Path.cwd()
        self._expansion = Expansion(settings.max_expansion, target)
        self._cleaner = Cleaner(repository.objects, self._stock, settings, warn)
        repository.store.clean_up()
        handoff.clean_up(repository.store)

    def clean(self, content: Content, pathname: str) -> bytes:
        """The manifest of a file; see Cleaner.clean for what is raised. Errors name the file."""
        request = Request(
            pathname,
            recorded(self._repository, pathname),
            self._related,
            looks_only=self._purpose is Purpose.LOOK,
            adopts=self._adopts,
            blobs=lambda: misplaced.blobs(self._repository, pathname),
            encoding=lambda: attributes.encoding(self._repository, pathname),
            mend=lambda text: self._mended(text, pathname),
        )
        title = f"{'Storing' if self._purpose is Purpose.STORE else 'Reading'} {pathname}"
        try:
            with Progress(title, _size(pathname), sized=True, quiet=self._quiet) as progress:
                content.watch(progress.advance)
                text = self._cleaner.clean(content, request)
        except ThetaError as error:
            raise named(pathname, error) from None
        if self._purpose is Purpose.STORE and (why := expansion.warning(text, self._settings.max_expansion)):
            self._warn(f"{printable(pathname)}: {why}")
        if self._adds and (warning := conflicts.warning(self._repository, pathname, text)):
            self._warn(warning)
        return text

    def _mended(self, text: bytes, pathname: str) -> bytes:
        try:
            return mending.whole(self._repository, pathname, text)[0]
        except DamagedManifest as error:
            has_versions = any(misplaced.blobs(self._repository, pathname))
            error.remedy = "to have the last version: git checkout -- PATH" if has_versions else "rm PATH"
            raise

    def smudge(self, manifest: Manifest, pathname: str, write: Write) -> None:
        """Write a file's bytes; see Smudger.smudge for what is raised."""
        self._expansion.check(manifest)
        with Progress(f"Writing {pathname}", manifest.size, sized=True, quiet=self._quiet) as progress:
            self._smudger.smudge(manifest, progress.counting(write))
        self._repository.index.record(
            {digest: closure([digest], manifest.storage) for digest in manifest.digests()}
        )

    def _stock(self, request: Request) -> Stock:
        recorded = [manifest for _, manifest in request.recorded]
        return stock(self._repository, recorded, request.related, self._may_store)


def _size(pathname: str) -> int:
    """Bytes of a file in the work tree, which git hands over without saying how many; 0 if there is none."""
    try:
        return Path(pathname).stat().st_size
    except OSError:
        return 0


def _can_store(repository: Repository) -> bool:
    """Whether the store can be written, as far as permissions tell."""
    folder = repository.theta if repository.theta.exists() else repository.common_dir
    return os.access(folder, os.W_OK)
