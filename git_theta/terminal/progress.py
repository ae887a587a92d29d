"""The one display of how far long work is: a line on standard error that comes late and goes after it.

It is shown on a terminal only, as Git's own is, and is no part of what a command says.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from git_theta.terminal.showing import control, printable
from git_theta.terminal.units import human_size, percent

_PATIENCE = 1.0  # seconds; as for Git's own progress, GIT_PROGRESS_DELAY says otherwise
_INTERVAL = 0.1
_WIDTH = 20


class Progress:
    """Shows a share of work, and how long the rest will take.

    Args:
        title: "Comparing model.safetensors".
        everything: how much there is to do, for `advance`; 0 where that is not known.
        sized: whether bytes are counted.
        quiet: show nothing.
    """

    def __init__(self, title: str, everything: int = 0, *, sized: bool = False, quiet: bool = False) -> None:
        self._title = printable(title)
        self._everything = everything
        self._done = 0
        self._sized = sized
        self._useful = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()
        self._next = self._start + _patience()
        self._visible = False
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        _under_way.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go()
        _under_way.remove(self)

    def _go(self) -> None:
        if self._visible:
            self._visible = False
            control(sys.stderr, "\r\x1b[K")
            sys.stderr.flush()

    def advance(self, more: int) -> None:
        """So much more of everything is done. Thread-safe."""
        with self._lock:
            self._done += more
            self(self._done, self._everything)

    def counting(self, write: Callable[[memoryview], object]) -> Callable[[memoryview], None]:
        """Wrap a function that writes bytes, so that what it writes counts as progress."""

        def write_on(view: memoryview) -> None:
            write(view)
            self.advance(len(view))

        return write_on

    def __call__(self, done: int, everything: int) -> None:
        """Show that `done` of `everything` is done; `everything` is 0 where it is not known."""
        now = time.monotonic()
        if not self._useful or now < self._next:
            return
        self._next = now + _INTERVAL
        self._visible = True
        words = ", ".join(self._words(min(done, everything) if everything else done, everything, now))
        control(sys.stderr, f"\r{self._title} {words}\x1b[K")
        sys.stderr.flush()

    def _words(self, done: int, everything: int, now: float) -> list[str]:
        seconds = max(now - self._start, 1e-3)
        words = [_share(done, everything)] if everything else []
        if self._sized:
            words.append(
                f"{human_size(done)} of {human_size(everything)}" if everything else human_size(done)
            )
            words.append(f"{human_size(done / seconds)}/s")
        else:
            words.append(f"{done:,} of {everything:,}" if everything else f"{done:,}")
        if 0 < done < everything:
            words.append(f"{_duration(seconds * (everything - done) / done)} left")
        return words


_under_way: list[Progress] = []


def make_way() -> None:
    """Clear the progress on display, so that a line can be printed."""
    for one in _under_way:
        one._go()


def aside(say: Callable[[str], None]) -> Callable[[str], None]:
    """Wrap a function that prints lines, so that progress on display does not mix with them."""

    def say_aside(line: str) -> None:
        make_way()
        say(line)

    return say_aside


def _patience() -> float:
    try:
        return float(os.environ["GIT_PROGRESS_DELAY"])
    except (KeyError, ValueError):
        return _PATIENCE


def _share(done: int, everything: int) -> str:
    share = done / everything
    return f"[{'#' * round(_WIDTH * share):{_WIDTH}}] {percent(share):>5}"


def _duration(seconds: float) -> str:
    """9 s, 2:05 min, 1:02:05 h."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
