"""Checkpoints that one of two sides has changed, and the other has as the common ancestor has them."""

from __future__ import annotations

from collections.abc import Iterator

from git_theta.git.plumbing import RawChange
from git_theta.git.repository import Repository
from git_theta.merging.bases import common_ancestor
from git_theta.merging.entries import Contested, Head, checkpoints, entries
from git_theta.versions.places import SUBMODULE, SYMLINK


def find(repository: Repository, ours: Head, theirs: Head, tree: str) -> list[Contested]:
    """Checkpoints that one side changed, and of which git's merge took that side's version as it is.

    Args:
        tree: what git has made of both.
    """
    base = common_ancestor(repository, [ours, theirs])
    found = []
    for side, other in ((ours, theirs), (theirs, ours)):
        changed = list(_changed(repository, base, side))
        mine = checkpoints(repository, [one.path for one in changed])
        changed = [one for one in changed if one.path in mine]
        kept = entries(repository, other.commit, {one.old_path for one in changed})
        result = entries(repository, tree, {one.path for one in changed})
        for one in changed:
            unchanged = kept.get(one.old_path, ("", ""))[1] == one.before
            mode, oid = result.get(one.path, ("", ""))
            if unchanged and oid == one.after:
                versions = {side.name: one.after, other.name: one.before}
                named = (ours.name, versions[ours.name]), (theirs.name, versions[theirs.name])
                found.append(Contested(one.path, mode, one.before, named))
    return found


def _changed(repository: Repository, base: str, side: Head) -> Iterator[RawChange]:
    """The files that a side has changed, and perhaps renamed."""
    for one in repository.raw_changes("diff-tree", "-r", "-M", base, side.commit):
        is_file = not {one.old_mode, one.mode} & {SYMLINK, SUBMODULE}
        if is_file and one.status[0] in "MR" and one.before != one.after:
            yield one
