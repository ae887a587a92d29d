"""The git command that a failing smudge has interrupted, and how to get back from where it stopped.

Git stops half-way, and each command leaves another mess. Files that it has just made are not in the index
yet: `git reset --hard` leaves them, and they are in the way of the next attempt. Going to the commit that
they come from, with manifests in place of checkpoints, and back again removes them. That needs no data, and
leaves files alone that the user never added.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import DamagedManifest, ThetaError, UnstoredManifest
from git_theta.git.operation import merged_heads
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.remotes.advice import Advice, advice
from git_theta.terminal.showing import pathspec, word
from git_theta.versions.recovery import named

_MOVES = {"checkout", "switch", "merge", "pull", "rebase", "cherry-pick", "revert", "stash", "am"}
_NEW_BRANCH = {"-b", "-B", "-c", "-C", "--orphan"}
_ABORT_REBASE = "git -c theta.skipMissing=true rebase --abort"  # the branch may have what was missing
_STATES = {  # kept from step to step, and what ends them
    "rebase-merge": _ABORT_REBASE,
    "rebase-apply/rebasing": _ABORT_REBASE,
    "rebase-apply/applying": "git am --abort",
    "sequencer": "git {command} --abort",
}
_PATCHES = {"am", "apply"}  # what they bring is in no commit that objects could be fetched for
_STEPS = ("rebase-merge/done", "sequencer/todo")
_SHORT = 12  # hexadecimal digits of a commit


@dataclass(frozen=True)
class Interrupted:
    """A git command that a failing smudge has interrupted.

    Attributes:
        command: its subcommand and arguments; empty if they are unknown.
        bring: what brings objects that are missing.
        back: the commands that bring back the work tree as it was, whatever is missing; none where git was
            only writing some files, which it can write again.
        leaves: whether new files may still be there then.
        target: the commit whose files git was writing, if that is known.
    """

    command: Sequence[str]
    bring: Advice
    back: Sequence[str] = ()
    leaves: bool = False
    target: str = ""

    def fetch(self) -> str:
        """What brings objects that are missing, if it needs more than to look for them again."""
        return self.bring.mend if _name(self.command) in _PATCHES else self.bring.here

    def again(self) -> list[str]:
        """The command itself, as one can type it."""
        if not self.command:
            return []
        if self.command[0] == "clone":
            return ["git reset --hard"]
        through_pipe = _name(self.command) in _PATCHES and not _plain(self.command)
        return [f"git {' '.join(map(word, self.command))}" + (" < PATCHES" if through_pipe else "")]


def interrupted(repository: Repository, command: Sequence[str], treeish: str) -> Interrupted:
    """What can be known of the command that has just failed.

    Args:
        treeish: the commit that git has told the filter, if it has.
    """
    name = _name(command)
    if name == "apply":
        return Interrupted(command, advice(repository), _unpatch(repository, command, "git checkout -f --"))
    if name not in _MOVES or (name in ("checkout", "switch") and not _goes_to_commit(repository, command)):
        return Interrupted(command, advice(repository, treeish[:_SHORT]))
    ends = [
        end.format(command=name) for state, end in _STATES.items() if (repository.git_dir / state).exists()
    ]
    if name == "am":
        return Interrupted(command, advice(repository), [*_unpatch(repository, command), *ends])
    spelled = [_previous(repository) if argument == "-" else argument for argument in command]
    target = _target(repository, spelled, treeish)
    back = _by_way_of(target) if target else ["git reset --hard"]
    return Interrupted(spelled, advice(repository, target), [*back, *ends], not target, target)


def _by_way_of(target: str) -> list[str]:
    """The commands that undo a half-written checkout: finish it with manifests only, then switch back."""
    return [
        f"git -c theta.skipSmudge=true checkout -f --detach {word(target)}",
        "git -c theta.skipMissing=true checkout -f -",
    ]


def _unpatch(repository: Repository, command: Sequence[str], restore: str = "") -> list[str]:
    """The commands that undo a half-applied patch, of which Git's index knows nothing yet.

    Args:
        restore: what brings back files, whose names follow; unless given, all files are.
    """
    patch = repository.git_dir.absolute() / "rebase-apply" / "patch"
    patches = command[1:] if restore else [str(patch)]
    listed = repository.run("apply", "--numstat", "-z", *patches).stdout.split(b"\0")
    paths = [os.fsdecode(row.split(b"\t", 2)[2]) for row in listed if row.count(b"\t") > 1]
    known = {entry.path for entry in repository.index_entries(*map(literally, paths))} if paths else set()
    top = repository.work_tree
    old = [str(top / path) for path in paths if path in known]
    new = [str(top / path) for path in paths if path not in known and (top / path).exists()]
    back = [] if restore else ["git reset --hard"]
    if restore and old:
        back.append(f"{restore} {' '.join(map(pathspec, old))}")
    return [*back, f"rm -f -- {' '.join(map(word, new))}"] if new else back


def _name(command: Sequence[str]) -> str:
    return command[0] if command else ""


def _plain(command: Sequence[str]) -> list[str]:
    """The arguments of a command that are no options."""
    return [argument for argument in command[1:] if not argument.startswith("-")]


def _target(repository: Repository, command: Sequence[str], treeish: str) -> str:
    plain = _plain(command)
    if command[0] == "stash":
        which = plain[1] if len(plain) > 1 else "0"
        return f"stash@{{{which}}}" if which.isdigit() else which
    if treeish:
        return treeish[:_SHORT]
    merged = list(merged_heads())
    if command[0] in ("merge", "pull"):
        return merged[0][:_SHORT] if len(merged) == 1 else ""
    commit = _step(repository.git_dir) or (plain[-1] if plain else "")
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
    # git checkout BRANCH makes a branch that only the remote has.
    return any(repository.commit_of(prefix + name) for prefix in ("", "origin/"))


def _previous(repository: Repository) -> str:
    """The branch or commit that `-` means now: on the way back it will mean another one."""
    name = os.fsdecode(repository.run("rev-parse", "-q", "--abbrev-ref", "@{-1}").stdout).rstrip("\n")
    return name if name not in ("", "HEAD") else repository.oid("@{-1}") or "-"


def _is_beyond_repair(error: ThetaError) -> bool:
    """Whether no data help to write a file, because the manifest itself is damaged."""
    return isinstance(error, DamagedManifest) and not (error.remedy or isinstance(error, UnstoredManifest))


def _without(repository: Repository, damaged: Sequence[str], what: Interrupted) -> list[str]:
    """The same command with manifests in place of checkpoints, then whole versions of these paths."""
    from git_theta.versions import misplaced  # only where something is wrong

    skipping = [f"git -c theta.skipSmudge=true{command.removeprefix('git')}" for command in what.again()]
    restored = filter(None, (misplaced.restored(repository, path, what.target or "HEAD") for path in damaged))
    return [*skipping, *restored, "git theta pull"]


def advised(repository: Repository, failures: Mapping[str, ThetaError], what: Interrupted) -> ThetaError:
    """One error for all files that could not be written, with the way back and the way on."""
    errors = [named(pathname, error) for pathname, error in failures.items()]
    mend = list(dict.fromkeys(error.remedy for error in errors if error.remedy))
    damaged = [path for path, error in failures.items() if _is_beyond_repair(error)]
    bring = not mend and len(damaged) < len(failures)
    there = what.bring.in_other_clone if bring else ""
    again = _without(repository, damaged, what) if damaged else what.again()
    on = "; ".join(filter(None, [*mend, *([what.fetch()] if bring else []), *again]))
    if not what.back:
        cloned = f"cd {word(str(Path.cwd()))}; " if what.command[:1] == ["clone"] else ""
        lines = [there, f"then type: {cloned}{on}"]
    else:
        back = "; ".join(what.back)
        files = " (and remove the new files that git status lists)" if what.leaves else ""
        lost = f"to go back (uncommitted changes are lost){files}: {back}"
        lines = [lost, there, f"to try again then: {on}"]
    return ThetaError("\n".join(error.message for error in errors), "\n  ".join(filter(None, lines)))
