"""The 2-norms of many tensors, range by range, on all cores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from git_theta import scratch
from git_theta.diffs import blocks
from git_theta.diffs.metrics import Ranges
from git_theta.diffs.sweep import Job, sweep
from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.tensors import Tensor

K = TypeVar("K")


def norms_of(
    tensors: Iterable[tuple[K, DType, int, Callable[[], Tensor]]], threads: int | None = None
) -> Iterator[tuple[K, float | ThetaError | OSError]]:
    """The norm of the finite values of each tensor, in their order.

    Args:
        tensors: a key, a dtype that can be computed with, the number of items, and what opens it, for each.
    """
    return sweep((_job(*tensor) for tensor in tensors), threads)


def _job(key: K, dtype: DType, items: int, opener: Callable[[], Tensor]) -> Job[K, Tensor, float, float]:
    def measure(tensor: Tensor, start: int, stop: int) -> float:
        with scratch.borrow(stop - start, dtype.storage) as bits, np.errstate(all="ignore"):
            return blocks.norm(tensor.read(start, stop, bits), dtype)

    return Job(key, opener, Ranges(items, dtype), measure, lambda parts: math.hypot(*parts))
