"""Ours and theirs against their base."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from diff_examples import (
    Content,
    absent,
    all_dtypes,
    check_golden,
    fine_tuned,
    random_model,
    tensor,
    values,
    version,
)

from git_theta.diffs import blocks, tasks, three_way_table
from git_theta.diffs.agreement import Agreement, together
from git_theta.diffs.style import Style
from git_theta.diffs.three_way import ThreeWay, compare_three
from git_theta.dtypes import dtype
from git_theta.manifest import TensorLine, ViewLine
from git_theta.tensors import Tensor
from git_theta.values import is_number, to_float

MODEL = random_model()


def compare(base: dict[str, Content], ours: dict[str, Content], theirs: dict[str, Content]) -> ThreeWay:
    return compare_three(version(base, "base"), version(ours, "main"), version(theirs, "topic"), path="m.bin")


def reference(base: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> Agreement:
    a, b = ours - base, theirs - base
    both = (a != 0) & (b != 0)
    return Agreement(
        base.size,
        int((a != 0).sum()),
        int((b != 0).sum()),
        int(both.sum()),
        int((a * b < 0).sum()),
        float(np.linalg.norm(base)),
        float(np.linalg.norm(a)),
        float(np.linalg.norm(b)),
        float((a * b).sum()),
    )


def check(found: Agreement, expected: Agreement) -> None:
    for name in ("elements", "ours_changed", "theirs_changed", "both_changed", "conflicts"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("base_norm", "ours_norm", "theirs_norm"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    slack = 1e-6 * expected.ours_norm * expected.theirs_norm
    assert found.product == pytest.approx(expected.product, abs=slack)


@pytest.mark.parametrize("kind", ["BF16", "F16", "F32", "F64", "F8_E4M3", "I16", "I64"])
@pytest.mark.parametrize("block", [2048, blocks.BLOCK])
def test_against_numpy(kind: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    rng = np.random.default_rng(0)
    scale = 100 if kind[0] == "I" else 1
    base = np.rint(scale * rng.standard_normal(5000)) if kind[0] == "I" else rng.standard_normal(5000)
    sides = [tensor(kind, base.astype(int) if kind[0] == "I" else base)]
    for _ in range(2):
        step = np.where(rng.random(5000) < 0.5, scale * rng.standard_normal(5000), 0)
        moved = values(sides[0]) + step
        sides.append(tensor(kind, moved.astype(int) if kind[0] == "I" else moved))
    bits = [np.frombuffer(side[2], dtype(kind).storage) for side in sides]
    expected = reference(*(values(side) for side in sides))
    moved = [side != bits[0] for side in bits[1:]]
    counts = [int(mask.sum()) for mask in (*moved, moved[0] & moved[1])]  # 0.0 to -0.0 is a change, too
    names = ("ours_changed", "theirs_changed", "both_changed")
    expected = replace(expected, **dict(zip(names, counts, strict=True)))
    check(tasks.compare_bits(*bits, dtype(kind)), expected)


@pytest.mark.parametrize("kind", [kind.name for kind in all_dtypes() if is_number(kind)])
def test_any_bits(kind: str) -> None:
    form = dtype(kind)
    rng = np.random.default_rng(0)
    bits = [np.frombuffer(rng.bytes(1000 * form.itemsize), form.storage) for _ in range(3)]
    found = tasks.compare_bits(*bits, form)
    assert found.elements == 1000 // form.components
    with np.errstate(invalid="ignore"):
        numbers = [to_float(side, form).astype(np.float64) for side in bits]
    finite = np.logical_and.reduce([np.isfinite(side) for side in numbers])
    base = np.where(finite, numbers[0], 0)
    with np.errstate(over="ignore"):
        expected = float(np.sqrt((base.astype(np.longdouble) ** 2).sum()))
    assert found.base_norm == pytest.approx(expected, rel=1e-6)


def test_a_sign_conflict_is_one_whatever_the_size() -> None:
    base, ours, theirs = np.array([0, 0, 1, 0.0]), np.array([1e-30, 1, 1, -0.0]), np.array([-1e-30, 2, 0, 5])
    bits = [side.astype("<f4").view("<u4") for side in (base, ours, theirs)]
    found = tasks.compare_bits(*bits, dtype("F32"))
    assert (found.ours_changed, found.theirs_changed, found.both_changed, found.conflicts) == (3, 4, 3, 1)


def test_parts_taken_together() -> None:
    rng = np.random.default_rng(0)
    sides = rng.standard_normal((3, 600))
    pieces = [reference(*sides[:, start : start + 100]) for start in range(0, 600, 100)]
    check(together(pieces), reference(*sides))
    assert together([]) == Agreement()


def test_derived_numbers() -> None:
    found = Agreement(10, 6, 5, 4, 1, 2.0, 1.0, 0.5, -0.25)
    assert (found.cosine, found.conflict_fraction, found.overlap_fraction) == (-0.5, 0.25, 4 / 7)
    assert (found.ours_relative, found.theirs_relative) == (0.5, 0.25)
    nothing = Agreement()
    assert (nothing.cosine, nothing.conflict_fraction, nothing.overlap_fraction) == (None, None, None)
    assert (nothing.ours_relative, nothing.theirs_relative) == (None, None)


def fates(report: ThreeWay) -> dict[str, tuple[str, str, bool]]:
    return {row.name: (row.ours, row.theirs, row.same) for row in report.rows}


def test_fates() -> None:
    one, two, three = (tensor("F32", np.full(3, float(n))) for n in (1, 2, 3))
    base = {"same": one, "ours": one, "both": one, "alike": one, "gone": one, "dropped": one}
    ours = {"same": one, "ours": two, "both": two, "alike": two, "gone": one, "new": one}
    theirs = {"same": one, "ours": one, "both": three, "alike": two, "dropped": two, "new": one}
    report = compare(base, ours, theirs)
    assert fates(report) == {
        "alike": ("modified", "modified", True),
        "both": ("modified", "modified", False),
        "dropped": ("removed", "modified", False),
        "gone": ("unchanged", "removed", False),
        "new": ("added", "added", True),
        "ours": ("modified", "unchanged", False),
    }
    assert [row.name for row in report.rows if row.both] == ["both", "dropped"]
    assert report.unchanged == 1
    known = {row.name: row.agreement for row in report.rows}
    assert known["dropped"] is None
    assert known["gone"] is None
    assert known["ours"] == Agreement(3, 3, 0, 0, 0, pytest.approx(3**0.5), pytest.approx(3**0.5), 0.0, 0.0)
    assert known["alike"].cosine == pytest.approx(1)
    assert known["both"].product == pytest.approx(6)


def test_a_side_that_is_not_there() -> None:
    one = {"a": tensor("F32", np.ones(3))}
    report = compare_three(absent(), version(one), version(one))
    assert fates(report) == {"a": ("added", "added", True)}


def test_equal_versions_are_read_once() -> None:
    opened: list[str] = []
    sides = []
    for content in (MODEL, fine_tuned(MODEL), MODEL):
        side = version(content)

        def opener(line: TensorLine, side=side) -> Tensor:  # type: ignore[no-untyped-def]
            opened.append(line.name)
            return side.open(line)

        sides.append(replace(side, open=opener))
    compare_three(*sides, only="h.0.attn.*")
    assert len(opened) == 4 * 2


def test_a_missing_object_makes_one_row_unknown() -> None:
    report = compare_three(
        version(MODEL), version(fine_tuned(MODEL), missing=["wte.weight"]), version(fine_tuned(MODEL, seed=3))
    )
    unknown = [row.name for row in report.rows if row.unknown]
    assert unknown == ["wte.weight"]
    assert "wte.weight: unknown: object" in three_way_table.render(report, Style(100))


def test_other_shapes_have_no_agreement() -> None:
    report = compare(*({"a": tensor("F32", np.ones(size))} for size in (3, 4, 5)))
    (row,) = report.rows
    assert row.agreement is None
    assert "ours modified, theirs modified" in three_way_table.render(report, Style())


def test_views_of_other_parts_are_left_out() -> None:
    views = [
        ViewLine(name, "storage:a", dtype("F32"), (2,), start, (1,)) for name, start in (("a", 0), ("b", 2))
    ]
    sides = [
        version({"storage:a": tensor("F32", np.array([1, 2, 3, last]))}, views=views)
        for last in (4.0, 5.0, 6.0)
    ]
    assert [row.name for row in compare_three(*sides).rows] == ["b"]


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (0.9, "point the same way"),
        (-0.9, "pull apart"),
        (0.0, "nearly orthogonal"),
    ],
)
def test_verdicts(theirs: float, words: str) -> None:
    rng = np.random.default_rng(0)
    base, step, other = rng.standard_normal((3, 4000))
    mixed = theirs * step + math.sqrt(max(0.0, 1 - abs(theirs))) * other
    report = compare(*({"a": tensor("F32", side)} for side in (base, base + 0.1 * step, base + 0.1 * mixed)))
    assert words in report.verdict
    assert ("conflicting signs" in report.verdict) == (theirs <= 0)


def test_a_verdict_when_only_one_side_changed() -> None:
    assert "nothing has to be reconciled" in compare(MODEL, fine_tuned(MODEL), MODEL).verdict
    assert compare(MODEL, MODEL, MODEL).rows == ()


def test_what_only_one_side_added_is_not_changed_by_both() -> None:
    report = compare(MODEL, {**MODEL, "head.weight": tensor("F32", np.ones(3))}, MODEL)
    assert "nothing has to be reconciled" in report.verdict
    shown = three_way_table.render(report, Style(100))
    assert "0 tensors changed on both sides, 1 only by ours, 0 only by theirs" in shown


def test_golden() -> None:
    ours, theirs = fine_tuned(MODEL), fine_tuned(MODEL, seed=3)
    theirs["h.3.mlp.up.weight"] = MODEL["h.3.mlp.up.weight"]
    ours["head.weight"] = theirs["head.weight"] = tensor("F32", np.ones(3))
    report = compare(MODEL, ours, theirs)
    check_golden("three_way.txt", three_way_table.render(report, Style(80)))
    check_golden("three_way_tensors.txt", three_way_table.render(report, Style(80, True), tensors=True))
