"""How things look on a terminal: colours."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from typing import TextIO

from git_theta.terminal.showing import coloured


def style(text: str, colour: str, stream: TextIO = sys.stdout) -> str:
    """The text in a colour, if git would colour this stream (color.theta, color.ui); NO_COLOR forbids it."""
    if not _coloured(stream.isatty()):
        return text
    import click  # not for what git calls, which shows errors alone: see cli.entry

    return coloured(stream, click.style(text, fg=colour))


@cache
def _coloured(terminal: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    asked = ["git", "config", "--get-colorbool", "color.theta", str(terminal).lower()]
    try:
        return subprocess.run(asked, capture_output=True).stdout.strip() == b"true"
    except FileNotFoundError:
        return False
