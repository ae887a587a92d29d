"""How many threads are worth starting."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may use: a container or taskset(1) can give it fewer than there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
