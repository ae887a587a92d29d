import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.terminal.units import and_more, counted, human_size, joined, listed, percent


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (9_949, "9.9 KB"),
        (9_960, "10 KB"),
        (999_499, "999 KB"),
        (999_500, "1.0 MB"),
        (67_400_000, "67 MB"),
        (2_836_000_000, "2.8 GB"),
        (5 * 10**21, "5000000 PB"),
    ],
)
def test_sizes_are_decimal(nbytes: int, text: str) -> None:
    assert human_size(nbytes) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (67, 709, "9.45%"),
        (0.818, 1, "81.8%"),
        (1, 10_000, "0.01%"),
        (9_996, 100_000, "10.0%"),
        (1e-9, 1, "1e-07%"),
        (0, 5, "0%"),
        (3, 0, "0%"),
        (5, 5, "100%"),
        (9_999, 10_000, "99.9%"),
        (10_001, 10_000, "100.1%"),
        (3, 2, "150.0%"),
    ],
)
def test_shares(part: float, whole: float, text: str) -> None:
    assert percent(part, whole) == text


@given(st.floats(0, 2))
def test_only_all_is_shown_as_all_and_only_nothing_as_nothing(share: float) -> None:
    shown = percent(share)
    assert (shown == "100%") == (share == 1)
    assert (float(shown[:-1]) == 0) == (share == 0)


def test_counts_are_singular_for_one_thing() -> None:
    assert [counted(number, "tensor") for number in (0, 1, 2)] == ["0 tensors", "1 tensor", "2 tensors"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_lists_end_with_how_many_more_there_are() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b\n", "c", "d", "e"]) == "a, b\\n, c and 2 more"
    assert listed(["a", "b"], 1) == "a and 1 more"


def test_lists_of_lines_do_too() -> None:
    assert and_more(-1) == and_more(0) == []
    assert and_more(4) == ["... and 4 more"]
    assert and_more(1, "tensor", "…") == ["… and 1 more tensor"]
    assert and_more(2, "tensor") == ["... and 2 more tensors"]


def test_words_are_joined_as_in_a_sentence() -> None:
    assert [joined(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
