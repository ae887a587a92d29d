"""How far a comparison is: a line on standard error that comes after a second, and goes at the end."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

_PATIENCE = 1.0  # seconds
_INTERVAL = 0.1
_WIDTH = 30


class ProgressBar:
    """Shows a share of work on standard error, if that is a terminal.

    Args:
        title: "Comparing model.safetensors".
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._useful = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._next = time.monotonic() + _PATIENCE
        self._visible = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._visible:
            sys.stderr.write("\r\x1b[K")
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
        sys.stderr.write(f"\r{self._title} [{bar}] {100 * share:3.0f} %\x1b[K")
        sys.stderr.flush()
