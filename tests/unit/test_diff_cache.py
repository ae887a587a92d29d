"""Comparisons that remember what was measured before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diff_examples import Content, changed, random_model, tensor, version, with_lora

from git_theta.diffs import cache
from git_theta.diffs.cache import Memory
from git_theta.diffs.change import Change
from git_theta.diffs.compare import Version, compare_checkpoints
from git_theta.diffs.entries import Entry
from git_theta.diffs.report import Report
from git_theta.dtypes import dtype
from git_theta.manifest import TensorLine
from git_theta.objects.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index.sqlite")
    yield index
    index.close()


def compared(index: Index, old: Version, new: Version) -> Report:
    return compare_checkpoints(old, new, memory=Memory(index))


def lost(model: Mapping[str, Content]) -> Version:
    """A version whose objects are all missing."""
    return version(model, missing=list(model))


def test_what_was_measured_is_not_read_again(index: Index) -> None:
    model = random_model(2)
    tuned = with_lora(model)
    tuned["h.0.ln.bias"] = changed(model["h.0.ln.bias"], np.full(128, np.nan))
    tuned["h.1.ln.weight"] = tensor("F16", np.ones(128))
    first = compared(index, version(model), version(tuned))
    assert [row.change.rank for row in first.rows if ".attn." in row.name and row.change] == [4] * 4
    again = compared(index, lost(model), lost(tuned))
    assert again == first


def test_only_the_same_tensors_have_the_same_answer(index: Index) -> None:
    old, new = np.ones((8, 8)), np.full((8, 8), 2.0)
    compared(index, version({"a": tensor("F32", old)}), version({"a": tensor("F32", new)}))
    for before, after in (
        (tensor("F32", old.reshape(4, 16)), tensor("F32", new)),
        (tensor("F32", new), tensor("F32", old)),
        (("I32", (8, 8), tensor("F32", old)[2]), tensor("F32", new)),
    ):
        (row,) = compared(index, lost({"a": before}), lost({"a": after})).rows
        assert row.unknown
    (row,) = compared(index, lost({"b": tensor("F32", old)}), lost({"b": tensor("F32", new)})).rows
    assert row.change is not None
    assert row.change.norm == 8.0


def test_what_could_not_be_read_is_not_remembered(index: Index) -> None:
    old, new = ({"a": tensor("F32", np.full(3, value))} for value in (1.0, 2.0))
    assert compared(index, lost(old), version(new)).totals.unknown == 1
    assert compared(index, version(old), version(new)).totals.unknown == 0


def test_numbers_that_are_not_finite(index: Index) -> None:
    old, new = ({"a": tensor("F64", np.full(4, value))} for value in (0.0, 1.7e308))
    first = compared(index, version(old), version(new))
    assert first.totals.change is not None
    assert first.totals.change.norm == np.inf
    assert compared(index, lost(old), lost(new)) == first


def test_numbers_of_numpy(index: Index) -> None:
    numbers = [np.float32(1.5), np.float64(2), 2.0, np.float32(0.5), None, np.int64(1), 0, np.int64(3)]
    found = Change(4, 2, *numbers)  # type: ignore[arg-type]
    old, new = (
        Entry("a", line.dtype, line.shape, line)
        for line in (TensorLine("a", dtype("F32"), (4,), digest) for digest in ("1" * 64, "2" * 64))
    )
    Memory(index).record([(old, new, found)])
    kept = Memory(index).find(old, new)
    assert kept == found
    assert kept is not None
    assert [type(value) for value in (kept.norm, kept.rank, kept.nans)] == [float, int, int]


def test_another_definition_is_measured_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = ({"a": tensor("F32", np.full(3, value))} for value in (1.0, 2.0))
    first = compared(index, version(old), version(new))
    monkeypatch.setattr(cache, "_DEFINITION", cache._DEFINITION + 1)
    assert compared(index, lost(old), lost(new)).totals.unknown == 1
    compared(index, version(old), version(new))
    assert compared(index, lost(old), lost(new)) == first


@pytest.mark.parametrize("text", ["", "{}", "[1]", "nonsense", '[1,"a",2,3,4,5,6,7,8,9,10]', b"\xff"])
def test_a_damaged_record_is_measured_again(index: Index, tmp_path: Path, text: str | bytes) -> None:
    old, new = (version({"a": tensor("F32", np.full(3, value))}) for value in (1.0, 2.0))
    first = compared(index, old, new)
    with sqlite3.connect(tmp_path / "index.sqlite") as database:
        database.execute("UPDATE changes SET change = ?", (text,))
    database.close()
    assert compared(index, old, new) == first
    assert compared(index, replace(old, open=lost({}).open), new) == first, "and recorded again"
