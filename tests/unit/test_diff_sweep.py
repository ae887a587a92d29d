"""Jobs on all cores: order, errors, and stopping early."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from git_theta.diffs.sweep import Job, cores, sweep
from git_theta.errors import MissingObject


def job(key: int, spans: int, opener: Callable[[], int] | None = None) -> Job[int, int, int, int]:
    """Opens its own number; measures the items of a range times it; adds up."""
    ranges = [(10 * span, 10 * span + 10) for span in range(spans)]
    return Job(key, opener or (lambda: key), ranges, lambda opened, a, b: opened * (b - a), sum)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order(threads: int) -> None:
    jobs = [job(key, key % 4) for key in range(60)]
    assert list(sweep(jobs, threads)) == [(key, 10 * (key % 4) * key) for key in range(60)]


def test_a_tensor_is_opened_once_and_only_if_it_has_ranges() -> None:
    opened: list[int] = []

    def opener() -> int:
        opened.append(1)
        return 1

    list(sweep([job(1, 20, opener), job(2, 0, opener)], 4))
    assert opened == [1]


@pytest.mark.parametrize("error", [MissingObject("gone"), OSError("disk")])
def test_an_error_is_the_answer_of_its_job_only(error: Exception) -> None:
    def opener() -> int:
        raise error

    assert list(sweep([job(1, 2), job(2, 3, opener), job(3, 1)], 2)) == [(1, 20), (2, error), (3, 30)]


def test_a_range_that_cannot_be_read_spoils_its_job_only() -> None:
    error = OSError("bad sector")

    def measure(opened: int, start: int, stop: int) -> int:
        if start == 10:
            raise error
        return stop - start

    broken: Job[int, int, int, int] = Job(1, lambda: 1, [(0, 10), (10, 20), (20, 30)], measure, sum)
    assert list(sweep([broken, job(2, 1)], 2)) == [(1, error), (2, 20)]


def test_a_bug_is_not_an_answer() -> None:
    def measure(opened: int, start: int, stop: int) -> int:
        raise ZeroDivisionError

    broken: Job[int, int, int, int] = Job(1, lambda: 1, [(0, 10)], measure, sum)
    with pytest.raises(ZeroDivisionError):
        list(sweep([broken], 2))


def test_progress_counts_every_item_once() -> None:
    told: list[int] = []
    list(sweep([job(key, 3) for key in range(9)], 2, told.append))
    assert sum(told) == 9 * 30


def test_stopping_leaves_no_thread_and_begins_nothing_new() -> None:
    begun: list[int] = []

    def measure(opened: int, start: int, stop: int) -> int:
        begun.append(start)
        return 0

    before = threading.active_count()
    jobs = (Job(key, lambda: 1, [(0, 10)], measure, sum) for key in range(1000))
    results = sweep(jobs, 2)
    next(results)
    results.close()
    assert threading.active_count() == before
    assert len(begun) < 20


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1
