"""Comparing checkpoints: from manifests and tensors to a report."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from diff_examples import (
    Content,
    absent,
    changed,
    fine_tuned,
    random_model,
    tensor,
    values,
    version,
    with_lora,
)

from git_theta.diffs.compare import Version, compare_checkpoints
from git_theta.diffs.report import Report, Row, ordered
from git_theta.dtypes import dtype
from git_theta.manifest import TensorLine, View
from git_theta.tensors import ArrayTensor, Tensor

MODEL = random_model()


def row(report: Report, name: str) -> Row:
    return next(found for found in report.rows if found.name == name)


def numbers_of(report: Report) -> dict[str, float]:
    return {found.name: found.change.norm for found in report.rows if found.change}


def test_only_tensors_that_differ_are_read() -> None:
    new = with_lora(MODEL, ["q"])
    opened: list[str] = []

    def counting(side: Version) -> Version:
        def opener(line: TensorLine) -> Tensor:
            opened.append(line.name)
            return side.open(line)

        return replace(side, open=opener)

    report = compare_checkpoints(counting(version(MODEL)), counting(version(new)))
    names = [f"h.{layer}.attn.q.weight" for layer in range(4)]
    assert sorted(opened) == sorted(names * 2)
    assert [found.name for found in report.rows] == names
    assert len(report.unchanged) == len(MODEL) - 4


def test_totals_are_those_of_one_long_vector() -> None:
    new = fine_tuned(MODEL)
    report = compare_checkpoints(version(MODEL), version(new))
    a, b = (np.concatenate([values(side[name]).ravel() for name in sorted(MODEL)]) for side in (MODEL, new))
    totals = report.totals.change
    assert totals is not None
    assert totals.norm == pytest.approx(np.linalg.norm(b - a), rel=1e-6)
    assert totals.old_norm == pytest.approx(np.linalg.norm(a), rel=1e-6)
    assert totals.relative_norm == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-6)
    assert totals.rms == pytest.approx(np.sqrt(((b - a) ** 2).mean()), rel=1e-6)
    assert totals.max_abs == pytest.approx(np.abs(b - a).max(), rel=1e-6)
    assert totals.changed == np.count_nonzero(a != b)
    assert totals.cosine == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-7)
    assert report.totals.parameters == totals.elements == a.size
    layer = next(found for found in report.layers if found.name == "h.2")
    assert layer.all == 7
    assert layer.totals.change is not None
    assert layer.totals.change.norm == pytest.approx(
        math.hypot(*(row(report, name).change.norm for name in MODEL if name.startswith("h.2.")))
    )


def test_sides() -> None:
    report = compare_checkpoints(version(MODEL, "HEAD~1"), version(MODEL, "HEAD"), path="m.safetensors")
    assert report.old is not None
    assert (report.old.label, report.old.format, report.old.tensors) == ("HEAD~1", "safetensors", 29)
    assert report.old.parameters == sum(math.prod(shape) for _, shape, _ in MODEL.values())
    assert report.identical
    assert report.rows == ()


def test_a_missing_object_makes_one_row_unknown() -> None:
    new = with_lora(MODEL, ["q"])
    lost = "h.1.attn.q.weight"
    report = compare_checkpoints(version(MODEL), version(new, missing=[lost]))
    assert row(report, lost).unknown.endswith("is missing; git theta fetch")
    assert row(report, lost).change is None
    assert [found.unknown for found in report.rows if found.name != lost] == ["", "", ""]
    assert report.totals.unknown == 1


def test_a_disk_that_fails_makes_rows_unknown() -> None:
    def broken(line: TensorLine) -> Tensor:
        raise OSError(5, "Input/output error")

    report = compare_checkpoints(version(MODEL), replace(version(with_lora(MODEL)), open=broken))
    assert {found.unknown for found in report.rows} == {"[Errno 5] Input/output error"}


def test_without_values_nothing_is_read() -> None:
    def broken(line: TensorLine) -> Tensor:
        raise AssertionError

    sides = (replace(version(side), open=broken) for side in (MODEL, fine_tuned(MODEL)))
    report = compare_checkpoints(*sides, values=False)
    assert not report.valued
    assert len(report.rows) == len(MODEL)
    assert {found.change for found in report.rows} == {None}


def test_renamed_tensors_have_zero_norms_without_being_read() -> None:
    def broken(line: TensorLine) -> Tensor:
        raise AssertionError

    new = {f"model.{name}": content for name, content in MODEL.items()}
    report = compare_checkpoints(*(replace(version(side), open=broken) for side in (MODEL, new)))
    assert report.amount.counts["renamed"] == len(MODEL)
    assert report.totals.change is not None
    assert report.totals.change.norm == 0 == report.totals.change.relative_norm
    assert row(report, "model.wte.weight").old_name == "wte.weight"


def test_a_file_that_came_or_went() -> None:
    assert compare_checkpoints(absent(), version(MODEL)).amount.counts["added"] == len(MODEL)
    gone = compare_checkpoints(version(MODEL), absent())
    assert gone.amount.counts["removed"] == len(MODEL)
    assert gone.stored == 0
    assert compare_checkpoints(absent(), absent()).identical


def test_more_rows_are_compared_as_far_as_both_go() -> None:
    vocabulary = values(MODEL["wte.weight"])
    for rows in (500, 600):
        longer = np.resize(vocabulary, (rows, 64))
        report = compare_checkpoints(version(MODEL), version({**MODEL, "wte.weight": tensor("BF16", longer)}))
        (found,) = report.rows
        assert (found.status, found.compared) == ("reshaped", f"the first {min(rows, 512)} rows")
        assert found.change is not None
        assert (found.change.elements, found.change.changed) == (min(rows, 512) * 64, 0)


def test_other_shapes_are_not_compared() -> None:
    old, new = {"a": tensor("F32", np.ones((4, 4)))}, {"a": tensor("F32", np.ones((4, 5)))}
    (found,) = compare_checkpoints(version(old), version(new)).rows
    assert (found.status, found.change, found.unknown) == ("reshaped", None, "")
    assert found.compared == "nothing: the shapes do not fit"


def test_a_reshaped_tensor_is_compared_flat() -> None:
    old, new = {"a": tensor("F32", np.ones((4, 4)))}, {"a": tensor("F32", np.full((2, 8), 2.0))}
    (found,) = compare_checkpoints(version(old), version(new)).rows
    assert found.change is not None
    assert found.change.norm == 4.0


def test_dtypes_that_do_not_compare() -> None:
    old, new = {"a": ("F4", (4,), bytes(2))}, {"a": tensor("F32", np.ones(4))}
    (found,) = compare_checkpoints(version(old), version(new)).rows
    assert (found.status, found.change) == ("cast", None)
    assert found.compared == "nothing: F4 and F32 do not compare"


def test_formats_compare_by_name_and_values() -> None:
    weights = np.random.default_rng(0).standard_normal((5, 7))
    stored = {"storage:w": tensor("F32", weights.T)}
    transposed = View("w", "storage:w", dtype("F32"), (5, 7), 0, (1, 5))
    old = version(stored, views=[transposed], form="pytorch")
    same = compare_checkpoints(old, version({"w": tensor("F32", weights)}))
    assert same.rows == ()
    assert same.unchanged == ("w",)
    moved = compare_checkpoints(old, version({"w": tensor("F32", weights + 1)}))
    assert moved.rows[0].change is not None
    assert moved.rows[0].change.norm == pytest.approx(math.sqrt(35), rel=1e-6)


def test_views_of_data_of_which_another_part_changed_are_unchanged() -> None:
    views = [View(name, "storage:a", dtype("F32"), (3,), start, (1,)) for name, start in (("a", 0), ("b", 3))]
    old, new = ({"storage:a": tensor("F32", np.array([1, 2, 3, 4, 5, last]))} for last in (6.0, 7.0))
    report = compare_checkpoints(version(old, views=views), version(new, views=views))
    assert [found.name for found in report.rows] == ["b"]
    assert report.unchanged == ("a",)


def test_tied_tensors_are_named_and_count_once() -> None:
    tied = [View("lm_head.weight", "wte.weight", dtype("BF16"), (512, 64), 0, (64, 1))]
    new = {**MODEL, "wte.weight": changed(MODEL["wte.weight"], 0.01)}
    report = compare_checkpoints(version(MODEL, views=tied), version(new, views=tied))
    (found,) = report.rows
    assert found.tied == ("lm_head.weight",)
    assert report.totals.parameters == 512 * 64
    assert len(report.unchanged) == len(MODEL) - 1


def test_bytes_stored() -> None:
    new = with_lora(MODEL, ["q"])
    after = version(new, updates={"h.0.attn.q.weight": "low-rank"})
    report = compare_checkpoints(version(MODEL), after)
    each = 128 * 128 * 2 // 10
    assert report.stored == 4 * each
    assert (row(report, "h.0.attn.q.weight").stored, row(report, "h.0.attn.q.weight").update) == (
        each,
        "low-rank",
    )
    assert after.manifest is not None
    identity = replace(after, manifest=after.manifest.with_storage({}))
    looked = compare_checkpoints(version(MODEL), identity)
    assert looked.stored is None
    assert row(looked, "h.0.attn.q.weight").stored is None


def test_a_version_that_is_taken_back_to_is_stored_already() -> None:
    """The newer one was predicted from it, so its manifest says where it is, but not what."""
    before, after = version(with_lora(MODEL, ["q"])), version(MODEL)
    assert before.manifest is not None
    assert after.manifest is not None
    storage = dict(before.manifest.storage)
    for line in after.manifest.storage.values():
        storage.setdefault(line.place, replace(line, digest=line.place, update=""))
    before = replace(before, manifest=before.manifest.with_storage(storage))
    report = compare_checkpoints(before, after)
    assert row(report, "h.0.attn.q.weight").status == "modified"
    assert {found.stored for found in report.rows} == {None}


def test_an_object_that_tensors_share_is_no_rows_own() -> None:
    after = version(with_lora(MODEL, ["q"]))
    assert after.manifest is not None
    shared = {key: replace(line, oid="0" * 64, size=5000) for key, line in after.manifest.storage.items()}
    report = compare_checkpoints(version(MODEL), replace(after, manifest=after.manifest.with_storage(shared)))
    assert report.stored == 5000
    assert {found.stored for found in report.rows} == {None}


def test_progress_ends_at_its_total() -> None:
    told: list[tuple[int, int]] = []
    compare_checkpoints(
        version(MODEL),
        version(with_lora(MODEL, ["q"])),
        progress=lambda done, all_: told.append((done, all_)),
    )
    assert told[-1] == (4 * 128 * 128, 4 * 128 * 128)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_order_of_threads_does_not_matter() -> None:
    sides = version(MODEL), version(fine_tuned(MODEL))
    first = compare_checkpoints(*sides, threads=1)
    assert all(numbers_of(compare_checkpoints(*sides, threads=4)) == numbers_of(first) for _ in range(3))


def test_orders() -> None:
    def big(scale: float, count: int) -> Content:
        return tensor("F32", np.full(count, scale))

    old = {"a2": big(1, 4), "a10": big(10, 100), "b": big(1, 1), "zero": big(0, 2)}
    new = {"a2": big(2, 4), "a10": big(11, 100), "come": big(1, 3), "zero": big(1, 2)}
    rows = compare_checkpoints(version(old), version(new)).rows

    def names(sort: str) -> list[str]:
        return [found.name for found in ordered(rows, sort)]  # type: ignore[arg-type]

    assert names("name") == ["a2", "a10", "b", "come", "zero"]
    assert names("relative") == ["b", "come", "zero", "a2", "a10"]
    assert names("norm") == ["b", "come", "a10", "a2", "zero"]
    assert names("changed") == ["b", "come", "a2", "a10", "zero"]


def test_bins_are_counted_when_asked_for() -> None:
    sides = version(MODEL), version(with_lora(MODEL, ["q"]))
    assert all(found.change.bins is None for found in compare_checkpoints(*sides).rows if found.change)
    for found in compare_checkpoints(*sides, binned=True).rows:
        assert found.change is not None
        assert found.change.bins.sum() == 128 * 128


def test_nothing_slow_is_imported() -> None:
    """A stat needs no NumPy; nothing needs what takes long to import."""
    program = (
        "import sys, git_theta.diffs.compare, git_theta.diffs.stat, git_theta.diffs.table,"
        " git_theta.diffs.schema, git_theta.diffs.textconv, git_theta.diffs.three_way_table,"
        " git_theta.diffs.show\n"
        "slow = {'numpy', 'torch', 'zarr', 'rich', 'git', 'matplotlib', 'safetensors'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "import git_theta.diffs.metrics, git_theta.diffs.page, git_theta.diffs.picture\n"
        "slow = {'torch', 'zarr', 'rich', 'git', 'matplotlib', 'safetensors'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_reading_takes_what_the_opener_gives() -> None:
    """An opener is asked for the dtype and shape that are compared, and may map the file's memory."""
    data = np.ones(6, "<f4")
    view = View("w", "raw", dtype("F32"), (6,), 0, (1,))
    asked: list[TensorLine] = []

    def opener(line: TensorLine) -> Tensor:
        asked.append(line)
        return ArrayTensor(line.dtype, line.shape, data.tobytes())

    old = replace(version({"raw": ("U8", (24,), data.tobytes())}, views=[view]), open=opener)
    (found,) = compare_checkpoints(
        old, version({"w": tensor("F32", np.zeros(6)), "raw": ("U8", (24,), data.tobytes())})
    ).rows
    assert found.change is not None
    assert found.change.norm == pytest.approx(math.sqrt(6))
    assert [(line.dtype.name, line.shape) for line in asked] == [("F32", (6,))]
