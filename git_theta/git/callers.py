"""Which git command has started us.

The first ancestor that is a git with a subcommand other than ours. Shells and programs that only start
another one may stand between, but nothing else: what people and programs start from a pager, an editor or a
terminal is no business of the git that has started that.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TAKES_VALUE = {
    "-C",
    "-c",
    "--git-dir",
    "--work-tree",
    "--namespace",
    "--super-prefix",
    "--config-env",
    "--attr-source",
    "--exec-path",
}
_LOOKS_ONLY = {
    "status",
    "diff",
    "diff-files",
    "diff-index",
    "blame",
    "annotate",
    "show",
    "log",
    "whatchanged",
}
_STORES = {"add", "stage", "commit", "stash", "update-index", "hash-object"}
_SHOWS = {"diff", "log", "show", "whatchanged", "blame", "annotate", "range-diff", "format-patch"}
_PLUMBING = {"diff-files", "diff-index"}
_HELPED = {("diff", "difftool"), ("reset", "worktree"), ("update-index", "stash")}
_COMMIT_VALUES = {
    "--message",
    "--file",
    "--author",
    "--date",
    "--template",
    "--cleanup",
    "--trailer",
    "--fixup",
}
_COMMIT_VALUES |= {"--squash", "--reuse-message", "--reedit-message"}
_COMMIT_LETTERS = "mFCct"  # take a value
_PICKS = {"-p", "--patch", "-i", "--interactive"}
_MERGES = re.compile(r"-[a-zA-Z]*m|--merge\Z|--conflict\b")
_DRY_RUN = re.compile(r"-[a-zA-Z]*n|--dry(-(r(un?)?)?)?\Z")
_BETWEEN = {
    *("sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "mksh", "fish"),
    *("env", "nice", "ionice", "nohup", "setsid", "stdbuf", "taskset", "time", "timeout", "chrt", "strace"),
    *("uv", "uvx", "pipx", "conda", "mamba", "micromamba", "mise", "direnv", "sudo", "doas"),
}
_HIGHEST = 12  # ancestors looked at


@dataclass(frozen=True)
class Caller:
    """A git process that has called us.

    Attributes:
        command: its subcommand and arguments; empty if there is none to be found.
        process: its number.
    """

    command: list[str] = field(default_factory=list)
    process: int = 0


def calling_command() -> list[str]:
    """The calling git's subcommand and its arguments; empty if there is none to be found."""
    return caller().command


def caller() -> Caller:
    """The git command that the filter works for."""
    return responsible(list(_git_ancestors()))


def is_quiet(command: Sequence[str]) -> bool:
    """Whether a git command was asked to show no progress."""
    return any(word == "--quiet" or word.startswith("-q") for word in command)


def merging_command() -> list[str]:
    """The git command that a merge driver works for; empty if there is none to be found."""
    return merges([caller.command for caller in _git_ancestors()])


def merges(commands: Sequence[list[str]]) -> list[str]:
    """Which of the git commands that called each other, the last one first, is the one that a user merges by.

    From Git 2.55 on, `git checkout -m` and `git switch -m` let `git stash apply` merge.
    """
    if not commands:
        return []
    first, *outer = commands
    moved = outer and first[0] == "stash" and outer[0][0] in ("checkout", "switch")
    return outer[0] if moved else first


def responsible(callers: Sequence[Caller]) -> Caller:
    """Which of the git commands that called each other, the last one first, the filter works for.

    `git add -p` and its like let `git diff-files` show hunks, and then store what it was shown;
    `git difftool` lets `git diff` make the files that a tool is then given; `git worktree add` lets
    `git reset` write the files of the new work tree; `git stash` lets `git update-index` store them.
    """
    if not callers:
        return Caller()
    first, *outer = callers
    if outer and first.command[0] in _PLUMBING and _PICKS & set(outer[0].command):
        return outer[0]
    if outer and (first.command[0], outer[0].command[0]) in _HELPED:
        return outer[0]
    return first


def _git_ancestors() -> Iterator[Caller]:
    """The git processes above us that have a subcommand, but for our own."""
    process = os.getppid()
    for _ in range(_HIGHEST):
        if process <= 1:
            break
        arguments, parent = _process(process)
        found = git_command(arguments)
        if found and found[0] not in ("theta", "filter-process"):
            yield Caller(found, process)
        elif not found and not _passes_on(arguments):
            break
        process = parent


