"""Tied tensors that some side has saved as two: the result has one value under both names."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apply_case import Case, rules
from git_repo import safetensors_bytes
from torch_files import saved

from git_theta.merges.rule_sources import applying, resolve
from git_theta.merges.rules import Rules

torch = pytest.importorskip("torch")
safe_load = pytest.importorskip("safetensors.torch").load


def tied(value: float) -> dict[str, Any]:
    embed = torch.full((6,), float(value))
    return {"embed": embed, "head": embed, "other": torch.zeros(2)}


def apart(embed: float, head: float) -> dict[str, Any]:
    return {
        "embed": torch.full((6,), float(embed)),
        "head": torch.full((6,), float(head)),
        "other": torch.zeros(2),
    }


def safe(embed: float, head: float) -> bytes:
    return safetensors_bytes({name: one.numpy() for name, one in apart(embed, head).items()})


def merged(folder: Path, chosen: Rules, *versions: Any, name: str = "m.pt") -> tuple[Any, list[str]]:
    """The file that comes out, and what is open."""
    files = [one if isinstance(one, bytes) else saved(one) for one in versions]
    case = Case(folder, *files, name=name)
    applied = case.merge(chosen)
    data = case.workshop.smudge(applied.text)
    assert case.workshop.clean(data, applied.text, name=name) == applied.text
    found = safe_load(data) if name.endswith("safetensors") else torch.load(io.BytesIO(data))
    return found, [one.name for one in case.plan(chosen).conflicts()]


def values(file: Any) -> tuple[float, float]:
    for name in ("embed", "head"):
        assert file[name].shape == (6,)
        assert len(set(file[name].tolist())) == 1
    assert np.array_equal(file["other"], [0, 0])
    return float(file["embed"][0]), float(file["head"][0])


def is_tied(file: Any) -> bool:
    return bool(file["embed"].data_ptr() == file["head"].data_ptr())


AVERAGE, NONE = rules("average"), rules()
APPLYING = resolve([applying("", "apply")])


@pytest.mark.parametrize(
    ("chosen", "base", "ours", "theirs", "wanted", "stays"),
    [
        (AVERAGE, tied(1), tied(2), apart(4, 4), 3.0, False),
        (AVERAGE, tied(1), apart(2, 2), tied(4), 3.0, False),
        (AVERAGE, apart(1, 1), tied(2), apart(4, 4), 3.0, True),
        (AVERAGE, apart(1, 1), apart(2, 2), tied(4), 3.0, True),
        (APPLYING, tied(1), tied(2), apart(4, 4), 5.0, False),
        (NONE, tied(1), tied(2), apart(1, 1), 2.0, False),
        (NONE, tied(1), apart(1, 1), tied(2), 2.0, False),
        (NONE, apart(1, 1), tied(1), apart(4, 4), 4.0, True),
        (NONE, apart(1, 1), apart(4, 4), tied(1), 4.0, True),
        (rules("ours"), tied(1), tied(2), apart(4, 4), 2.0, True),
        (rules("theirs"), tied(1), tied(2), apart(4, 4), 4.0, False),
    ],
)
def test_both_names_have_one_value(
    tmp_path: Path, chosen: Rules, base: Any, ours: Any, theirs: Any, wanted: float, stays: bool
) -> None:
    found, names = merged(tmp_path, chosen, base, ours, theirs)
    assert values(found) == (wanted, wanted)
    assert (is_tied(found), names) == (stays, [])


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("m.safetensors", (tied(1), tied(2), safe(4, 4))),
        ("m.safetensors", (tied(1), safe(2, 2), tied(4))),
        ("m.safetensors", (safe(1, 1), safe(2, 2), tied(4))),
        ("m.bin", (tied(1), safe(2, 2), tied(4))),
        ("m.bin", (tied(1), tied(2), safe(4, 4))),
    ],
)
def test_so_they_have_in_the_other_format(tmp_path: Path, name: str, versions: Any) -> None:
    found, names = merged(tmp_path, AVERAGE, *versions, name=name)
    assert (values(found), names) == ((3.0, 3.0), [])
    assert is_tied(found) == name.endswith("bin")


def test_both_are_open_where_the_tensor_is(tmp_path: Path) -> None:
    found, names = merged(tmp_path, NONE, tied(1), tied(2), apart(4, 4))
    assert (values(found), names) == ((2.0, 2.0), ["embed", "head"])


def test_heads_that_are_others_are_no_copies(tmp_path: Path) -> None:
    found, names = merged(tmp_path, AVERAGE, tied(1), tied(1), apart(4, 5))
    assert (values(found), names) == ((4.0, 5.0), [])


@pytest.mark.parametrize("is_ours", [False, True])
def test_a_head_that_one_side_trained_apart_and_the_other_tied_is_open(tmp_path: Path, is_ours: bool) -> None:
    sides = [tied(2), apart(4, 5)] if is_ours else [apart(4, 5), tied(2)]
    found, names = merged(tmp_path, AVERAGE, tied(1), *sides)
    assert (values(found), names) == ((3.0, 3.0 if is_ours else 5.0), ["head"])


def test_a_rule_parts_them(tmp_path: Path) -> None:
    chosen = rules(None, "embed: average", "head: theirs")
    found, names = merged(tmp_path, chosen, tied(1), tied(2), apart(4, 4))
    assert (values(found), names) == ((3.0, 4.0), [])


def slices(first: float, second: float) -> dict[str, Any]:
    whole = torch.tensor([first] * 3 + [second] * 3)
    return {"first": whole[:3], "second": whole[3:]}


def copies(first: float, second: float) -> dict[str, Any]:
    return {name: one.clone() for name, one in slices(first, second).items()}


@pytest.mark.parametrize("chosen", [NONE, AVERAGE])
@pytest.mark.parametrize("is_ours", [False, True])
def test_slices_that_one_side_trained_and_the_other_copied_are_open(
    tmp_path: Path, chosen: Rules, is_ours: bool
) -> None:
    sides = [slices(2.0, 3.0), copies(1.0, 1.0)]
    found, names = merged(tmp_path, chosen, slices(1.0, 1.0), *(sides if is_ours else sides[::-1]))
    assert {"first", "second"} <= set(names)
    wanted = (2.0, 3.0) if is_ours else (1.0, 1.0)
    assert (found["first"].tolist(), found["second"].tolist()) == ([wanted[0]] * 3, [wanted[1]] * 3)
    side, other = ("ours", "theirs") if is_ours else ("theirs", "ours")
    for strategy, values in ((side, (2.0, 3.0)), (other, (1.0, 1.0))):
        folder = tmp_path / strategy
        folder.mkdir()
        versions = slices(1.0, 1.0), *(sides if is_ours else sides[::-1])
        found, names = merged(folder, rules(None, f"*: {strategy}"), *versions)
        assert (found["first"].tolist(), found["second"].tolist()) == ([values[0]] * 3, [values[1]] * 3)
        assert names == []


def test_slices_that_are_copied_alone_are_taken(tmp_path: Path) -> None:
    found, names = merged(tmp_path, NONE, slices(1.0, 1.0), slices(1.0, 1.0), copies(4.0, 7.0))
    assert (found["first"].tolist(), found["second"].tolist(), names) == ([4.0] * 3, [7.0] * 3, [])
