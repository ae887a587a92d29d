"""Numbers and names as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.diffs import text


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (999, "999"), (1000, "1K"), (50_331_648, "50.3M"), (999_600, "1M"), (1_760_000_000, "1.76G")],
)
def test_count(number: int, shown: str) -> None:
    assert text.count(number) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.010651, "0.01065"),
        (0.001, "0.001000"),
        (0.00099, "9.90e-04"),
        (1234.4, "1234"),
        (9999.4, "9999"),
        (9999.6, "1.00e+04"),
        (-0.5, "-0.5000"),
        (1e-30, "1.00e-30"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_number(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_numbers_are_short_and_right(value: float) -> None:
    shown = text.number(value)
    assert len(shown) <= 10
    assert float(shown) == pytest.approx(value, rel=6e-3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "1"),
        (-1.0, "-1"),
        (0.5, "0.5000"),
        (0.99988, "0.99988"),
        (0.9999981, "0.9999981"),
        (0.0, "0.0000"),
    ],
)
def test_cosine(value: float, shown: str) -> None:
    assert text.cosine(value) == shown


@given(st.floats(-1, 1))
def test_only_one_is_shown_as_one(value: float) -> None:
    assert (abs(float(text.cosine(value))) == 1) == (abs(value) == 1)


def test_fraction() -> None:
    assert [text.fraction(value) for value in (None, 0.818)] == ["-", "81.8%"]


def test_shape() -> None:
    assert text.shape((1024, 4096)) == "1024×4096"
    assert text.shape((2, 3), "x") == "2x3"
    assert text.shape(()) == "scalar"
    assert text.shape(None) == "-"


@given(st.text(max_size=30))
def test_printable_names_move_no_cursor(name: str) -> None:
    assert text.printable(name).isprintable()


def test_printable_leaves_ordinary_names_alone() -> None:
    assert text.printable("h.0.Größe 重み") == "h.0.Größe 重み"
    assert text.printable("a\x1b[31m\u202eb") == "a\\x1b[31m\\u202eb"


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20), st.integers(0, 12)
)
def test_fit_takes_exactly_its_columns(words: str, columns: int) -> None:
    assert text.width(text.fit(words, columns)) == columns


def test_fit_cuts_in_the_middle() -> None:
    assert text.fit("model.layers.0.weight", 12) == "model.…eight"
    assert text.fit("重み重み重み", 7) == "重…み  "
    assert text.fit("ab", 4) == "ab  "
