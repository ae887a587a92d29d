"""A merge that is being put into index and work tree, and of which Git knows only when it is there.

If that is stopped half-way, `git commit` would make an ordinary commit of what is staged. So a record says
that it has begun, and the hooks refuse to commit until it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.repository import Repository
from git_theta.merging.records import Records
from git_theta.terminal.showing import word


@dataclass(frozen=True)
class _Begun:
    """A merge that has begun; head: the commit that HEAD is on; tree: its result."""

    head: str
    tree: str
    path: str = ""


_records = Records("staging", _Begun)


def begin(repository: Repository, head: str, tree: str) -> None:
    """Note that a merge into this commit, with this result, is about to be staged."""
    _records.write(repository, _Begun(head, tree))


def end(repository: Repository) -> None:
    """Note that Git knows of the merge, or that nothing is staged of it."""
    _records.clear(repository, "")


def is_half_merged(repository: Repository) -> bool:
    """Whether something of a merge is staged of which Git does not know, or may be: the record is damaged."""
    begun = _records.find(repository, "")
    if begun is None and not _damaged(repository):
        return False
    if operation.merging(repository):
        end(repository)  # it was stopped after Git knew
        return False
    if begun is None:
        return True
    options = ("-r", "-z", "--name-only")
    merged = repository.git("diff-tree", *options, begun.head, begun.tree).split(b"\0")
    others = repository.git("diff-index", "--cached", "-z", "--name-only", begun.tree).split(b"\0")
    return bool(set(merged) - set(others))


def check(repository: Repository) -> list[ThetaError]:
    """What is wrong with committing now."""
    if not is_half_merged(repository):
        return []
    what = "a merge without a commit was stopped half-way: what is staged would be committed as no merge"
    if not (damaged := _damaged(repository)):
        return [ThetaError(what, "git theta merge --abort")]
    what = "git-theta's record of a merge without a commit is damaged: what is staged can be half of that"
    return [
        ThetaError(what, f"git theta merge --abort, or to keep what is staged: rm -f {word(str(damaged))}")
    ]


def _damaged(repository: Repository) -> Path | None:
    return _records.damaged(repository, lambda: [""]).get("")
