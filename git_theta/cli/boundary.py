"""What users see when something goes wrong: the one place where exceptions end."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from git_theta import __version__
from git_theta.errors import ThetaError, too_little_memory
from git_theta.terminal.showing import printable, redacted

INTERRUPTED = 130
UNEXPECTED = 3
_KEPT_LOGS = 20


def report(error: BaseException) -> int:
    """Tell the user about an error, and return the exit code.

    With GIT_THETA_TRACE=1 the traceback is shown too.
    """
    if os.environ.get("GIT_THETA_TRACE", "0") not in ("", "0"):
        traceback.print_exception(error)
    error = too_little_memory(error) or error
    if isinstance(error, ThetaError):
        _say("error", error.message)
        if error.remedy:
            _say("hint", error.remedy)
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        from git_theta.terminal import screen

        screen.discard()
        return 1
    if isinstance(error, OSError) and error.filename is not None:
        return report(_of_system(error))
    return _unexpected(error)


def _of_system(error: OSError) -> ThetaError:
    """The error for a file that the system does not let us use: a folder, not ours to read, a full disk."""
    name = printable(os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file")
    return ThetaError(
        f"{name}: {error.strerror or error}",
        "see that it is there, and can be read and written; then type the command again",
    )


def _unexpected(error: BaseException) -> int:
    text = "".join(traceback.format_exception(error))
    log = _write_log(f"{versions()}\n{' '.join(sys.argv)}\n\n{text}")
    _say("error", f"git-theta met something it did not expect: {type(error).__name__}: {error}")
    if log is None:
        _say("hint", "the same command with GIT_THETA_TRACE=1 shows where")
    else:
        _say("hint", f"please report it with the log: {log}")
    return UNEXPECTED


def versions() -> str:
    """The versions that a report of a bug needs, in one line."""
    return (
        f"git-theta/{__version__} ({platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}; {_git_version()})"
    )


def _git_version() -> str:
    from git_theta.git.version import git_version

    try:
        return f"git {git_version()}"
    except ThetaError:
        return "no git"


def _write_log(text: str) -> Path | None:
    """Keep a text under theta/log of the repository, else in the user's cache."""
    from git_theta import files
    from git_theta.git.repository import Repository

    repository = Repository.here_if_any()
    places = [repository.theta / "log"] if repository is not None else []
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    places.append(Path(cache).expanduser() / "git-theta" / "log")
    for place in places:
        with suppress(ThetaError, OSError):
            log = place.absolute() / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
            files.replace(log, redacted(text).encode(errors="backslashreplace"))
            for old in sorted(place.glob("[0-9]*-[0-9]*-[0-9]*.txt"))[:-_KEPT_LOGS]:
                files.remove(old)
            return log
    return None


def _say(kind: str, text: str) -> None:
    from git_theta.cli.console import style

    said = style(f"{kind}:", "red" if kind == "error" else "yellow", stream=sys.stderr)
    print(said, text, file=sys.stderr, flush=True)
