"""Names of tensors and patterns: how they are written, and which is meant."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.errors import ThetaError
from git_theta.merges.rules import Rename, Rules, parse_rename, parse_rule
from git_theta.patterns import Pattern, read, written

NAMES = (
    *(
        "w[0]",
        "w*",
        "w?",
        "a: b",
        "a:b",
        " spaced ",
        "two\nlines",
        "tab\t",
        "\r",
        '"quoted"',
        '"',
        "*",
        "[",
        "]",
    ),
    *(
        "!x",
        "#x",
        "-x",
        "\\",
        "a -> b",
        "\x1b]0;x\x07",
        "\x9b31m",
        "\u202e",
        "ü",
        "layer.0.weight",
        "a=b",
        "@all",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_written_is_meant_alone(name: str) -> None:
    text = written(name)
    assert text.isprintable()
    others = [other for other in (*NAMES, "w0", "w", "wx") if other != name]
    for again in (read(text), Pattern(name, literal=True), read(str(Pattern(name, literal=True)))):
        assert again.among([name, *others]).matches(name)
        assert not any(map(again.among([name, *others]).matches, others))
    rule = parse_rule(f"{text}: ours", "a test").among([name, *others])
    assert (rule.pattern, str(rule.choice)) == (name, "ours")
    assert [one for one in (name, *others) if rule.matches(one)] == [name]
    assert parse_rule(str(rule), "a test").among([name]) == rule


@pytest.mark.parametrize("glob", ["a: b*", " x*", "x* ", "w[0]*", '"x', '"a"b*', "*", "a:*"])
def test_a_glob_means_the_same_after_it_was_written_down(glob: str) -> None:
    names = ("a: b1", " x1", "x1 ", "w0", "w[0]", '"x', '"a"b1', "a:1", "a")
    again = parse_rule(f"{read(glob)}: ours", "a test")
    assert list(map(again.matches, names)) == list(map(read(glob).matches, names))


def test_a_name_wins_over_the_same_text_as_a_glob_but_for_the_star() -> None:
    assert read("w[0]").matches("w0")
    assert not read("w[0]").among(["w[0]", "w0"]).matches("w0")
    assert read("*").among(["*", "w0"]).matches("w0")
    assert not read('"*"').matches("w0")


def test_renames_of_literal_names() -> None:
    assert parse_rename('"a*" -> b', "a test") == Rename("a*", "b", literal=True)
    assert parse_rename('"a -> b" -> "c\\n"', "a test").apply("a -> b") == "c\n"
    starred = Rename("a*", "b*")
    assert starred.apply("ax") == "bx"
    assert Rules(renames=(starred,)).among(["a*", "b*", "ax"]).renames[0].apply("ax") is None
    assert str(parse_rename('"a*" -> b', "a test")) == '"a*" -> b'


def test_a_glob_has_no_line_end() -> None:
    with pytest.raises(ThetaError, match="line end"):
        read("a\n*")


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_stars_mean_what_they_do_for_fnmatch(glob: str, name: str) -> None:
    assert Pattern(glob).matches(name) == fnmatchcase(name, glob)


def test_long_globs_take_no_longer_than_they_are() -> None:
    names = ["a" * 9000 + str(number) for number in range(30)]
    for number in range(200):  # minutes, place by place
        assert not any(Pattern(f"*{'a' * 4000}b{number}*").matches(name) for name in names)
    with pytest.raises(ThetaError, match="256 at most"):
        read("a?" * 200)
    assert read('"' + "a?" * 200 + '"').matches("a?" * 200)
