"""Comparisons on a terminal. The golden files are written anew by THETA_WRITE_GOLDEN=1."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from diff_examples import (
    absent,
    check_golden,
    fine_tuned,
    lora_report,
    random_model,
    showcase,
    tensor,
    version,
)

from git_theta.checkpoints.registry import OPAQUE
from git_theta.diffs import stat, table, text
from git_theta.diffs.change import sorts
from git_theta.diffs.compare import compare_checkpoints
from git_theta.diffs.report import Report
from git_theta.terminal.style import Style

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def report() -> Report:
    return showcase()


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("colour", [False, True])
def test_golden_tables(report: Report, width: int, colour: bool) -> None:
    name = f"table_{width}{'_colour' if colour else ''}.txt"
    check_golden(name, table.render(report, Style(width, colour), top=None))


@pytest.mark.parametrize("width", [80, 140])
def test_golden_lora(width: int) -> None:
    check_golden(f"lora_{width}.txt", table.render(lora_report(), Style(width)))


def test_golden_ascii(report: Report) -> None:
    found = table.render(report, Style(unicode=False))
    assert found.isascii()
    check_golden("table_ascii.txt", found)


@pytest.mark.parametrize("colour", [False, True])
def test_golden_stat(report: Report, colour: bool) -> None:
    check_golden(f"stat{'_colour' if colour else ''}.txt", stat.render(report, Style(80, colour)))


def test_colour_adds_nothing_but_colour(report: Report) -> None:
    plain = table.render(report, Style(100), top=None)
    assert ANSI.sub("", table.render(report, Style(100, True), top=None)) == plain
    assert "\x1b" not in plain


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 300])
def test_no_line_is_longer_than_the_terminal(report: Report, width: int) -> None:
    for sort in sorts():
        for line in table.render(report, Style(width), sort=sort, top=None).splitlines()[1:]:
            assert text.width(line) <= width
    for line in stat.render(report, Style(width)).splitlines()[:-1]:
        assert text.width(line) <= max(width, 70)


def names(found: str) -> list[str]:
    return re.findall(r"^[MADRSC?] +(\S+)", found, re.M)


def test_long_reports_are_folded() -> None:
    report = lora_report()
    folded = table.render(report, Style(), hint="git theta diff --all HEAD~1 -- model.safetensors")
    assert len(names(folded)) == table.FOLDED
    assert folded.endswith("4 more tensors; all of them: git theta diff --all HEAD~1 -- model.safetensors\n")
    assert len(names(table.render(report, Style(), top=None))) == len(report.rows)
    assert len(names(table.render(report, Style(), top=3))) == 3
    assert "more tensors" not in table.render(report, Style(), top=None)


def test_metrics_that_are_asked_for_are_shown_whatever_the_width() -> None:
    found = table.render(lora_report(), Style(60), metrics=["cosine", "rank"], top=1)
    title = next(line for line in found.splitlines() if line.lstrip().startswith("tensor"))
    assert title.split() == ["tensor", "cosine", "rank"]
    assert re.search(r"0\.99\d+ +4$", found, re.M)


def test_bars_follow_the_order() -> None:
    report = lora_report()
    for sort in ("relative", "norm", "changed"):
        bars = [line.count("█") for line in table.render(report, Style(), sort=sort).splitlines()]
        assert max(bars) == 8
    first = next(line for line in table.render(report, Style(), sort="norm").splitlines() if line[:1] == "M")
    assert "████████" in first


def test_rows_of_a_layer_stand_together_in_the_order_of_their_first() -> None:
    found = table.render(lora_report(), Style(140), sort="name", top=None)
    heads = re.findall(r"^  (h\.\d+) ", found, re.M)
    assert heads == [f"h.{layer}" for layer in range(12)]


def test_names_cannot_write_to_the_terminal() -> None:
    evil = "h.0.\x1b[2J\n\u202eweight"
    model = {evil: tensor("F32", np.ones(3))}
    report = compare_checkpoints(absent(), version(model), path="a\x1b]0;b\x07.bin")
    for found in (table.render(report, Style(colour=False)), stat.render(report, Style())):
        assert not set(found) & {"\x1b", "\u202e", "\x07"}
        assert "\\x1b[2J\\n\\u202eweight" in found


def test_an_identical_file_has_only_a_summary() -> None:
    model = version(random_model())
    found = table.render(compare_checkpoints(model, model, path="m"), Style())
    assert found == "diff --theta a/m b/m\n  identical files\n"


def test_new_and_deleted_files_are_named_as_git_does() -> None:
    model = version({"a": tensor("F32", np.ones(3))})
    found = table.render(compare_checkpoints(absent(), model, path="m"), Style())
    assert found.startswith("diff --theta /dev/null b/m\n  new checkpoint, 1 tensor, 3 parameters\n")
    assert re.search(r"^A a +F32 3$", found, re.M)
    assert table.render(compare_checkpoints(model, absent(), path="m"), Style()).startswith(
        "diff --theta a/m /dev/null\n"
    )


def test_long_names_are_cut_in_the_middle() -> None:
    name = "a" * 100 + "z"
    model = {name: tensor("F32", np.ones(3))}
    found = table.render(compare_checkpoints(version(model), version(fine_tuned(model)), path="m"), Style(80))
    row = next(line for line in found.splitlines() if line.startswith("M"))
    assert "…" in row
    assert "z  F32 3" in row


def test_stat_bars_are_as_long_as_what_was_stored() -> None:
    old = {"a": tensor("F32", np.ones(1000)), "b": tensor("F32", np.ones(250))}
    new = {"a": tensor("F32", np.zeros(1000)), "b": tensor("F32", np.zeros(250))}
    lines = stat.render(compare_checkpoints(version(old), version(new), values=False), Style()).splitlines()
    assert [line.count("~") for line in lines] == [20, 5, 0]
    assert lines[-1] == " 2 of 2 tensors changed, 1.25K parameters, 500 B stored"


def test_stat_of_nothing() -> None:
    model = version(random_model(1))
    assert (
        stat.render(compare_checkpoints(model, model), Style())
        == " identical files\n 0 of 8 tensors changed, 0 parameters, 0 B stored\n"
    )


def test_stat_of_a_file_that_became_bytes() -> None:
    model, damaged = version(random_model(1)), version({}, form=OPAQUE)
    report = compare_checkpoints(model, damaged, values=False)
    lines = stat.render(replace(report, notes=("the file has 9 bytes",)), Style()).splitlines()
    assert lines[0] == " ! the file has 9 bytes"
    assert lines[1].startswith(" bytes that git-theta does not see tensors in, ")
    assert lines[2] == " format safetensors → opaque"


def test_stat_shows_as_many_rows_as_asked_for() -> None:
    assert len(stat.render(lora_report(), Style(), top=3).splitlines()) == 4
