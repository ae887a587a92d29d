"""scratch.py: buffers are as large as asked for, are used again, and are kept within bounds."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from git_theta import scratch


@given(st.lists(st.integers(0, 5 << 20), max_size=8))
def test_a_buffer_has_the_size_asked_for_and_belongs_to_one_owner(sizes: list[int]) -> None:
    buffers = [scratch.take(size) for size in sizes]
    for number, buffer in enumerate(buffers):
        buffer[:16] = number
    for number, (size, buffer) in enumerate(zip(sizes, buffers, strict=True)):
        assert buffer.nbytes == size
        assert (buffer[:16] == number).all()
    for buffer in buffers:
        scratch.give(buffer)


def test_a_buffer_is_used_again() -> None:
    first = scratch.take(3 << 20)
    address = first.ctypes.data
    scratch.give(first)
    again = scratch.take((2 << 20) + 1)
    assert again.ctypes.data == address
    scratch.give(again)


def test_no_more_is_kept_than_the_bound() -> None:
    for buffer in [scratch.take(32 << 20) for _ in range(5)]:
        scratch.give(buffer)
    assert scratch._kept <= scratch._KEEP
    assert scratch._kept == sum(slab.size for idle in scratch._idle.values() for slab in idle)
    scratch.give(scratch.take(0))


def test_borrowed_arrays_have_items_of_the_dtype_and_come_back_after_an_error() -> None:
    try:
        with scratch.borrow(100, "<u4") as array:
            address = array.ctypes.data
            assert (array.size, array.dtype) == (100, np.dtype("<u4"))
            raise ValueError
    except ValueError:
        pass
    with scratch.borrow(100, "<u4") as again:
        assert again.ctypes.data == address


def test_threads_never_share_a_buffer() -> None:
    wrong: list[int] = []

    def work(mark: int) -> None:
        for _ in range(200):
            with scratch.borrow(1 << 12) as array:
                array[:] = mark
                if (array != mark).any():
                    wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
