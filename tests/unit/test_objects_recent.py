"""Ranges that are kept because they are read again."""

from __future__ import annotations

import threading

import numpy as np

from git_theta.dtypes import dtype
from git_theta.objects.recent import RecentRanges
from git_theta.tensors import ArrayTensor

BITS = np.arange(100, dtype="<u2")


class Counting(ArrayTensor):
    """Counts how often it is read."""

    def __init__(self) -> None:
        super().__init__(dtype("BF16"), (100,), BITS.tobytes())
        self.reads = 0

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:  # type: ignore[override]
        self.reads += 1
        return super().read(start, stop, out)


def test_the_last_range_is_not_read_again() -> None:
    recent, tensor = RecentRanges(), Counting()
    first, second = recent.watched("d", tensor), recent.watched("d", tensor)
    assert (first.dtype, first.shape, first.items) == (tensor.dtype, tensor.shape, tensor.items)
    assert first.read(10, 50).tolist() == list(range(10, 50))
    out = np.zeros(20, "<u2")
    assert second.read(20, 40, out) is out
    assert out.tolist() == list(range(20, 40))
    assert tensor.reads == 1
    assert second.read(40, 60).tolist() == list(range(40, 60))
    assert tensor.reads == 2
    assert first.read(10, 20).tolist() == list(range(10, 20))
    assert tensor.reads == 3, "only one range is kept"


def test_what_is_given_out_can_be_changed() -> None:
    watched = RecentRanges().watched("d", Counting())
    watched.read(0, 10)[:] = 7
    assert watched.read(0, 10).tolist() == list(range(10))


def test_few_tensors_are_kept() -> None:
    recent = RecentRanges()
    tensors = [Counting() for _ in range(6)]
    watched = [recent.watched(str(number), tensor) for number, tensor in enumerate(tensors)]
    for one in (*watched, watched[5], watched[0]):
        one.read(0, 100)
    assert [tensor.reads for tensor in tensors] == [2, 1, 1, 1, 1, 1]


def test_threads_do_not_share() -> None:
    tensor = Counting()
    watched = RecentRanges().watched("d", tensor)
    watched.read(0, 100)
    thread = threading.Thread(target=watched.read, args=(0, 100))
    thread.start()
    thread.join()
    assert tensor.reads == 2
