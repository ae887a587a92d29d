"""A checkpoint and a tensor on a terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest
from diff_examples import opened, random_model, tensor

from git_theta.diffs import show, text
from git_theta.diffs.show import Shown
from git_theta.diffs.statistics import corner, histogram, statistics
from git_theta.terminal.style import Style

MODEL = {**random_model(12), "mask": tensor("F32", np.array([0.0, np.nan, np.inf, 1.0]))}
SHOWN = [Shown(name, content[0], content[1], statistics(opened(content))) for name, content in MODEL.items()]


def test_a_table() -> None:
    lines = show.table(SHOWN, Style(140)).splitlines()
    assert lines[0].split() == ["tensor", "norm", "mean", "std", "min", "max", "zeros"]
    assert [line.split()[0] for line in lines[1:4]] == [
        "h.0.attn.k.weight",
        "h.0.attn.o.weight",
        "h.0.attn.q.weight",
    ]
    assert lines[1].split()[1:4] == ["BF16", "128×128", "2.544"]
    assert "h.10" in lines[-16]
    assert lines[-1] == "86 tensors, 1.22M parameters"
    assert "    1 NaN, 1 infinite" in lines
    bias = next(line for line in lines if line.startswith("h.0.ln.bias"))
    assert bias.split() == ["h.0.ln.bias", "BF16", "128", "0", "0", "0", "0", "0", "100%"]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_lines_fit(width: int) -> None:
    for line in show.table(SHOWN, Style(width)).splitlines():
        assert text.width(line) <= width


def test_columns_that_do_not_fit_are_named() -> None:
    *_, count, more = show.table(SHOWN, Style(80)).splitlines()
    assert count == "86 tensors, 1.22M parameters"
    found = re.fullmatch(r"no room for max, zeros; COLUMNS=(\d+) before the command makes some", more)
    assert found is not None
    wide = show.table(SHOWN, Style(int(found.group(1))))
    assert wide.splitlines()[0].split()[-1] == "zeros"
    assert "no room" not in wide
    assert "no room" in show.table(SHOWN, Style(int(found.group(1)) - 1))


def test_what_is_not_known_is_said() -> None:
    rows = [
        Shown("a", "F32", (2,), None, "object 1234 is missing"),
        Shown("b", "F32", (3,), None, note="another name of a"),
    ]
    found = show.table(rows, Style())
    assert "    unknown: object 1234 is missing\n" in found
    assert "    another name of a\n" in found
    assert found.endswith("2 tensors, 2 parameters\n")


def test_names_cannot_write_to_the_terminal() -> None:
    found = show.table([Shown("a\x1b[2J", "F32", (2,))], Style())
    assert "\x1b" not in found
    assert "\x1b" not in show.tensor(Shown("a\x1b[2J", "F32", (2,)), Style())


def test_one_tensor() -> None:
    held = opened(MODEL["h.0.attn.q.weight"])
    known = statistics(held)
    shown = Shown("h.0.attn.q.weight", "BF16", held.shape, known)
    found = show.tensor(shown, Style(), histogram=histogram(held, known, 20), corner=corner(held))
    lines = found.splitlines()
    assert lines[0] == "h.0.attn.q.weight  BF16 128×128"
    assert lines[1].split() == ["norm", text.number(known.norm)]
    bars = [line for line in lines if "█" in line]
    assert len(bars) == 20
    assert max(line.count("█") for line in bars) == 40
    assert lines[-1] == "  …"
    assert [len(line.split()) for line in lines[-7:-1]] == [8] * 6


def test_a_small_tensor_is_shown_whole() -> None:
    held = opened(tensor("F32", np.array([[1.5, 2.0]])))
    found = show.tensor(Shown("a", "F32", (1, 2), statistics(held)), Style(), corner=corner(held))
    assert found.endswith("      1.500      2.000\n")


def test_ascii() -> None:
    held = opened(MODEL["h.0.attn.q.weight"])
    known = statistics(held)
    shown = Shown("a", "BF16", held.shape, known)
    style = Style(unicode=False)
    found = show.tensor(shown, style, histogram=histogram(held, known), corner=corner(held))
    assert (found + show.table([shown], style)).isascii()
