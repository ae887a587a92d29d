"""Codes, and what is no tensor that says what they stand for: both come from one side."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apply_case import Case, rules
from torch_files import saved

from git_theta.merges.rules import Rules

torch = pytest.importorskip("torch")

Make = Callable[[int, float, int], dict[str, Any]]
"""A file of these codes, described with this number, and something else that does not matter."""


def beside(wrap: Callable[[float], object]) -> Make:
    return lambda codes, scale, epoch: {
        "weight": torch.full((3,), codes, dtype=torch.int8),
        "weight_scale": wrap(scale),
        "epoch": epoch,
    }


def hqq(codes: int, scale: float, epoch: int) -> dict[str, Any]:
    meta = {"scale": torch.ones(3), "zero": torch.zeros(3), "nbits": scale, "axis": 0}
    return {
        "layer": {"W_q": torch.full((3,), codes, dtype=torch.uint8), "meta": meta},
        "epoch": epoch,
    }


def of_all(codes: int, scale: float, epoch: int) -> dict[str, Any]:
    tensors = {"a.qweight": torch.full((3,), codes, dtype=torch.int32), "a.scales": torch.ones(3)}
    return {"model": tensors, "quantization_config": {"bits": scale}, "epoch": epoch}


def described(file: dict[str, Any]) -> tuple[int, float]:
    """The codes of a file, and the number."""
    if "layer" in file:
        return int(file["layer"]["W_q"][0]), file["layer"]["meta"]["nbits"]
    if "model" in file:
        return int(file["model"]["a.qweight"][0]), file["quantization_config"]["bits"]
    scale = file["weight_scale"]
    return int(file["weight"][0]), float(scale if isinstance(scale, float) else scale[0])


MAKES = [beside(float), beside(lambda scale: [scale]), beside(lambda scale: np.full(3, scale)), hqq, of_all]


def merged(folder: Path, chosen: Rules, *files: dict[str, Any]) -> tuple[Any, set[str]]:
    case = Case(folder, *map(saved, files), name="m.pt")
    data = case.workshop.smudge(case.merge(chosen).text)
    return torch.load(io.BytesIO(data), weights_only=False), {
        one.name for one in case.plan(chosen).conflicts()
    }


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(("chosen", "wanted"), [(None, (2, 4.0)), ("ours", (2, 4.0)), ("theirs", (1, 8.0))])
def test_codes_of_one_side_and_a_description_of_the_other_never_meet(
    tmp_path: Path, make: Make, chosen: str | None, wanted: tuple[int, float]
) -> None:
    versions = make(1, 4.0, 1), make(2, 4.0, 1), make(1, 8.0, 2)
    resolution = [f"*: {chosen}"] if chosen else []
    found, names = merged(tmp_path, rules(None, *resolution), *versions)
    assert described(found) == wanted
    assert found["epoch"] == 2
    assert bool(names) == (chosen is None)
    assert "epoch" not in names


@pytest.mark.parametrize("make", MAKES)
def test_both_from_the_side_that_changed_them(tmp_path: Path, make: Make) -> None:
    found, names = merged(tmp_path, rules(), make(1, 4.0, 1), make(2, 8.0, 1), make(1, 4.0, 2))
    assert (described(found), found["epoch"], names) == ((2, 8.0), 2, set())


def test_scales_in_a_module_below_are_of_the_codes(tmp_path: Path) -> None:
    versions = [hqq(codes, 4.0, 1) for codes in (1, 2, 1)]
    for file, scale in zip(versions, (1.0, 2.0, 3.0), strict=True):
        file["layer"]["meta"]["scale"] = torch.full((3,), scale)
    found, names = merged(tmp_path, rules("average"), *versions)
    assert names == {"layer.W_q", "layer.meta.scale", "layer.meta.zero"}
    assert found["layer"]["meta"]["scale"].tolist() == [2.0] * 3
