"""Carrying out plans: the result's bytes, what is stored for it, and that it is what cleaning gives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from apply_case import Case, rules
from filter_examples import Workshop
from git_repo import safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import saved

from git_theta import manifest as manifests
from git_theta.errors import MissingObject, ThetaError
from git_theta.merges.apply import Means, apply
from git_theta.merges.narrowing import continued, needs_torch, without_torch
from git_theta.merges.remainders import read_remainder
from git_theta.merges.sides import Sides
from git_theta.settings import Settings

Values = Mapping[str, np.ndarray]
LARGE = (200, 200)  # more than shares an object with others


def weights(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.02).astype("<f4")


def near(values: np.ndarray, seed: int) -> np.ndarray:
    """As by fine-tuning."""
    noise = np.random.default_rng(seed).standard_normal(values.shape)
    return (values + 1e-4 * noise).astype("<f4")


def test_one_sided_changes_cost_nothing(tmp_path: Path) -> None:
    first = {name: weights(number, *LARGE) for number, name in enumerate("abc")}
    ours, theirs = first | {"a": near(first["a"], 7)}, first | {"b": near(first["b"], 8)}
    case = Case(tmp_path, safetensors_bytes(first), safetensors_bytes(ours), safetensors_bytes(theirs))
    before = case.workshop.oids()
    applied = case.merge(rules())
    case.check(applied, safetensors_bytes(first | {"a": ours["a"], "b": theirs["b"]}))
    assert case.workshop.oids() == before
    for side, name in ((1, "a"), (2, "b"), (1, "c")):
        line = case.manifests[side].tensor(name)
        assert line is not None
        assert applied.manifest.storage[line.digest] == case.manifests[side].storage[line.digest]


def test_a_result_that_is_a_sides_version_is_its_text(tmp_path: Path) -> None:
    first = {"a": weights(1, *LARGE)}
    case = Case(
        tmp_path,
        safetensors_bytes(first),
        safetensors_bytes(first),
        safetensors_bytes({"a": near(first["a"], 2)}),
    )
    assert case.merge(rules()).text == case.texts[2]


@pytest.mark.parametrize("shape", [LARGE, (30,), (), (0, 4)])
def test_an_average_is_stored_as_that(shape: tuple[int, ...], tmp_path: Path) -> None:
    first = weights(1, *shape)
    ours, theirs = near(first, 2), near(first, 3)
    case = Case(
        tmp_path, *(safetensors_bytes({"a": one}) for one in (first, ours, theirs)), max_chain_ratio=100
    )
    before = case.workshop.oids()
    applied = case.merge(rules("average"))
    mean = ((ours.astype("f8") + theirs) / 2).astype("<f4")
    case.check(applied, safetensors_bytes({"a": mean}))
    if shape == LARGE:
        (line,) = applied.manifest.tensors
        stored = applied.manifest.storage[line.digest]
        assert stored.update == "combine"
        places = [applied.manifest.storage[base].place for base in stored.bases]
        sides = case.manifests[1:]
        assert places == [side.storage[side.tensors[0].digest].place for side in sides]
        added = [case.workshop.store.find(oid) for oid in case.workshop.oids() - before]
        assert sum(path.stat().st_size for path in added if path is not None) < 2500


def test_full_chains_are_not_made_longer(tmp_path: Path) -> None:
    first = weights(1, *LARGE)
    files = [safetensors_bytes({"a": one}) for one in (first, near(first, 2), near(first, 3))]
    case = Case(tmp_path, *files, max_chain_depth=1)
    applied = case.merge(rules("average"))
    (line,) = applied.manifest.tensors
    stored = applied.manifest.storage[line.digest]
    assert stored.update != "combine"
    assert all(not applied.manifest.storage[base].bases for base in stored.bases)
    mean = ((near(first, 2).astype("f8") + near(first, 3)) / 2).astype("<f4")
    case.check(applied, safetensors_bytes({"a": mean}))


def test_entries_that_are_no_numbers_are_exact_too(tmp_path: Path) -> None:
    first = weights(1, *LARGE)
    ours, theirs = near(first, 2), near(first, 3)
    ours[0, :4] = np.inf, -np.inf, np.nan, 1
    theirs[0, :4] = np.inf, np.inf, np.nan, np.nan
    files = [safetensors_bytes({"a": one}) for one in (first, ours, theirs)]
    case = Case(tmp_path, *files, max_chain_ratio=100)
    applied = case.merge(rules("average"))
    (line,) = applied.manifest.tensors
    assert applied.manifest.storage[line.digest].update == "combine"
    assert applied.not_finite == {"a": 2}
    found = np.frombuffer(case.workshop.smudge(applied.text)[-first.nbytes :], "<f4").reshape(LARGE)
    wanted = ((ours[1:].astype("f8") + theirs[1:]) / 2).astype("<f4")
    assert np.array_equal(found[1:], wanted)
    assert np.array_equal(found[0, :4], [np.inf, np.nan, np.nan, np.nan], equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]),
    strategy=st.sampled_from(["average", "linear weight=0.3", "interpolate beta=-2", "task-arithmetic"]),
    seed=st.integers(0, 1000),
)
def test_any_bits_come_back_as_they_were_merged(
    kind: str, strategy: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    random = np.random.default_rng(seed)
    width = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(kind, 1)
    items = 70_000 // width
    files = [safetensors_bytes({"a": (kind, (items,), random.bytes(items * width))}) for _ in range(3)]
    case = Case(tmp_path_factory.mktemp("store"), *files, max_chain_ratio=100)
    applied = case.merge(rules(strategy))
    data = case.workshop.smudge(applied.text)  # which compares with the digest of what was computed
    assert manifests.parse(case.workshop.clean(data, looks_only=True)).root == applied.manifest.root


def test_the_result_is_the_same_on_every_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first = {"a": weights(1, *LARGE), "b": weights(2, 40)}
    files = [
        safetensors_bytes(first),
        *(safetensors_bytes({k: near(v, n) for k, v in first.items()}) for n in (3, 4)),
    ]
    for name in ("average", "ties"):
        texts = {Case(tmp_path / f"{name}-{run}", *files).merge(rules(name)).text for run in "ab"}
        assert len(texts) == 1
    case = Case(tmp_path / "c", *files)
    text = case.merge(rules("ties")).text
    assert case.merge(rules("ties")).text == text
    assert manifests.parse(text).root == case.merge(rules("ties"), again=True).manifest.root


def test_tensors_of_both_sides_and_new_shapes(tmp_path: Path) -> None:
    first = {"wte": weights(1, 6, 3), "old": weights(2, 4)}
    ours = {"wte": near(weights(1, 6, 3), 3)[:4], "old": first["old"], "mine": weights(4, 2)}
    theirs = {"wte": near(first["wte"], 5), "yours": weights(6, 3)}
    case = Case(tmp_path, *(safetensors_bytes(one) for one in (first, ours, theirs)))
    applied = case.merge(rules("average", rows="pad"))
    mean = ((ours["wte"].astype("f8") + theirs["wte"][:4]) / 2).astype("<f4")
    wanted = {
        "wte": np.concatenate([mean, theirs["wte"][4:]]),
        "mine": ours["mine"],
        "yours": theirs["yours"],
    }
    shapes = {line.name: line.shape for line in applied.manifest.tensors}
    assert shapes == {"wte": (6, 3), "mine": (2,), "yours": (3,)}
    data = case.workshop.smudge(applied.text)
    assert case.workshop.clean(data, applied.text) == applied.text
    again = manifests.parse(case.workshop.clean(safetensors_bytes(wanted)))
    assert [line.digest for line in again.tensors] == [line.digest for line in applied.manifest.tensors]


def test_conflicts_keep_ours(tmp_path: Path) -> None:
    first = {"a": weights(1, 8), "b": weights(2, 8), "c": weights(3, 8)}
    ours = {"a": near(first["a"], 4), "b": near(first["b"], 5)}
    theirs = {"a": near(first["a"], 6), "b": first["b"], "c": near(first["c"], 7)}
    case = Case(tmp_path, *(safetensors_bytes(one) for one in (first, ours, theirs)))
    case.check(case.merge(rules()), safetensors_bytes(ours))


def test_going_on_keeps_what_was_decided(tmp_path: Path) -> None:
    first = {name: weights(number, 8) for number, name in enumerate("abc")}
    ours = {name: near(value, 4) for name, value in first.items()}
    theirs = {name: near(value, 5) for name, value in first.items()}
    case = Case(tmp_path, *(safetensors_bytes(one) for one in (first, ours, theirs)))
    before = case.merge(rules(None, "a: theirs", "b: average")).manifest
    sides = Sides([*case.manifests, before], case.workshop.objects)
    around = read_remainder(before, case.workshop.objects)
    made = continued(case.plan(rules("ours")), case.manifests, before, around, ["c"], [])
    stock = case.workshop.stock(sides.known)
    applied = apply(made, sides, Means(case.workshop.objects, stock, Settings()), "model.safetensors")
    mean = ((ours["b"].astype("f8") + theirs["b"]) / 2).astype("<f4")
    case.check(applied, safetensors_bytes({"a": theirs["a"], "b": mean, "c": ours["c"]}))


def test_without_torch_the_rest_is_merged(tmp_path: Path) -> None:
    first = {name: weights(number, 8) for number, name in enumerate("ab")}
    files = [
        safetensors_bytes(first),
        *(safetensors_bytes({k: near(v, n) for k, v in first.items()}) for n in (3, 4)),
    ]
    case = Case(tmp_path, *files)
    made = case.plan(rules("ties", "a: average"))
    assert [decision.name for decision in needs_torch(made)] == ["b"]
    less = without_torch(made, "no torch")
    assert [(one.name, one.action, one.reason) for one in less.decisions] == [
        ("a", "combine", ""),
        ("b", "conflict", "no torch"),
    ]


def test_missing_data_stop_it(tmp_path: Path) -> None:
    first = weights(1, *LARGE)
    case = Case(tmp_path, *(safetensors_bytes({"a": one}) for one in (first, near(first, 2), near(first, 3))))
    theirs = case.manifests[2]
    oid = theirs.storage[theirs.tensors[0].digest].oid
    path = case.workshop.store.find(oid)
    assert path is not None
    path.unlink()
    case.workshop = Workshop(case.workshop.store.root)
    with pytest.raises(MissingObject, match=oid[:12]):
        case.merge(rules("average"))


def test_pytorch_files_get_the_right_checksums(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    first = {"a": torch.from_numpy(weights(1, *LARGE)), "b": torch.ones(5)}
    ours = {"a": first["a"] + 0.25, "b": first["b"]}
    theirs = {"a": first["a"] - 0.75, "b": first["b"] * 2}
    case = Case(tmp_path, *(saved(one) for one in (first, ours, theirs)), name="model.pt")
    applied = case.merge(rules("average"))
    data = case.workshop.smudge(applied.text)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    found = torch.load(io.BytesIO(data), weights_only=True)
    assert torch.equal(found["a"], ((ours["a"].double() + theirs["a"].double()) / 2).float())
    assert torch.equal(found["b"], theirs["b"])
    assert case.workshop.clean(data, applied.text, name="model.pt") == applied.text


def test_tied_tensors_of_pytorch_are_merged_once(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def tied(value: float, more: bool = False) -> bytes:
        weight = torch.full((50, 4), float(value))
        values = {"wte": weight, "head": weight, "part": weight[:2]}
        return saved(values | {"new": torch.ones(3)} if more else values)

    case = Case(tmp_path, tied(1), tied(2), tied(4, more=True), name="model.pt")
    applied = case.merge(rules("average"))
    data = case.workshop.smudge(applied.text)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    found = torch.load(io.BytesIO(data), weights_only=True)
    assert set(found) == {"wte", "head", "part", "new"}
    assert found["wte"].data_ptr() == found["head"].data_ptr() == found["part"].data_ptr()
    assert bool((found["head"] == 3).all())


def test_slices_and_what_they_are_of_come_from_the_same_side(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.zeros(3, 4)
    base = saved({"w": weight, "v": weight.t()})
    ours = saved({"w": weight + 1, "v": weight.t(), "x": torch.ones(2)})
    bigger = torch.zeros(5, 4)
    theirs = saved({"w": bigger, "v": bigger.t()})
    case = Case(tmp_path, base, ours, theirs, name="model.pt")
    applied = case.merge(rules(None, "*: theirs"))
    found = torch.load(io.BytesIO(case.workshop.smudge(applied.text)), weights_only=True)
    assert list(found) == ["w", "v", "x"]
    assert found["w"].shape == (5, 4)
    assert found["v"].data_ptr() == found["w"].data_ptr()
    assert found["v"].stride() == (1, 4)


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    base, ours, theirs = (
        saved({"pair": tuple(torch.ones(2) for _ in range(length)), "epoch": epoch})
        for length, epoch in ((1, 1), (1, 2), (2, 1))
    )
    case = Case(tmp_path, base, ours, theirs, name="model.pt")
    with pytest.raises(ThetaError, match=r"there is no place for 'pair\.1'"):
        case.merge(rules())
