"""When looking for updates is given up, and when it is taken up again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from git_theta.storing.search_limit import Prospects


def looked_at(outcomes: list[bool | None]) -> list[int]:
    """Which tensors are looked at, if what is found there are these."""
    prospects, looked = Prospects(), []
    for number, outcome in enumerate(outcomes):
        if prospects.good(number):
            looked.append(number)
            prospects.note(number, outcome)
        prospects.note(number, None)  # as for every tensor that is done with
    return looked


def test_a_model_that_was_trained_anew_is_looked_at_here_and_there() -> None:
    assert looked_at([False] * 100) == [*range(11), *range(13, 100, 13)]


def test_one_find_is_enough_to_look_on() -> None:
    outcomes: list[bool | None] = [False] * 200
    outcomes[39] = True
    assert looked_at(outcomes) == [*range(11), 13, 26, 39, *range(47, 58), *range(65, 200, 13)]


def test_what_is_stored_already_says_nothing() -> None:
    assert looked_at([False, None] * 3 + [None] * 42) == [*range(48)]
    assert len(looked_at([False, None] * 100)) < 100


@given(st.lists(st.sampled_from([True, False, None]), max_size=120), st.integers(2, 8))
def test_the_choice_is_the_same_in_whatever_order_threads_finish(
    outcomes: list[bool | None], workers: int
) -> None:
    prospects, looked, lock = Prospects(), [], threading.Lock()

    def one(number: int) -> None:
        good = prospects.good(number)
        if number % 3 == 0:
            time.sleep(0)
        if good:
            prospects.note(number, outcomes[number])
            with lock:
                looked.append(number)
        prospects.note(number, None)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(len(outcomes))))
    assert sorted(looked) == looked_at(outcomes)
