"""The commits that changed one path, newest first, across renames of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from git_theta.errors import ThetaError
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.terminal.showing import pathspec, printable
from git_theta.versions import diff_changes
from git_theta.versions.diff_sides import Side, revision
from git_theta.versions.places import Place

_FORMAT = "--format=%H%n%P%n%an%n%aI%n%s"


@dataclass(frozen=True)
class Version:
    """A path at a commit."""

    commit: str
    path: str


@dataclass(frozen=True)
class Step:
    """A commit that changed a path.

    Attributes:
        parents: the versions before it, in the order of the commit's parents: none where it brought the file
            into being.
        date: of the author, in ISO 8601.
    """

    version: Version
    parents: tuple[Version, ...]
    author: str
    date: str
    subject: str


def steps(repository: Repository, start: str, name: str) -> Iterator[Step]:
    """The history of a path, children before parents, as `git log` simplifies it.

    Args:
        start: the newest commit to look at.
        name: the path, as the user types it.

    Raises:
        ThetaError: there is no such revision, or nothing in it has ever changed that path.
    """
    (path,) = diff_changes.named_paths(repository, [name])
    found = _listed(repository, revision(repository, start).name, path)
    if not found:
        raise ThetaError(
            f"no commit up to {start} has changed {printable(name)}", f"git log --all -- {pathspec(name)}"
        )
    while found:
        last = found.pop()
        yield from found
        old_path = None if last.parents else _before_rename(repository, last.version)
        found = _listed(repository, f"{last.version.commit}^", old_path) if old_path else []
        yield replace(last, parents=(found[0].version,)) if found else last


def place_of(repository: Repository, version: Version | None, path: str) -> Place:
    """Where a version is; `path` names the place where there is none."""
    if version is None:
        return Place(path)
    side = Side(version.commit[:10], "tree", version.commit)
    return diff_changes.place_in(repository, side, version.path)


def _listed(repository: Repository, start: str, path: str) -> list[Step]:
    """The steps under one name; their parents are those that have changed the path."""
    pathspec = literally(path)
    options = ["--no-show-signature", "--parents", "--topo-order", "-z", _FORMAT]
    listed = repository.git("log", *options, start, "--", pathspec)
    found = []
    for record in listed.decode(errors="replace").split("\0"):
        if record:
            commit, parents, author, date, subject = record.split("\n")
            earlier = tuple(Version(parent, path) for parent in parents.split())
            found.append(Step(Version(commit, path), earlier, author, date, subject))
    return found


def _before_rename(repository: Repository, version: Version) -> str | None:
    """What a file was called before the commit that gave it its name; None if it was nothing."""
    fields = repository.git(
        "diff-tree", "-r", "-M", "--diff-filter=R", "--name-status", "-z", "--no-commit-id", version.commit
    ).split(b"\0")
    for old, new in zip(fields[1::3], fields[2::3], strict=False):
        if os.fsdecode(new) == version.path:
            return os.fsdecode(old)
    return None
