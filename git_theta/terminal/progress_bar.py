"""How far work is, and how long it will take: a line on standard error that comes late and goes after it."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from git_theta.terminal.showing import control, printable

_PATIENCE = 1.0  # seconds
_INTERVAL = 0.1
_WIDTH = 30


class ProgressBar:
    """Shows a share of work on standard error, if that is a terminal.

    Args:
        title: "Comparing model.safetensors".
    """

    def __init__(self, title: str) -> None:
        self._title = printable(title)
        self._useful = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()
        self._next = self._start + _PATIENCE
        self._visible = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._visible:
            control(sys.stderr, "\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, done: int, everything: int) -> None:
        """So much of so much is done."""
        now = time.monotonic()
        if not self._useful or now < self._next:
            return
        self._next = now + _INTERVAL
        self._visible = True
        share = done / everything if everything else 1.0
        bar = f"{'#' * round(_WIDTH * share):{_WIDTH}}"
        left = f", {_duration((now - self._start) * (1 - share) / share)} left" if 0 < share < 1 else ""
        control(sys.stderr, f"\r{self._title} [{bar}] {100 * share:3.0f} %{left}\x1b[K")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    """9 s, 2:05 min, 1:02:05 h."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
