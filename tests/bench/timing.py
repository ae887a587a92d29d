"""How long work takes, for the scripts here."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable


def best(work: Callable[[], object], runs: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """The shortest of some runs, in seconds of a clock."""
    times = []
    for _ in range(runs):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def processor(work: Callable[[], object]) -> float:
    """Seconds of processor time of the processes that some work starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
