"""The threads that merge, and how they are stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Told, from any thread but by one at a time, how many bytes of results are done, and how many there are."""


class Stopped(Exception):
    """The work was given up; never seen by callers."""


class Crew:
    """Worker threads for ranges.

    Args:
        threads: how many.
        total: bytes of results.
        each_thread: called once in every worker.
    """

    def __init__(
        self, threads: int, total: int, progress: Progress | None, each_thread: Callable[[], None]
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, "theta-merge", each_thread)
        self._stopped = threading.Event()
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._total = total

    def each(self, task: Callable[[int, int], T], ranges: Sequence[tuple[int, int]]) -> list[T]:
        """Do a task for every range, in parallel.

        Returns:
            The results, in order.

        Raises:
            What the first failing task raised; those that were not begun then are dropped.
        """

        def guarded(start: int, stop: int) -> T:
            self.check()
            return task(start, stop)

        futures = [self._pool.submit(guarded, start, stop) for start, stop in ranges]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)

    def check(self) -> None:
        """Raise Stopped if the work was given up, so that a task ends early."""
        if self._stopped.is_set():
            raise Stopped

    def advance(self, nbytes: int) -> None:
        """Note that so many more bytes of results are done."""
        if self._progress:
            with self._lock:
                self._done += nbytes
                self._progress(self._done, self._total)

    def close(self) -> None:
        """Let running tasks end; the others fail at once, so that who waits for them does not wait on."""
        self._stopped.set()
        self._pool.shutdown(wait=True)
