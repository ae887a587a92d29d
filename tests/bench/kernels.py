"""Time the innermost loops, compiled and portable: python tests/bench/kernels.py

Prints milliseconds of processor time for 4 MiB of bfloat16, one thread, best of several runs, so that other
work on the machine disturbs little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType

import numpy as np
from timing import best

from git_theta.kernels import native, portable

ITEMS = 2 << 20
RUNS = 7


def measure(loops: ModuleType) -> dict[str, float]:
    """Seconds by the name of a loop, over weights and what a step of training makes of them."""
    random = np.random.default_rng(0)
    old = ((random.standard_normal(ITEMS, np.float32) * 0.02).view("<u4") >> 16).astype("<u2")
    new = old + random.integers(0, 5, ITEMS).astype("<u2")
    differences, out, lists = (np.empty_like(old) for _ in range(3))
    codes, planes = np.empty(ITEMS // 2, np.uint8), np.empty(old.nbytes, np.uint8)
    fields = np.empty(ITEMS // 2, np.uint8)
    order = bytes(range(16))
    calls: dict[str, Callable[[], object]] = {
        "difference": lambda: loops.difference(old, new, True, differences),
        "add": lambda: loops.add(old, differences, True, out),
        "classify": lambda: loops.classify(old, 7, 8, 122, 16, codes),
        "gather": lambda: loops.gather(differences, codes, order, lists),
        "scatter": lambda: loops.scatter(lists, codes, order, out),
        "write_fields": lambda: loops.write_fields(differences, 4, 0, fields),
        "read_fields": lambda: loops.read_fields(fields, 4, 0, out),
        "split_planes": lambda: loops.split_planes(old, planes),
        "join_planes": lambda: loops.join_planes(planes, out),
        "weighted_sum": lambda: loops.weighted_sum((old, new), (0.5, 0.5), False, out),
        "sums": lambda: loops.sums(old, new),
    }
    return {name: best(call, RUNS, time.thread_time) for name, call in calls.items()}


def main() -> None:
    compiled, numpy = measure(native), measure(portable)
    print(f"{'loop':14} {'C':>8} {'NumPy':>8} {'ratio':>6}")
    for name, seconds in compiled.items():
        ratio = numpy[name] / seconds
        print(f"{name:14} {1e3 * seconds:8.2f} {1e3 * numpy[name]:8.2f} {ratio:6.1f}")


if __name__ == "__main__":
    main()
