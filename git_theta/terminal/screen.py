"""What a command prints to: colour, width and pager, as git's own commands have them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO

from git_theta.errors import ThetaError
from git_theta.terminal.showing import encoding, painted, printable, shown
from git_theta.terminal.style import Style

_WIDTH = 80
_COLOURED = {"--color": "always", "--color=always": "always", "--color=auto": "auto"}
_PLAIN = {"--no-color": "never", "--color=never": "never"}


def style(command: Sequence[str] = ()) -> Style:
    """How to write to standard output.

    An option of the calling git command goes before NO_COLOR, and that before git's configuration
    (color.diff, color.ui).

    Args:
        command: that command's arguments; see callers.calling_command.
    """
    return Style(_width(), _coloured(command), "utf" in encoding(sys.stdout).lower())


def _coloured(command: Sequence[str]) -> bool:
    asked = ""
    for argument in command:
        if argument == "--":
            break
        asked = (_COLOURED | _PLAIN).get(argument, asked)
    if asked in ("always", "never"):
        return asked == "always"
    if os.environ.get("NO_COLOR"):
        return False
    environment = dict(os.environ)
    if paged_by_git() and _configured("--type=bool", "color.pager") == "false":
        del environment["GIT_PAGER_IN_USE"]  # the next question takes it for a terminal
    terminal = str(sys.stdout.isatty()).lower()
    return _configured("--get-colorbool", "color.diff", terminal, environment=environment) == "true"


def _configured(*question: str, environment: Mapping[str, str] | None = None) -> str:
    """What git's configuration says; "" where it says nothing."""
    with suppress(OSError):
        asked = ["git", "config", *question]
        return subprocess.run(asked, capture_output=True, text=True, env=environment).stdout.strip()
    return ""


def _width() -> int:
    """Columns of the terminal; git sets COLUMNS for those whose output it pages."""
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", ""))) > 0:
            return columns
    with suppress(OSError, ValueError):
        if (columns := os.get_terminal_size(sys.stdout.fileno()).columns) > 0:
            return columns
    return _WIDTH


def paged_by_git() -> bool:
    """Whether standard output is a pager that git has started."""
    return os.environ.get("GIT_PAGER_IN_USE", "").lower() in ("1", "true", "yes", "on")


def is_read() -> bool:
    """Whether standard output still has a reader, as far as the system tells."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not any(events & select.POLLERR for _, events in poll.poll(0))


def discard() -> None:
    """Drop what Python still buffers for standard output, which nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failed(path: str, error: ThetaError, style: Style) -> str:
    """What to show in place of a comparison that is not possible."""
    lines = [
        style.paint(f"diff --theta {printable(path)}", "1"),
        "  " + style.paint(f"! {error.message}", "33"),
    ]
    return "\n".join(lines + ([f"  {shown(error.remedy)}"] if error.remedy else [])) + "\n"


class Output:
    """Standard output, behind git's pager where that is a terminal.

    The pager starts with the first text, so that a progress bar has the terminal until then.

    Args:
        paged: whether to use a pager at all.
    """

    def __init__(self, paged: bool = False) -> None:
        self._command = _pager() if paged and sys.stdout.isatty() and not paged_by_git() else ""
        self._pager: subprocess.Popen[bytes] | None = None
        self.started = False

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Wait for the user to leave the pager. Leaving it early is no error."""
        if self._pager is None:
            return False
        assert self._pager.stdin
        with suppress(BrokenPipeError):
            self._pager.stdin.close()
        while True:
            try:
                self._pager.wait()
                return isinstance(error, BrokenPipeError)
            except KeyboardInterrupt:
                continue  # it is the pager that the user talks to

    def write(self, text: str) -> None:
        """Write a text.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self.write_bytes(painted(text).encode(encoding(sys.stdout), "replace"))

    def write_bytes(self, data: bytes) -> None:
        """Write what is no text for people. Raises BrokenPipeError as `write` does."""
        stream = self._stream()
        stream.write(data)
        stream.flush()

    def _stream(self) -> IO[bytes]:
        self.started = True
        if not self._command:
            return sys.stdout.buffer
        if self._pager is None:
            sys.stdout.flush()
            # As git does it: less quits if a screen is enough, shows colours, and leaves the text there.
            environment = {"LESS": "FRX", "LV": "-c", **os.environ}
            shell = ["sh", "-c", self._command]
            self._pager = subprocess.Popen(shell, stdin=subprocess.PIPE, env=environment)
        assert self._pager.stdin
        return self._pager.stdin


def _pager() -> str:
    """The pager's command line; empty for none."""
    if _configured("--type=bool", "pager.theta") == "false":
        return ""
    asked = subprocess.run(["git", "var", "GIT_PAGER"], capture_output=True, text=True)
    command = asked.stdout.strip()
    return "" if command == "cat" else command
