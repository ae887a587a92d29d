"""How far a transfer is: a line on the terminal that is written again and again, then a last one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from git_theta.terminal.showing import control
from git_theta.terminal.units import human_size

_INTERVAL = 0.1  # seconds


class Progress:
    """Counts objects and bytes, and shows them on standard error if that is a terminal.

    Args:
        title: "Uploading objects".
        objects: sizes of what is transferred, by oid.
        quiet: show nothing.
    """

    def __init__(self, title: str, objects: Mapping[str, int], quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._objects = len(objects)
        self._total = sum(objects.values())
        self._done = self._bytes = 0
        self._start = self._shown = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show("\n" if error is not None else ", done.\n")

    def advance(self, nbytes: int) -> None:
        """One more object, of so many bytes, has arrived. Thread-safe."""
        with self._lock:
            self._done += 1
            self._bytes += nbytes
            now = time.monotonic()
            if now - self._shown >= _INTERVAL and sys.stderr.isatty():
                self._shown = now
                self._show("\r")

    def _show(self, end: str) -> None:
        if self._quiet:
            return
        seconds = max(time.monotonic() - self._start, 1e-3)
        share = 100 * self._bytes // self._total if self._total else 100
        rate = f", {human_size(self._bytes / seconds)}/s" if end == "\r" else ""
        count = f"{self._done}/{self._objects}"
        control(sys.stderr, f"{self._title}: {share:3d} % ({count}), {human_size(self._bytes)}{rate}{end}")
        sys.stderr.flush()
