"""The diff driver: what `git diff` runs for a file with `diff=theta`. Protocol: git(1), GIT_EXTERNAL_DIFF.

Git calls it with 7 arguments, with 9 where a file has moved or two files are compared, and with the path
alone while there is a conflict. Both sides come as files, as blobs, or as both; blobs say the truth: a file
can be the checkpoint that its blob is the manifest of.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.diffs import table
from git_theta.drivers.purpose import is_for_keeps, names_file, output_is_file, output_is_kept
from git_theta.errors import ThetaError
from git_theta.git import callers
from git_theta.git.callers import Caller
from git_theta.git.repository import Repository
from git_theta.terminal import screen
from git_theta.terminal.showing import operand, word
from git_theta.terminal.style import Style
from git_theta.versions.comparison import Question, compare
from git_theta.versions.places import Place, mode_lines

_NO_FILE = "."
_SHORT = 10  # digits of an oid that are shown


@dataclass(frozen=True)
class Call:
    """What git asks: two places, or for an unmerged path only its name.

    Attributes:
        header: lines to show above the difference.
        said: those of them that git has given, of renames for one.
    """

    path: str
    old: Place
    new: Place
    header: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> Call:
    """Read the arguments that git gives.

    Raises:
        ThetaError: they are not git's.
    """
    if len(arguments) == 1:
        return Call(arguments[0], Place(arguments[0]), Place(arguments[0]))
    if len(arguments) not in (7, 9):
        raise ThetaError(
            f"git calls this with 1, 7 or 9 arguments, not with {len(arguments)}",
            "git diff, or git theta diff",
        )
    path, old_file, old_hex, old_mode, new_file, new_hex, new_mode = arguments[:7]
    new_path = arguments[7] if len(arguments) == 9 else path
    said = arguments[8].splitlines() if len(arguments) == 9 else []
    old = _place(path, old_file, old_hex, old_mode)
    new = _place(new_path if new_path != os.devnull else path, new_file, new_hex, new_mode)
    header = [*mode_lines(old.mode, new.mode), *(line for line in said if not line.startswith("index "))]
    return Call(new.path, old, new, tuple(header), tuple(said))


def run(arguments: Sequence[str]) -> None:
    """Show one difference on standard output.

    Whatever cannot be compared is told there too: an error would stop git at this file. When nobody reads any
    more, the user has left the pager, and git finds out by itself.
    """
    call = parse(arguments)
    if not screen.is_read():
        return
    repository = Repository.here_if_any()
    caller = callers.caller()
    if names_file(caller.command):
        name, *options = caller.command
        raise ThetaError(
            "git does not let diff drivers write to the file that --output names",
            f"git {name} --no-ext-diff {' '.join(map(word, options))}",
        )
    style = screen.style(caller.command)
    try:
        with screen.Output() as output:
            if not is_for_keeps(caller.command) or not _is_of_repository(call):
                output.write(_text(repository, call, style))
            if repository is not None and _is_of_repository(call):
                output.write_bytes(_patch(repository, call, caller, style))
    except BrokenPipeError:
        screen.discard()
    if repository is not None:
        repository.close()


def _text(repository: Repository | None, call: Call, style: Style) -> str:
    try:
        if not call.old.mode and not call.new.mode:
            if repository is None:
                raise ThetaError("there is no repository here")
            from git_theta.merging import conflict_view

            return conflict_view.render(repository, call.path, style)
        report = compare(repository, call.old, call.new, Question(), header=call.header)
        return table.render(report, style, hint=_hint(call))
    except ThetaError as error:
        return screen.failed(call.path, error, style)


def _is_of_repository(call: Call) -> bool:
    """Whether this is about versions in Git or the work tree, not about an open conflict or --no-index."""
    return bool(call.old.oid or call.new.oid) or bool(call.old.mode) != bool(call.new.mode)


def _patch(repository: Repository, call: Call, caller: Caller, style: Style) -> bytes:
    """What makes the output a patch, where it is not only for the eyes; see drivers.patches."""
    kept = output_is_kept(caller.process) and (not style.colour or output_is_file(caller.process))
    if not kept and not is_for_keeps(caller.command):
        return b""
    from git_theta.drivers.patches import patch

    return patch(repository, call.old, call.new, call.said, caller)


def _place(path: str, file: str, oid: str, mode: str) -> Place:
    if mode == _NO_FILE or file == os.devnull:
        return Place(path)
    known = oid.strip("0")
    return Place(path, mode, oid if known else "", Path(file), oid[:_SHORT] if known else "work tree")


def _hint(call: Call) -> str:
    """The command that shows every row of this difference."""
    names = [operand(_name(place)) for place in (call.old, call.new) if place.mode]
    if len(names) == 1:
        return f"git theta show {names[0]}"
    if not call.old.oid and not call.new.oid:
        names.insert(0, "--no-index")
    return f"git theta diff --all {' '.join(names)}"


def _name(place: Place) -> str:
    """What to type for a place, in the folder where the user is."""
    if place.oid or Path(place.path).is_absolute():
        return place.label if place.oid else place.path
    return os.path.relpath(place.path, os.environ.get("GIT_PREFIX") or ".")
