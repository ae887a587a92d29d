"""Chains of updates: what is needed to read a tensor, and bounds that no damage gets past."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.errors import DamagedManifest
from git_theta.manifest import StorageLine, chains
from git_theta.manifest.chains import Cost


def storage_of(bases: dict[str, tuple[str, ...]]) -> dict[str, StorageLine]:
    return {digest: StorageLine(digest, "0" * 64, 1, 0, "delta", of) for digest, of in bases.items()}


def test_the_closure_is_what_is_needed_and_no_more() -> None:
    storage = storage_of({"a": ("b", "c"), "b": ("d",), "c": (), "d": (), "e": ("a",)})
    assert set(chains.closure(["a"], storage)) == {"a", "b", "c", "d"}
    assert set(chains.closure(["c", "b"], storage)) == {"b", "c", "d"}
    assert chains.closure([], storage) == {}


def test_costs_count_every_reading() -> None:
    storage = storage_of({"a": ("b", "b"), "b": ("c",), "c": ()})
    assert chains.costs(["a"], storage) == {"c": Cost(0, 1), "b": Cost(1, 2), "a": Cost(2, 5)}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(DamagedManifest, match="no storage line for x"):
        chains.closure(["a"], storage_of({"a": ("x",)}))


@pytest.mark.parametrize("bases", [{"a": ("a",)}, {"a": ("b",), "b": ("c", "d"), "c": (), "d": ("a",)}])
def test_circles_are_found(bases: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(DamagedManifest, match="lead back"):
        chains.costs(["a"], storage_of(bases))


def chain(length: int, width: int) -> dict[str, StorageLine]:
    """Each is predicted from the one before it, `width` times."""
    return storage_of({str(n): (str(n - 1),) * width if n else () for n in range(length + 1)})


def test_chains_have_a_longest_length() -> None:
    deepest = chains.DEEPEST
    assert chains.costs([str(deepest)], chain(deepest, 1))[str(deepest)] == Cost(deepest, deepest + 1)
    with pytest.raises(DamagedManifest, match="at most are allowed"):
        chains.costs([str(deepest + 1)], chain(deepest + 1, 1))
    with pytest.raises(DamagedManifest, match="at most are allowed"):
        chains.costs(["100000"], chain(100_000, 1))


def test_chains_that_branch_have_bounds_too() -> None:
    with pytest.raises(DamagedManifest, match="at most are allowed"):
        chains.costs(["60"], chain(60, 2))


@given(st.lists(st.lists(st.integers(0, 8), max_size=3), min_size=1, max_size=8))
def test_depth_and_reads_are_those_of_the_definition(wanted: list[list[int]]) -> None:
    bases = {str(n): tuple({str(b % n) for b in of}) if n else () for n, of in enumerate(wanted)}
    storage = storage_of(bases)

    def depth(digest: str) -> int:
        return max((1 + depth(base) for base in bases[digest]), default=0)

    def reads(digest: str) -> int:
        return 1 + sum(reads(base) for base in bases[digest])

    for digest, cost in chains.costs(bases, storage).items():
        assert cost == Cost(depth(digest), reads(digest))
        assert cost == chains.cost_of(chains.costs(bases, storage)[base] for base in bases[digest])


@pytest.mark.parametrize(
    ("bases", "dense", "ratio", "expected"),
    [
        ((), 100, 2.0, 100),  # never more than the tensor takes anyway
        (("a",), 100, 2.0, 100),
        (("b",), 100, 2.0, 70),
        (("b", "c"), 100, 2.0, 60),  # the heaviest of several paths
        (("c",), 100, 1.4, 0),
        (("wide",), 40, 2.0, 40),  # a copy of what the chain begins with counts
        (("wide",), 40, 1.2, 20),
        (("a",), 100, 0.0, 0),
    ],
)
def test_room_in_a_chain(bases: tuple[str, ...], dense: int, ratio: float, expected: int) -> None:
    sizes = {"a": 100, "b": 30, "c": 40, "wide": 100}
    lines = storage_of({"a": (), "b": ("a",), "c": ("a",), "wide": ()})
    assert chains.room(bases, lines, lambda line: sizes[line.digest], dense, ratio) == expected
