"""Clean and smudge of one file, for tools that do not speak the filter protocol (libgit2, dulwich, JGit)."""

from __future__ import annotations

import os
import sys

from git_theta import manifest as manifests
from git_theta.drivers.filters import Filters
from git_theta.drivers.interrupted import advised, interrupted
from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.source import Content, DescriptorStream
from git_theta.git import callers
from git_theta.git.repository import Repository
from git_theta.remotes.fetching import fetch_missing
from git_theta.terminal.progress import make_way
from git_theta.versions import mending, recovery


def clean(pathname: str) -> None:
    """Standard input, a checkpoint, to standard output, its manifest.

    Raises:
        ThetaError: see Cleaner.clean. Nothing has been written then.
    """
    content = Content(DescriptorStream(0))
    _write(memoryview(_filters(Repository.here()).clean(content, pathname)))


def smudge(pathname: str) -> None:
    """Standard input, a manifest, to standard output, the checkpoint.

    Raises:
        ThetaError: see Smudger.smudge.
    """
    repository = Repository.here()
    settings = repository.config.settings()
    content = Content(DescriptorStream(0))
    head = content.head(stand_ins.PROBE)
    if settings.skip_smudge or not manifests.is_manifest(head):
        if found := stand_ins.recognise(head):
            _warn(found.warning(pathname))
        content.each(_write)
        return
    command = callers.calling_command()
    text = content.rest(manifests.LARGEST)
    if found := stand_ins.recognise(text):
        _warn(found.warning(pathname))
        _write(memoryview(text))
        return
    try:
        manifest = mending.whole(repository, pathname, stand_ins.plain(text))[1]
        if reasons := fetch_missing(repository, manifest.oids()):
            raise recovery.missing(manifest, sorted(reasons), reasons)
        _filters(repository).smudge(manifest, pathname, _write)
    except ThetaError as error:
        what = interrupted(repository, command, "")
        raise advised(repository, {pathname: error}, what) from None


def _filters(repository: Repository) -> Filters:
    settings = repository.config.settings()
    return Filters(repository, settings, callers.caller(), _warn)


def _warn(line: str) -> None:
    make_way()
    print(line, file=sys.stderr)


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(1, data) :]
