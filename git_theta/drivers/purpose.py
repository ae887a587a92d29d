"""Why Git cleans a file: to store the result, to show it once, or to write it into a patch that is kept.

Git cleans files also for commands that only look. What those are told need not be stored, and must not be
refused. But a look whose output is a patch can be all that is left of a file: pre-commit, lefthook and
lint-staged save unstaged changes that way, and people type `git diff > backup.patch`. What a patch names is
stored.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path

from git_theta.git.callers import Caller, looks

_PLUMBING = ("diff-files", "diff-index")
_SUMMARIES = (
    *("--raw", "--name-only", "--name-status", "--numstat", "--shortstat", "--summary", "--compact-summary"),
    *("--quiet", "--check", "-s", "--no-patch", "--cumulative"),
)
_PATCHES = (
    *("--patch", "--patch-with-raw", "--patch-with-stat", "--binary", "--unified", "--cc", "--output"),
    *("--word-diff", "--word-diff-regex", "--color-words", "--function-context"),
)
_PATCH_LETTERS = set("puUcW")  # options of one letter that ask for a patch, alone or among others
_FOR_KEEPS = ("--binary", "--output")
_PATIENCE = 1000  # times a millisecond
_WRITES = re.compile(rb"[>|]|\btee\b")  # in the command of a pager: what it shows can go elsewhere, too
_SHORTEST = 4  # characters of an abbreviated option that git takes: --b is ambiguous


class Purpose(Enum):
    """Why git wants a file cleaned."""

    LOOK = auto()  # surely nobody keeps the answer: store nothing, never refuse
    SHOW = auto()  # somebody can: store it whatever it is, where there is a store that can be written
    PATCH = auto()  # a patch to be applied later: store it whatever it is, or refuse
    STORE = auto()  # what is stored in Git


def purpose(caller: Caller) -> Purpose:
    """Why this git command cleans files."""
    command = caller.command
    if not looks(command):
        return Purpose.STORE
    if command[0] == "status":
        return Purpose.SHOW if _verbose(command) and output_is_kept(caller.process) else Purpose.LOOK
    if command[0] != "diff" and command[0] not in _PLUMBING:
        return Purpose.LOOK  # these show what is committed
    if not _prints_patch(command):
        return Purpose.LOOK
    if is_for_keeps(command):
        return Purpose.PATCH
    if not output_is_kept(caller.process):
        return Purpose.LOOK
    return Purpose.PATCH if command[0] in _PLUMBING else Purpose.SHOW


def wants_manifests_in_patch(caller: Caller) -> bool:
    """Whether the patch that a git command prints is to have what Git has, not what textconv makes of it.

    Without --no-ext-diff it is our own driver that writes files; what is in a pipe, graphical tools show.
    """
    if "--textconv" in caller.command:
        return False
    itself = caller.command[:1] == ["diff"] and "--no-ext-diff" in caller.command
    return is_for_keeps(caller.command) or (itself and output_is_file(caller.process))


def is_for_keeps(command: Sequence[str]) -> bool:
    """Whether a git command is asked for a patch that git apply can read, or for an output file."""
    return any(_is(option, wanted) for option in _options(command) for wanted in _FOR_KEEPS)


def names_file(command: Sequence[str]) -> bool:
    """Whether a git command is told a file to write to instead of its standard output."""
    return any(_is(option, "--output") for option in _options(command))


def output_is_file(process: int) -> bool:
    """Whether the standard output of a process is a regular file."""
    return Path(f"/proc/{process}/fd/1").is_file()


def output_is_kept(process: int) -> bool:
    """Whether the standard output of a process is neither a terminal, nor git's pager, nor nothing."""
    output = Path(f"/proc/{process}/fd/1")
    try:
        where = output.readlink()
        if where == Path(os.devnull):
            return False
        return not _is_terminal(output) and not _is_paged(process, where)
    except OSError:
        return True  # in doubt


def _is_terminal(output: Path) -> bool:
    """Whether an output of some process is a terminal. Raises OSError."""
    descriptor = os.open(output, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


def _is_paged(process: int, output: Path) -> bool:
    """Whether a process has started the pager that reads its output."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return False
    return any(_shows(child, output) for child in children)


def _shows(process: str, what: Path) -> bool:
    """Whether a process reads this, and only shows it: `cat > FILE` and `tee FILE` can be pagers, too."""
    itself = Path(f"/proc/{process}")
    try:
        if (itself / "fd/0").readlink() != what:
            return False
        # The command before its output: a shell redirects that, and then becomes the pager.
        command = _command_line(itself)
        return bool(command) and not _WRITES.search(command) and _is_terminal(itself / "fd/1")
    except OSError:
        return False


def _command_line(process: Path) -> bytes:
    """The command line of a process. While it becomes another program it has none, for a moment."""
    for _ in range(_PATIENCE):
        if command := (process / "cmdline").read_bytes():
            return command
        time.sleep(0.001)
    return b""


def _prints_patch(command: Sequence[str]) -> bool:
    """Whether a diff command can print a patch."""
    options = _options(command)
    if any(_asks_for_patch(option) for option in options):
        return True
    summary = any(o in _SUMMARIES or o.startswith(("--stat", "--dirstat")) for o in options)
    return command[0] not in _PLUMBING and not summary


def _asks_for_patch(option: str) -> bool:
    if option.startswith("--"):
        return any(_is(option, patch) for patch in _PATCHES)
    return bool(_PATCH_LETTERS & set(option))


def _is(option: str, name: str) -> bool:
    """Whether an option on a command line is the one of that name, also abbreviated or with a value."""
    given = option.partition("=")[0]
    return name.startswith(given) and len(given) >= _SHORTEST


def _verbose(command: Sequence[str]) -> bool:
    return any(o == "--verbose" or (o[:2] != "--" and "v" in o) for o in _options(command))


def _options(command: Sequence[str]) -> list[str]:
    """The options of a command, without its name and what stands behind `--`."""
    words = list(command[1:])
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word.startswith("-")]
