"""The git command that a failing smudge has interrupted, and how to get back from where it stopped.

Git stops half-way, and each command leaves another mess. Files that it has just made are not in the index
yet: `git reset --hard` leaves them, and they are in the way of the next attempt. Going to the commit that
they come from, with manifests in place of checkpoints, and back again removes them. That needs no data, and
leaves files alone that the user never added.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.git.advice import Advice, advice
from git_theta.git.operation import merged_heads
from git_theta.git.repository import Repository

_MOVES = {"checkout", "switch", "merge", "pull", "rebase", "cherry-pick", "revert", "stash", "am"}
_NEW_BRANCH = {"-b", "-B", "-c", "-C", "--orphan"}
_ABORT_REBASE = "git -c theta.skipMissing=true rebase --abort"  # the branch may have what was missing
_STATES = {  # kept from step to step, and what ends them
    "rebase-merge": _ABORT_REBASE,
    "rebase-apply": _ABORT_REBASE,
    "sequencer": "git {command} --abort",
}
_STEPS = ("rebase-merge/done", "sequencer/todo")
_SHORT = 12  # hexadecimal digits of a commit


@dataclass(frozen=True)
class Interrupted:
    """A git command that a failing smudge has interrupted.

    Attributes:
        command: its subcommand and arguments; empty if they are unknown.
        target: the commit whose files it was writing, as one can type it; empty if it is unknown.
        bring: what brings objects that are missing.
        moves: whether it was taking the work tree to another commit, not only writing some files.
        ends: the commands that end what is left of it.
    """

    command: Sequence[str]
    target: str
    bring: Advice
    moves: bool = False
    ends: Sequence[str] = ()

    def way_back(self) -> list[str]:
        """The commands that bring back the work tree as it was committed, whatever is missing."""
        if not self.target:
            return ["git reset --hard", *self.ends]
        there = shlex.quote(self.target)
        return [
            f"git -c theta.skipSmudge=true checkout -f --detach {there}",
            "git -c theta.skipMissing=true checkout -f -",
            *self.ends,
        ]

    def again(self) -> list[str]:
        """The command itself, as one can type it."""
        if not self.command:
            return []
        if self.command[0] == "clone":
            return ["git reset --hard"]
        return [f"git {shlex.join(self.command)}"]


def interrupted(repository: Repository, command: Sequence[str], treeish: str) -> Interrupted:
    """What can be known of the command that has just failed.

    Args:
        treeish: the commit that git has told the filter, if it has.
    """
    name = command[0] if command else ""
    if name not in _MOVES or (name in ("checkout", "switch") and not _goes_to_commit(repository, command)):
        target = treeish[:_SHORT]
        return Interrupted(command, target, advice(repository, target))
    ends = [
        end.format(command=name) for state, end in _STATES.items() if (repository.git_dir / state).exists()
    ]
    spelled = [_previous(repository) if argument == "-" else argument for argument in command]
    target = _target(repository, spelled, treeish)
    return Interrupted(spelled, target, advice(repository, target), True, ends)


def _target(repository: Repository, command: Sequence[str], treeish: str) -> str:
    plain = [argument for argument in command[1:] if not argument.startswith("-")]
    if command[0] == "stash":
        which = plain[1] if len(plain) > 1 else "0"
        return f"stash@{{{which}}}" if which.isdigit() else which
    if treeish:
        return treeish[:_SHORT]
    merged = list(merged_heads())
    if command[0] in ("merge", "pull"):
        return merged[0][:_SHORT] if len(merged) == 1 else ""
    commit = _step(repository.git_dir) or (plain[-1] if plain and command[0] != "am" else "")
    return f"{commit}^" if commit and command[0] == "revert" else commit


def _step(git_dir: Path) -> str:
    """The commit that a rebase or a series of picks is at; empty if there is none."""
    for name, line in zip(_STEPS, (-1, 0), strict=True):
        path = git_dir / name
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        if lines and len(fields := lines[line].split()) > 1:
            return fields[1][:_SHORT]
    return ""


def _goes_to_commit(repository: Repository, command: Sequence[str]) -> bool:
    """Whether a checkout changes commits; otherwise it writes the files that it names."""
    names = []
    arguments = iter(command[1:])
    for argument in arguments:
        if argument in _NEW_BRANCH:
            next(arguments, None)
        elif argument in ("--", "-p", "--patch"):
            return False
        elif argument == "-" or not argument.startswith("-"):
            names.append("@{-1}" if argument == "-" else argument)
    return all(_is_commit(repository, name) for name in names)


def _is_commit(repository: Repository, name: str) -> bool:
    for prefix in ("", "origin/"):  # git checkout BRANCH makes a branch that only the remote has
        done = repository.run("rev-parse", "-q", "--verify", "--end-of-options", f"{prefix}{name}^{{commit}}")
        if done.returncode == 0:
            return True
    return False


def _previous(repository: Repository) -> str:
    """The branch or commit that `-` means now: on the way back it will mean another one."""
    for option in ("--abbrev-ref", "--verify"):
        name = repository.run("rev-parse", "-q", option, "@{-1}").stdout.decode().strip()
        if name not in ("", "HEAD"):
            return name
    return "-"
