"""Which of Git's operations is under way, what its sides are called, and how it goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from git_theta.git.favoured_side import Favoured, favoured_side
from git_theta.git.repository import Repository

MERGE = "MERGE_HEAD"
HEADS = (MERGE, "CHERRY_PICK_HEAD", "REVERT_HEAD")
"""What Git calls the commit that is merged, picked or reverted until that is finished."""
OTHERS = (*HEADS, "REBASE_HEAD")
"""The same with what a rebase has stopped at: the other side of a conflict."""
_REBASES = ("rebase-merge", "rebase-apply")
_GITHEAD = "GITHEAD_"
_SHORT = 10


@dataclass(frozen=True)
class Operation:
    """What Git does while it merges files.

    Attributes:
        ours, theirs: what the sides are called.
        finish: the command that ends it once conflicts are resolved.
        favoured: the side to take where both have changed something: git's -X.
        applies: whether a change is applied to ours, rather than two lines of work joined.
    """

    ours: str
    theirs: str
    finish: str
    favoured: Favoured = ""
    applies: bool = False


def from_command(repository: Repository, command: Sequence[str]) -> Operation:
    """What the git command that has called a merge driver does.

    While drivers run, MERGE_HEAD and its like are not there yet.

    Args:
        command: subcommand and arguments; see callers.
    """
    name, favoured = command[0] if command else "", favoured_side(repository, command)
    if name == "rebase" or (name == "am" and rebasing(repository)):
        sides = "the new base", _rebased_branch(repository)
        return Operation(*sides, "git rebase --continue", favoured, applies=not _rebases_merge(repository))
    if name in _OTHERS:
        return Operation(repository.branch or "HEAD", *_OTHERS[name], favoured, applies=True)
    heads = list(merged_heads().values())
    theirs = heads[0] if len(heads) == 1 else "theirs"
    if len(theirs) >= 40 and not theirs.strip("0123456789abcdef"):
        theirs = theirs[:_SHORT]
    ours = (repository.branch or "HEAD") if heads else "ours"
    return Operation(ours, theirs, how_to_finish(repository), favoured, applies=name in _ALSO_APPLY)


def applies(repository: Repository) -> bool:
    """Whether the operation that is under way applies changes, or has left those of one that does."""
    return not any((repository.git_dir / name).exists() for name in (MERGE, "SQUASH_MSG"))


def merged_heads() -> dict[str, str]:
    """The commits that the git merge (or pull) that has called us merges, and what the user calls them."""
    return {
        key.removeprefix(_GITHEAD): value
        for key, value in os.environ.items()
        if re.fullmatch(_GITHEAD + "(?:[0-9a-f]{40}|[0-9a-f]{64})", key)
    }


def head_after(repository: Repository, command: Sequence[str]) -> str:
    """The commit that HEAD is on once the git command that merges files has ended, or has met a conflict.

    Only `git checkout -m COMMIT` and `git switch -m COMMIT` move it after a conflict.
    """
    if command[:1] in (["checkout"], ["switch"]):
        for argument in reversed(command[1:]):
            names = [] if argument.startswith("-") and argument != "-" else [argument, f"origin/{argument}"]
            for name in ("@{-1}" if name == "-" else name for name in names):
                if commit := repository.commit_of(name):
                    return commit
    return repository.head


def how_to_finish(repository: Repository) -> str:
    """What to type once all conflicts of the operation that is under way are resolved."""
    if _applying(repository):
        return "git am --continue"
    if rebasing(repository):
        return "git rebase --continue"
    for head, command in (("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        if (repository.git_dir / head).exists():
            return f"git {command} --continue"
    return "git commit"


def how_to_abort(repository: Repository) -> str:
    """What to type to give up the operation that is under way, or conflicts that another command has left."""
    if _applying(repository):
        return "git am --abort"
    if rebasing(repository):
        return "git rebase --abort"
    for head, command in (("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        if (repository.git_dir / head).exists():
            return f"git {command} --abort"
    return "git theta merge --abort" if merging(repository) else "git reset --merge"


def merging(repository: Repository) -> list[str]:
    """The commits that a merge waits to be finished of, besides HEAD's; none if there is no such merge."""
    with suppress(OSError):
        return (repository.git_dir / MERGE).read_text(errors="replace").split()
    return []


def other_head(repository: Repository) -> str:
    """What Git calls the commit on the other side of conflicts; "" where none is known."""
    return next((name for name in OTHERS if repository.oid(name)), "")


def under_way(repository: Repository) -> bool:
    """Whether a merge, a rebase, a cherry-pick or a revert waits to be finished."""
    return rebasing(repository) or any((repository.git_dir / head).exists() for head in HEADS)


def rebasing(repository: Repository) -> bool:
    """Whether a rebase, or git am, waits to be finished."""
    return any((repository.git_dir / folder).is_dir() for folder in _REBASES)


def _rebases_merge(repository: Repository) -> bool:
    """Whether the step that `git rebase --rebase-merges` is at makes a merge again."""
    with suppress(OSError):
        done = (repository.git_dir / "rebase-merge" / "done").read_text(errors="replace").split("\n")
        return next((line for line in reversed(done) if line.strip()), "").split()[:1] in (["merge"], ["m"])
    return False


def _applying(repository: Repository) -> bool:
    """Whether git am is under way; `git rebase --apply` uses the same folder."""
    return (repository.git_dir / "rebase-apply" / "applying").exists()


def _rebased_branch(repository: Repository) -> str:
    for folder in _REBASES:
        with suppress(OSError):
            return _short(
                (repository.git_dir / folder / "head-name").read_text(errors="surrogateescape").rstrip("\n")
            )
    return "the rebased commit"


def _short(name: str) -> str:
    return name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else Path(name).name


_ALSO_APPLY = ("apply", "checkout", "switch", "restore", "replay")
"""Besides these: patches, and local changes that go along to another commit."""

_OTHERS = {
    "cherry-pick": ("the picked commit", "git cherry-pick --continue"),
    "revert": ("the state before the reverted commit", "git revert --continue"),
    "stash": ("the stash", "git stash drop"),
    "am": ("the patch", "git am --continue"),
}
