"""Which of Git's operations is under way, what its sides are called, and how it goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from git_theta.git.repository import Repository

_HEADS = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
_REBASES = ("rebase-merge", "rebase-apply")
_SHORT = 10


@dataclass(frozen=True)
class Operation:
    """What Git does while it merges files.

    Attributes:
        ours, theirs: what the sides are called.
        finish: the command that ends it once conflicts are resolved.
    """

    ours: str
    theirs: str
    finish: str


def from_command(repository: Repository, command: Sequence[str]) -> Operation:
    """What the git command that has called a merge driver does.

    While drivers run, MERGE_HEAD and its like are not there yet.

    Args:
        command: subcommand and arguments; see callers.
    """
    name = command[0] if command else ""
    if name == "rebase" or (name == "am" and _rebasing(repository)):
        return Operation("the new base", _rebased_branch(repository), "git rebase --continue")
    if name in _OTHERS:
        return Operation(_branch(repository), *_OTHERS[name])
    heads = [value for key, value in os.environ.items() if key.startswith("GITHEAD_")]
    theirs = heads[0] if len(heads) == 1 else "theirs"
    if len(theirs) >= 40 and not theirs.strip("0123456789abcdef"):
        theirs = theirs[:_SHORT]
    return Operation(_branch(repository) if heads else "ours", theirs, how_to_finish(repository))


def how_to_finish(repository: Repository) -> str:
    """What to type once all conflicts of the operation that is under way are resolved."""
    if _rebasing(repository):
        return "git rebase --continue"
    for head, command in (("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        if (repository.git_dir / head).exists():
            return f"git {command} --continue"
    return "git commit"


def how_to_abort(repository: Repository) -> str:
    """What to type to give up the operation that is under way, or conflicts that another command has left."""
    if _rebasing(repository):
        return "git rebase --abort"
    for head, command in (("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        if (repository.git_dir / head).exists():
            return f"git {command} --abort"
    return "git theta merge --abort" if (repository.git_dir / "MERGE_HEAD").exists() else "git reset --merge"


def under_way(repository: Repository) -> bool:
    """Whether a merge, a rebase, a cherry-pick or a revert waits to be finished."""
    return _rebasing(repository) or any((repository.git_dir / head).exists() for head in _HEADS)


def _rebasing(repository: Repository) -> bool:
    return any((repository.git_dir / folder).is_dir() for folder in _REBASES)


def _rebased_branch(repository: Repository) -> str:
    for folder in _REBASES:
        with suppress(OSError):
            return _short((repository.git_dir / folder / "head-name").read_text().strip())
    return "the rebased commit"


def _branch(repository: Repository) -> str:
    name = repository.run("symbolic-ref", "-q", "HEAD").stdout.decode(errors="replace").strip()
    return _short(name) if name else "HEAD"


def _short(name: str) -> str:
    return name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else Path(name).name


_OTHERS = {
    "cherry-pick": ("the picked commit", "git cherry-pick --continue"),
    "revert": ("the state before the reverted commit", "git revert --continue"),
    "stash": ("the stash", "git stash drop"),
    "am": ("the patch", "git am --continue"),
}
