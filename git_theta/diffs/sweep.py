"""Many tensors, range by range, on all cores, one tensor after the other.

Ranges are read and measured in threads; NumPy and the decoders let go of Python's lock. What is held in
memory are the ranges being measured, two for each thread, whatever the tensors weigh.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from git_theta.errors import ThetaError
from git_theta.threads import cores

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

K = TypeVar("K")
T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

Progress = Callable[[int], None]
"""Told after each range how many items it had."""


@dataclass(frozen=True)
class Job(Generic[K, T, P, R]):
    """One measurement.

    Attributes:
        key: what it is called.
        open: opens what is read; called once, in a thread, and only if there are ranges.
        ranges: of items, [start, stop) each.
        measure: measures one range of what `open` gave; called in several threads at once.
        finish: puts the parts together, in the order of the ranges.
    """

    key: K
    open: Callable[[], T]
    ranges: Sequence[tuple[int, int]]
    measure: Callable[[T, int, int], P]
    finish: Callable[[list[P]], R]


class _Running(Generic[K, T, P, R]):
    """A job that is being done.

    Its ranges are handed out when the tensors are open: only then it is sure that they are as long as said.
    """

    def __init__(self, job: Job[K, T, P, R], pool: ThreadPoolExecutor) -> None:
        self.job = job
        self._pool = pool
        self._parts: list[Future[P]] = []
        self._opening = pool.submit(self._open) if job.ranges else None

    def result(self, progress: Progress | None) -> R | ThetaError | OSError:
        """The result of a job, once all of its ranges are done; an error ends it at once."""
        parts: list[P] = []
        done = 0
        try:
            if self._opening is not None:
                self._opening.result()
            for (start, stop), future in zip(self.job.ranges, self._parts, strict=True):
                parts.append(future.result())
                done = stop
                if progress:
                    progress(stop - start)
        except (ThetaError, OSError) as error:
            for future in self._parts:
                future.cancel()
            if progress:
                progress(self.job.ranges[-1][1] - done)
            return error
        return self.job.finish(parts)

    def _open(self) -> None:
        opened = self.job.open()
        for start, stop in self.job.ranges:
            self._parts.append(self._pool.submit(self.job.measure, opened, start, stop))


def sweep(
    jobs: Iterable[Job[K, T, P, R]], threads: int | None = None, progress: Progress | None = None
) -> Iterator[tuple[K, R | ThetaError | OSError]]:
    """Do all jobs; results come in their order.

    A job whose tensors cannot be opened or read yields the error instead of a result. When the caller
    stops, or is interrupted, ranges that were not begun are dropped.
    """
    from concurrent.futures import ThreadPoolExecutor

    threads = threads or cores()
    running: deque[_Running[K, T, P, R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="theta-diff")
    try:
        ahead = 0
        for job in jobs:
            running.append(_Running(job, pool))
            ahead += len(job.ranges)
            while ahead > 4 * threads:
                first = running.popleft()
                ahead -= len(first.job.ranges)
                yield first.job.key, first.result(progress)
        while running:
            first = running.popleft()
            yield first.job.key, first.result(progress)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