def _passes_on(arguments: Sequence[str]) -> bool:
    """Whether a process between git and us is one that git starts helpers through, such as a shell."""
    names = [Path(word).name.lstrip("-").removesuffix(".exe") for word in arguments[:2]]
    scripted = len(names) > 1 and names[1].startswith("git-")  # git's own in Perl or Python, and git-theta
    return not names or names[0] in {"git", *_BETWEEN} or names[0].startswith("git-") or scripted


def git_command(arguments: Sequence[str]) -> list[str]:
    """Subcommand and arguments of a command line, if it is git's; else nothing."""
    if not arguments:
        return []
    program = Path(arguments[0]).name.removesuffix(".exe")
    if program.startswith("git-") and program != "git-theta":
        return [program.removeprefix("git-"), *arguments[1:]]
    if program != "git":
        return []
    rest = list(arguments[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _TAKES_VALUE and rest:
            rest.pop(0)
    return rest


def looks(command: Sequence[str]) -> bool:
    """Whether a git command only looks at files: it stores nothing of what it cleans."""
    return bool(command) and (command[0] in _LOOKS_ONLY or _only_pretends(command))


def _only_pretends(command: Sequence[str]) -> bool:
    """Whether this is `git add --dry-run`."""
    options = list(command[1:])
    if "--" in options:
        del options[options.index("--") :]
    return command[0] in ("add", "stage") and any(map(_DRY_RUN.match, options))


def may_store(command: Sequence[str]) -> bool:
    """Whether what this git command cleans may be kept; the others ask whether a file is as Git has it."""
    return not command or command[0] in _STORES


def adopts(command: Sequence[str]) -> bool:
    """Whether what a git command cleans is meant for a commit, and not for a stash or a choice of hunks."""
    if not may_store(command) or command[:1] == ["stash"] or _PICKS & set(command):
        return False
    return command[:1] != ["commit"] or _names_files(command[1:])


def _names_files(arguments: Sequence[str]) -> bool:
    """Whether `git commit` takes files of the work tree, and not only what is staged; in doubt it does."""
    left = iter(arguments)
    for argument in left:
        if argument.startswith("--"):
            if argument in _COMMIT_VALUES:
                next(left, None)
            elif argument in ("--", "--all", "--include", "--only") or argument.startswith("--pathspec"):
                return True
            continue
        if not argument.startswith("-"):
            return True
        letters = argument[1:]
        value = next(
            (place for place, letter in enumerate(letters) if letter in _COMMIT_LETTERS), len(letters)
        )
        if set(letters[:value]) & set("aio"):
            return True
        if value == len(letters) - 1:
            next(left, None)
    return False


def makes_conflicts_again(command: Sequence[str]) -> bool:
    """Whether git puts conflicts back: it crashes (2.39) if the filter then delays a file."""
    if not command or command[0] not in ("checkout", "restore", "switch"):
        return False
    return any(_MERGES.match(option) for option in command[1:])


def wants_manifests(command: Sequence[str]) -> bool:
    """Whether this git command shows differences, for which the manifest is enough."""
    if not command:
        return False
    name, options = command[0], set(command[1:])
    if name in ("commit", "status"):
        return bool({"-v", "--verbose", "-vv"} & options)
    if name == "stash":
        return "show" in command[1:2]
    if name in ("cat-file", "grep"):
        return "--textconv" in options
    return name in _SHOWS


def _process(number: int) -> tuple[list[str], int]:
    """Command line and parent of a process; empty and 0 where the system does not tell."""
    try:
        raw = Path(f"/proc/{number}/cmdline").read_bytes()
        status = Path(f"/proc/{number}/stat").read_text()
        return [os.fsdecode(a) for a in raw.split(b"\0")[:-1]], int(status.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        pass
    done = subprocess.run(
        ["ps", "-o", "ppid=,args=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    fields = done.stdout.split()
    return (fields[1:], int(fields[0])) if len(fields) > 1 and fields[0].isdigit() else ([], 0)
