"""Which side the user has told git to take where both have changed something: `-X ours`, `-X theirs`.

Git keeps that to itself: a merge driver is not told. So it is read where git has it from: the command line
of the git that merges, `branch.<name>.mergeOptions`, and what a rebase or a sequence of picks has written
down to go on with. Ours is what git calls ours: in a rebase, the new base.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from git_theta.git.repository import Repository

Favoured = Literal["", "ours", "theirs"]

_OPTION = "strategy-option"
_SHORT = {"merge": "smFX", "cherry-pick": "mX", "revert": "mX", "merge-tree": "X"}
"""Options of one letter that take a value, of the commands that know -X; a rebase has it written down."""
_LONG = (_OPTION, "strategy", "message", "file", "into-name", "cleanup", "mainline", "empty", "merge-base")
_GO_ON = ("--continue", "--skip")
_REST = "S"  # its value, if any, is the rest of the word
_APPLY_SHORT = "pC"
_APPLY_LONG = ("exclude", "include", "whitespace", "directory", "build-fake-ancestor")


def favoured_side(repository: Repository, command: Sequence[str]) -> Favoured:
    """The side that is taken in this git command where both have changed something; "" for neither.

    Args:
        command: subcommand and arguments; see callers.
    """
    name = command[0] if command else ""
    if name == "rebase":
        return _last(_written_by_rebase(repository))
    if name == "apply":
        return _last(option for option, _ in _options(command[1:], _APPLY_SHORT, _APPLY_LONG))
    if name not in _SHORT:
        return ""
    typed = _strategy_options(command[1:], _SHORT[name])
    if name == "merge":
        return _last([*_strategy_options(_configured(repository), _SHORT[name]), *typed])
    goes_on = any(word in _GO_ON for word in command[1:])
    return _last(_written_by_sequence(repository) if goes_on else typed)


def _last(options: Iterable[str]) -> Favoured:
    """The last of them counts, as for git."""
    sides: list[Favoured] = ["ours", "theirs"]
    found: Favoured = ""
    for option in options:
        found = next((side for side in sides if side == option), found)
    return found


def _strategy_options(words: Sequence[str], letters: str) -> list[str]:
    return [value for name, value in _options(words, letters, _LONG) if name == _OPTION]


def _options(words: Sequence[str], letters: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options among the words of a command line: names, as far as git would know them, and values.

    Args:
        letters, names: those that take a value, which may look like an option itself.
    """
    rest = iter(words)
    for word in rest:
        if word == "--":
            return
        if word.startswith("--"):
            typed, equals, value = word[2:].partition("=")
            name = typed if typed in names else next((n for n in names if n.startswith(typed)), "")
            yield name or typed, value if equals or not name else next(rest, "")
        elif word.startswith("-"):
            for place, letter in enumerate(word[1:], 2):
                if letter in letters:
                    value = word[place:] or next(rest, "")
                    yield _OPTION if letter == "X" else letter, value
                if letter in letters + _REST:
                    break


def _configured(repository: Repository) -> list[str]:
    """The options that the current branch gives to every `git merge`."""
    branch = repository.branch
    return _split((branch and repository.config.get(f"branch.{branch}.mergeoptions")) or "")


def _written_by_rebase(repository: Repository) -> list[str]:
    file = repository.git_dir / "rebase-merge" / "strategy_opts"
    if not file.is_file():
        return []
    return [word.removeprefix("--") for word in _split(file.read_text(errors="replace"))]


def _written_by_sequence(repository: Repository) -> list[str]:
    """What a cherry-pick or a revert of several commits goes on with after a conflict."""
    file = repository.git_dir / "sequencer" / "opts"
    if not file.is_file():
        return []
    found = repository.run("config", "--file", str(file.absolute()), "--get-all", f"options.{_OPTION}")
    return found.stdout.decode(errors="replace").splitlines()


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []  # git has refused it, too
