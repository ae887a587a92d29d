"""The versions of one file in history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import find_manifests, reachable
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.versions.recorded import root_of


@dataclass(frozen=True)
class Past:
    """A commit that changed the file, and the blobs before and after; "" where there was none."""

    commit: str
    before: str
    after: str


def of(repository: Repository, path: str, *options: str, tip: str = "--all") -> Iterator[Past]:
    """The history of a file: every commit of any branch or tag that changed it, children before parents.

    Merges are compared with each of their parents. Where Git cannot read all, what it has said until then.

    Args:
        options: more of `git log`'s.
        tip: a commit from which on older ones count, and no others.
    """
    form = ("--raw", "--no-abbrev", "--no-renames", "--format=%H")
    every = (tip, "--date-order", "-m", "--full-history", *form)
    commit = ""
    told = repository.run("log", *every, *options, "--", literally(path)).stdout
    for line in told.decode(errors="replace").splitlines():
        if line.startswith(":"):
            _, _, before, after, _ = line.split(None, 4)
            yield Past(commit, before.strip("0") and before, after.strip("0") and after)
        elif line:
            commit = line


def blobs(repository: Repository, path: str, *options: str) -> list[str]:
    """What the file was in these versions, the latest first, as blobs; each once."""
    pairs = ((past.after, past.before) for past in of(repository, path, *options))
    return list(dict.fromkeys(oid for pair in pairs for oid in pair if oid))


def last_commit(repository: Repository, path: str, tip: str) -> str:
    """The newest commit that made the file a whole manifest, best one of this tip's; "" if there is none."""
    for past in chain(of(repository, path, tip=tip), of(repository, path)):
        manifest = parsed(repository.blob(past.after)) if past.after else None
        if manifest is not None and manifest.storage:
            return past.commit
    return ""


def with_root(repository: Repository, path: str, root: str) -> str:
    """Search history for a manifest of this root, among the file's own versions first; "" if none."""
    for oid in blobs(repository, path):
        if root_of(repository, oid) == root:
            return oid
    for found, text in find_manifests(repository, reachable(repository, [], "--all")):
        manifest = parsed(text)
        if manifest is not None and manifest.root == root:
            return found.oid
    return ""
