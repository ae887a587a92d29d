"""The table of metrics: whatever shows numbers of a change takes them from there."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from diff_examples import lora_report

from git_theta.cli import diff as command
from git_theta.diffs import page, schema, summary, table
from git_theta.diffs.change import METRICS, Change, Metric, of_rows, sorts, together
from git_theta.terminal.style import Style

DOCS = Path(__file__).parents[2] / "docs" / "diffing.md"


def growth(change: Change) -> float | None:
    return change.new_norm / change.old_norm if change.new_norm and change.old_norm else None


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more metric: that is all that has to be written for it."""
    metric = Metric(
        "growth", growth, "‖w′‖/‖w‖", "growth", "how much longer it became", 8, total=7, order=growth
    )
    monkeypatch.setitem(METRICS, "growth", metric)
    importlib.reload(command)
    yield
    monkeypatch.undo()
    importlib.reload(command)


@pytest.mark.usefixtures("growing")
def test_a_new_metric_is_a_choice() -> None:
    said = CliRunner().invoke(command.command, ["--help"]).output
    assert "[relative|norm|changed|growth|name]" in "".join(said.split())
    assert "changed, rank, growth." in " ".join(said.split())
    refused = CliRunner().invoke(command.command, ["--metric", "growth,beauty"]).output
    assert "'beauty' is none of relative, norm, rms, max, cosine, changed, rank, growth" in refused


@pytest.mark.usefixtures("growing")
def test_a_new_metric_is_in_json() -> None:
    report = lora_report()
    found = schema.as_dict(report, sort="growth")
    wanted = {row.name: growth(row.change) for row in report.rows if row.change is not None}
    assert {row["name"]: row["growth"] for row in found["tensors"]} == wanted
    assert [row["growth"] for row in found["tensors"]] == sorted(wanted.values(), reverse=True)
    assert found["summary"]["growth"] == growth(report.totals.change)
    assert [layer["growth"] for layer in found["layers"]] == [
        growth(layer.totals.change) for layer in report.layers
    ]


@pytest.mark.usefixtures("growing")
def test_a_new_metric_is_shown() -> None:
    report = lora_report()
    cell = METRICS["growth"].show(report.totals.change)
    assert cell
    assert any(f"‖w′‖/‖w‖ {cell}" in line for line in summary.summary(report, Style(200)))
    assert "‖w′‖/‖w‖" in table.render(report, Style(200))
    assert "‖w′‖/‖w‖" in table.render(report, Style(80), metrics=["growth"], sort="growth")
    assert "how much longer it became" in page.render(report)


def test_the_page_about_diffs_has_the_table() -> None:
    page_text = DOCS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \| `(\w+)` \| (.*) \|$", page_text, re.MULTILINE)
    escaped = [(one.title.replace("|", r"\|"), one.field, one.meaning) for one in METRICS.values()]
    assert [row for row in rows if row[1] in {one.field for one in METRICS.values()}] == escaped
    for names in (list(METRICS), [one.field for one in of_rows()]):
        assert ", ".join(f"`{name}`" for name in names) in page_text
    choices = r"\|".join(sorts())
    assert f"`--sort {choices}`" in page_text


def test_places_are_given_once() -> None:
    totals = [metric.total for metric in METRICS.values() if metric.total is not None]
    for places in (totals, [metric.importance for metric in METRICS.values()]):
        assert sorted(places) == list(range(1, len(places) + 1))


def test_nothing_together_is_no_change() -> None:
    assert together([]) is None
    bits = together([Change(4, 1), Change(4, 3)])
    assert bits == Change(8, 4)
    assert together([Change(4, 1), Change(4, 0, norm=0.0, max_abs=0.0, cosine=1.0)]) == Change(
        8, 1, norm=0.0, old_norm=0.0, new_norm=0.0, max_abs=0.0
    )
