"""The numbers behind the pictures."""

from __future__ import annotations

import numpy as np
import pytest
from diff_examples import Content, fine_tuned, lora_report, random_model, showcase, tensor, version

from git_theta.diffs.compare import compare_checkpoints
from git_theta.diffs.heat import Cell, HeatMap, bars, heat_map
from git_theta.diffs.report import Report


def report_of(old: dict[str, Content], new: dict[str, Content], binned: bool = True) -> Report:
    return compare_checkpoints(version(old), version(new), binned=binned)


def cell(heat: HeatMap, layer: str, component: str) -> Cell | None:
    return heat.cells[heat.layers.index(layer)][heat.components.index(component)]


def test_layers_and_components() -> None:
    heat = heat_map(lora_report())
    assert heat.layers == (*(f"h.{layer}" for layer in range(12)), "wte")
    assert heat.components == (
        "attn.k.weight",
        "attn.o.weight",
        "attn.q.weight",
        "attn.v.weight",
        "ln.bias",
        "ln.weight",
        "mlp.up.weight",
        "weight",
    )
    report = lora_report()
    row = next(row for row in report.rows if row.name == "h.3.attn.q.weight")
    assert row.change is not None
    assert cell(heat, "h.3", "attn.q.weight") == Cell(
        "changed", pytest.approx(row.change.relative_norm), ("h.3.attn.q.weight",)
    )
    assert cell(heat, "h.3", "attn.k.weight") == Cell("unchanged", 0.0, ("h.3.attn.k.weight",))
    assert cell(heat, "wte", "attn.k.weight") is None


def test_states() -> None:
    heat = heat_map(showcase())
    found = {
        (c.state, c.names[0])
        for row in heat.cells
        for c in row
        if c and c.state not in ("changed", "unchanged")
    }
    assert found == {
        ("added", "classifier.weight"),
        ("added", "lm_head.weight"),
        ("removed", "h.3.ln.bias"),
        ("unknown", "h.5.attn.v.weight"),
    }


def test_experts_share_a_cell() -> None:
    old = {f"h.0.experts.{number}.w": tensor("F32", np.full(4, 2.0)) for number in range(3)}
    new = {
        **old,
        "h.0.experts.1.w": tensor("F32", np.full(4, 3.0)),
        "h.0.experts.2.w": tensor("F32", np.full(4, 2.5)),
    }
    heat = heat_map(report_of(old, new))
    found = cell(heat, "h.0", "experts.#.w")
    assert found is not None
    assert found.names == ("h.0.experts.1.w", "h.0.experts.2.w")
    assert found.value == pytest.approx((5 / 32) ** 0.5)


def test_numbers_inside_words_are_kept() -> None:
    old = {f"h.0.ln_{number}.w": tensor("F32", np.ones(4)) for number in (1, 2)}
    new = {name: tensor("F32", np.zeros(4)) for name in old}
    assert heat_map(report_of(old, new)).components == ("ln_1.w", "ln_2.w")


def test_bounds() -> None:
    heat = heat_map(lora_report())
    values = [c.value for row in heat.cells for c in row if c and c.value]
    assert heat.bounds == (min(values), max(values))
    nothing = heat_map(report_of(random_model(1), random_model(1)))
    assert nothing.bounds == (0.1, 1.0)


def test_bars() -> None:
    old = {"a": tensor("F32", np.zeros(7))}
    new = {"a": tensor("F32", np.array([0, 1.5, 1, -2, -3, 8, 0]))}
    found = bars(report_of(old, new))
    assert found is not None
    assert found.exponents == (0, 1, 2, 3)
    assert found.rising == (2, 0, 0, 1)
    assert found.falling == (0, 2, 0, 0)
    assert found.still == 2


def test_every_entry_is_in_a_bar() -> None:
    model = random_model()
    report = report_of(model, fine_tuned(model))
    found = bars(report)
    assert found is not None
    entries = sum(found.rising) + sum(found.falling) + found.still
    assert report.totals.change is not None
    assert entries == pytest.approx(report.totals.change.elements, rel=1e-4)


def test_no_bars_unless_counted() -> None:
    model = random_model(1)
    assert bars(report_of(model, fine_tuned(model), binned=False)) is None


def test_nothing_changed_by_anything() -> None:
    views = report_of({"a": tensor("F32", np.array([0.0]))}, {"a": tensor("F32", np.array([-0.0]))})
    found = bars(views)
    assert found is not None
    assert (found.exponents, found.still) == ((), 1)
