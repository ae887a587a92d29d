"""Checkpoints as text, for Git's own diff."""

from __future__ import annotations

import difflib
from dataclasses import replace

import numpy as np
from diff_examples import changed, random_model, tensor, version

from git_theta.diffs.textconv import FIRST_LINE, render
from git_theta.dtypes import dtype
from git_theta.manifest import TEXT_MAGIC, Manifest, View

MODEL = random_model(2)


def manifest(*args: object, **options: object) -> Manifest:
    found = version(*args, **options).manifest  # type: ignore[arg-type]
    assert found is not None
    return found


def test_clean_recognises_it() -> None:
    assert render(manifest(MODEL), {}).encode().startswith(TEXT_MAGIC)
    assert render(manifest(MODEL), {}).startswith(f"{FIRST_LINE} safetensors\n")


def test_one_line_for_each_tensor_sorted_by_name() -> None:
    lines = render(manifest(MODEL), {}).splitlines()
    assert [line.split("  ")[0] for line in lines[1:-1]] == sorted(MODEL)
    assert lines[-1].startswith("(metadata)  2 B  ")


def test_a_line() -> None:
    found = manifest({"a": tensor("F32", np.zeros((2, 3)))}, updates={"a": "delta"})
    digest = found.tensors[0].digest
    assert f"\na  F32  [2, 3]  norm 1.41421  {digest[:12]}  delta\n" in render(found, {digest: 2**0.5})
    assert f"\na  F32  [2, 3]  norm -  {digest[:12]}  delta\n" in render(found, {})
    assert f"\na  F32  [2, 3]  norm -  {digest[:12]}\n" in render(replace(found, storage={}), {})


def test_the_line_diff_lists_exactly_the_tensors_that_changed() -> None:
    new = {**MODEL, "wte.weight": changed(MODEL["wte.weight"], 0.01)}
    sides = (render(manifest(side), {}).splitlines() for side in (MODEL, new))
    moved = [line for line in difflib.unified_diff(*sides, lineterm="") if line[:1] in "+-"][2:]
    assert [line[:11] for line in moved] == ["-wte.weight", "+wte.weight"]


def test_views_say_whose_data_they_are() -> None:
    views = [
        View("head", "wte", dtype("F32"), (2, 3), 0, (3, 1)),
        View("row", "wte", dtype("F32"), (3,), 0, (1,)),
    ]
    found = render(manifest({"wte": tensor("F32", np.zeros((2, 3)))}, views=views), {})
    assert "\nhead  F32  [2, 3]  same as wte\n" in found
    assert "\nrow  F32  [3]  part of wte\n" in found


def test_opaque_files_are_one_line() -> None:
    found = manifest({"file": ("U8", (3,), b"abc")}, form="opaque")
    assert render(found, {}) == f"{FIRST_LINE} opaque\n3 B  {found.root[:12]}\n"


def test_a_name_is_no_line_of_its_own() -> None:
    assert len(render(manifest({"a\nb\x1b": tensor("F32", np.zeros(1))}), {}).splitlines()) == 3
