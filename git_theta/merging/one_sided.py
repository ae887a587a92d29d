"""Checkpoints that one of two sides has changed, and the other has as the common ancestor has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from git_theta.git.repository import Repository
from git_theta.merging.bases import common_ancestor
from git_theta.merging.entries import Contested, Head, checkpoints, entries
from git_theta.versions.places import SUBMODULE, SYMLINK


@dataclass(frozen=True)
class _Changed:
    """A file that a side has changed, and perhaps renamed."""

    old: str
    new: str
    before: str
    after: str


def find(repository: Repository, ours: Head, theirs: Head, tree: str) -> list[Contested]:
    """Checkpoints that one side changed, and of which git's merge took that side's version as it is.

    Args:
        tree: what git has made of both.
    """
    base = common_ancestor(repository, [ours, theirs])
    found = []
    for side, other in ((ours, theirs), (theirs, ours)):
        changed = list(_changed(repository, base, side))
        mine = checkpoints(repository, [one.new for one in changed])
        changed = [one for one in changed if one.new in mine]
        kept = entries(repository, other.commit, {one.old for one in changed})
        result = entries(repository, tree, {one.new for one in changed})
        for one in changed:
            unchanged = kept.get(one.old, ("", ""))[1] == one.before
            mode, oid = result.get(one.new, ("", ""))
            if unchanged and oid == one.after:
                versions = {side.name: one.after, other.name: one.before}
                named = (ours.name, versions[ours.name]), (theirs.name, versions[theirs.name])
                found.append(Contested(one.new, mode, one.before, named))
    return found


def _changed(repository: Repository, base: str, side: Head) -> Iterator[_Changed]:
    listed = repository.git("diff-tree", "-r", "-z", "--raw", "-M", "--no-abbrev", base, side.commit)
    fields = iter([os.fsdecode(field) for field in listed.split(b"\0")[:-1]])
    for about in fields:
        old_mode, mode, before, after, status = about.lstrip(":").split()
        old = next(fields)
        new = next(fields) if status[0] in "RC" else old
        if status[0] in "MR" and before != after and not {old_mode, mode} & {SYMLINK, SUBMODULE}:
            yield _Changed(old, new, before, after)
