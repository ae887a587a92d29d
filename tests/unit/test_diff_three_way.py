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

from git_theta.diffs import blocks, largest, tasks, three_way_table
from git_theta.diffs.agreement import Agreement, together
from git_theta.diffs.three_way import ThreeWay, compare_three
from git_theta.dtypes import dtype
from git_theta.manifest import TensorLine, View
from git_theta.tensors import Tensor
from git_theta.terminal.style import Style
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


@pytest.mark.parametrize("block", [2048, blocks.BLOCK])
def test_against_numpy(block: int, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests) -> None:
    for kind in ("BF16", "F16", "F32", "F64", "F8_E4M3", "I16", "I64"):
        with subtests.test(kind=kind):
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
            counts = [
                int(mask.sum()) for mask in (*moved, moved[0] & moved[1])
            ]  # 0.0 to -0.0 is a change, too
            names = ("ours_changed", "theirs_changed", "both_changed")
            expected = replace(expected, **dict(zip(names, counts, strict=True)))
            check(tasks.compare_bits(*bits, dtype(kind)), expected)


def test_any_bits(subtests: pytest.Subtests) -> None:
    for kind in [one.name for one in all_dtypes() if is_number(one)]:
        with subtests.test(kind=kind):
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
    assert "ours reshaped, theirs reshaped" in three_way_table.render(report, Style())


def test_views_of_other_parts_are_left_out() -> None:
    views = [View(name, "storage:a", dtype("F32"), (2,), start, (1,)) for name, start in (("a", 0), ("b", 2))]
    sides = [
        version({"storage:a": tensor("F32", np.array([1, 2, 3, last]))}, views=views)
        for last in (4.0, 5.0, 6.0)
    ]
    assert [row.name for row in compare_three(*sides).rows] == ["b"]


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (0.9, "an average is safe (cosine of the task vectors +0.9"),
        (-0.9, "an average cancels much of both"),
        (
            0.0,
            "the largest 20% of the changes overlap by 19.2%: in tests, averages of such pairs lost 19",
        ),
    ],
)
def test_verdicts(theirs: float, words: str) -> None:
    rng = np.random.default_rng(0)
    base, step, other = rng.standard_normal((3, 4000))
    mixed = theirs * step + math.sqrt(max(0.0, 1 - abs(theirs))) * other
    report = compare(*({"a": tensor("F32", side)} for side in (base, base + 0.1 * step, base + 0.1 * mixed)))
    assert words in report.verdict
    assert report.verdict.endswith("only an evaluation tells") == (theirs <= 0)


def changed_at(places: range, values: float) -> np.ndarray:
    """1,000 small changes, large ones at some places."""
    change = 1e-3 * np.cos(np.arange(1000))
    change[places] = values * np.where(np.arange(len(places)) % 2, 1, -1)
    return change


@pytest.mark.parametrize(
    ("shift", "words"), [(50, "no accuracy"), (100, "2.5 points"), (130, "6.5 points"), (150, "19 points")]
)
def test_the_overlap_of_the_largest_fifth_of_changes(shift: int, words: str) -> None:
    """Of 200 large changes each, 200 - shift are at the same places; the signs there are half alike."""
    base = np.linspace(1, 2, 1000)
    ours, theirs = changed_at(range(200), 0.1), changed_at(range(shift, shift + 200), 0.1)
    theirs *= np.where(np.arange(1000) // 2 % 2, -1, 1)
    pairs = ((0 * base, 1), (ours, 10**9), (theirs, 10**9 + 1))
    report = compare(
        *({"a": tensor("F64", base + change), "n": tensor("I64", np.full(3, n))} for change, n in pairs)
    )
    assert report.overlap == (200 - shift) / 200
    share = f"{100 - shift // 2:.1f}%"
    assert f"overlap by {share}: in tests, averages of such pairs lost {words}" in report.verdict


def test_models_that_were_trained_apart() -> None:
    rng = np.random.default_rng(0)
    base, ours, theirs = rng.standard_normal((3, 4000))
    report = compare(*({"a": tensor("F32", side)} for side in (base, ours, theirs)))
    cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
    distance = np.linalg.norm(ours - theirs) / np.linalg.norm(base)
    assert report.weights is not None
    assert report.weights.cosine == pytest.approx(cosine, abs=1e-6)
    assert report.weights.relative_distance == pytest.approx(distance, rel=1e-6)
    words = "trained apart: an average will not work (cosine of the weights"
    assert words in report.verdict
    # Their task vectors have a cosine of one half: they share what the base has not.
    assert report.cosine == pytest.approx(0.5, abs=0.05)
    red = three_way_table.render(report, Style(100, True)).splitlines()
    assert any("\x1b[31m" in line and " all " in line for line in red)
    far = compare(*({"a": tensor("F32", side)} for side in (base, 5 * base, 3 * base)))
    assert (
        "trained apart: an average will not work (cosine of the weights +1.00, distance 2.00" in far.verdict
    )
    near = compare(*({"a": tensor("F32", side)} for side in (base, base + ours / 9, base + theirs / 9)))
    assert "trained apart" not in near.verdict


def test_models_without_a_common_base_that_were_trained_apart() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = ({"a": tensor("F32", side)} for side in rng.standard_normal((2, 4000)))
    report = compare_three(absent(), version(ours), version(theirs))
    assert report.verdict.startswith("trained apart: an average will not work (cosine of the weights")
    assert report.agreement == Agreement()
    assert report.overlap is None


def test_new_heads_on_one_body_were_not_trained_apart() -> None:
    """What nobody changed counts by its recorded norm."""
    rng = np.random.default_rng(0)
    body = rng.standard_normal(4000)
    sides = [{"body": tensor("F32", body), "head": tensor("F32", rng.standard_normal(400))} for _ in range(3)]
    versions = [version(side) for side in sides]
    base = versions[0].manifest
    assert base is not None
    known = {line.digest: float(np.linalg.norm(body)) for line in base.tensors if line.name == "body"}
    report = compare_three(*versions, norms=lambda: known)
    assert report.weights is not None
    whole = [np.concatenate([values(side["body"]), values(side["head"])]) for side in sides]
    cosine = whole[1] @ whole[2] / np.linalg.norm(whole[1]) / np.linalg.norm(whole[2])
    assert report.weights.cosine == pytest.approx(cosine, abs=1e-5)
    assert "only an evaluation tells" in report.verdict or "is safe" in report.verdict
    assert compare_three(*versions).weights is None


def test_a_sample_says_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base, one, other, common = rng.standard_normal((4, 200, 512))
    sides = [{"a": tensor("BF16", base + change / 9)} for change in (0 * base, one + common, other + common)]
    exact = compare(*sides).overlap
    monkeypatch.setattr(largest, "_SAMPLE", 20_000)
    sampled = compare(*sides).overlap
    assert exact is not None
    assert sampled != exact
    assert sampled == pytest.approx(exact, abs=0.03)


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
