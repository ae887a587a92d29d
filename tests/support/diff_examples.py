"""Checkpoints in memory, for the tests of comparisons."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from blake3 import blake3

from git_theta.diffs.compare import Version, compare_checkpoints
from git_theta.diffs.report import Report
from git_theta.dtypes import DType, dtype
from git_theta.errors import MissingObject
from git_theta.manifest import Manifest, StorageLine, TensorLine, View
from git_theta.tensors import ArrayTensor, Tensor
from git_theta.values import from_float

GOLDEN = Path(__file__).parents[1] / "unit" / "golden" / "diff"

Content = tuple[str, tuple[int, ...], bytes]
"""A tensor: the name of its dtype, its shape, its bytes."""


def tensor(kind: str, values: np.ndarray) -> Content:
    """A tensor of these values, rounded to a dtype."""
    values = np.asarray(values)
    if dtype(kind).kind not in ("float", "complex"):
        return kind, values.shape, values.astype(dtype(kind).numpy).tobytes()
    return kind, values.shape, from_float(values.ravel().astype(np.float64), dtype(kind)).tobytes()


def opened(content: Content) -> ArrayTensor:
    kind, shape, data = content
    return ArrayTensor(dtype(kind), shape, data)


def digest(data: bytes) -> str:
    return blake3(data).hexdigest()


def version(
    tensors: Mapping[str, Content],
    label: str = "",
    *,
    views: Sequence[View] = (),
    form: str = "safetensors",
    metadata: bytes = b"{}",
    updates: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
) -> Version:
    """A checkpoint with these tensors, each in an object of its own of a tenth of its size.

    Args:
        updates: update kinds by tensor's name, "dense" for others.
        missing: names of tensors whose objects cannot be found.
    """
    lines, storage, data = [], {}, {}
    for name in sorted(tensors):
        kind, shape, content = tensors[name]
        line = TensorLine(name, dtype(kind), shape, digest(content))
        lines.append(line)
        data[line.digest] = content
        update = (updates or {}).get(name, "dense")
        storage[line.digest] = StorageLine(line.digest, line.digest, len(content) // 10, 0, update)
    lost = {line.digest for line in lines if line.name in missing}
    skeleton = digest(metadata)
    root = digest(repr([form, lines, views, skeleton]).encode())
    manifest = Manifest(
        form, sum(map(len, data.values())), root, tuple(lines), tuple(views), skeleton, len(metadata), storage
    )

    def opener(line: TensorLine) -> Tensor:
        if line.digest in lost:
            raise MissingObject(f"object {line.digest[:12]} is missing", "git theta fetch")
        return ArrayTensor(line.dtype, line.shape, data[line.digest])

    return Version(manifest, opener, label)


def absent(label: str = "") -> Version:
    def opener(line: TensorLine) -> Tensor:
        raise AssertionError("nothing is read of a file that is not there")

    return Version(None, opener, label)


def random_model(layers: int = 4, seed: int = 0, kind: str = "BF16") -> dict[str, Content]:
    """A small transformer."""
    rng = np.random.default_rng(seed)
    model = {"wte.weight": tensor(kind, 0.02 * rng.standard_normal((512, 64)))}
    for layer in range(layers):
        for part in "qkvo":
            model[f"h.{layer}.attn.{part}.weight"] = tensor(kind, 0.02 * rng.standard_normal((128, 128)))
        model[f"h.{layer}.mlp.up.weight"] = tensor(kind, 0.02 * rng.standard_normal((256, 128)))
        model[f"h.{layer}.ln.weight"] = tensor(kind, 1 + 0.01 * rng.standard_normal(128))
        model[f"h.{layer}.ln.bias"] = tensor(kind, np.zeros(128))
    return model


def values(content: Content) -> np.ndarray:
    """A tensor's values in float64."""
    from git_theta.values import to_float

    kind, shape, data = content
    return to_float(np.frombuffer(data, dtype(kind).storage), dtype(kind)).astype(np.float64).reshape(shape)


def changed(content: Content, difference: np.ndarray) -> Content:
    """A tensor with something added."""
    return tensor(content[0], values(content) + difference)


def with_lora(
    model: Mapping[str, Content], parts: Sequence[str] = ("q", "v"), rank: int = 4
) -> dict[str, Content]:
    rng = np.random.default_rng(1)
    result = dict(model)
    for name in sorted(model):
        if any(f".attn.{part}." in name for part in parts):
            left, right = rng.standard_normal((128, rank)), rng.standard_normal((rank, 128))
            result[name] = changed(model[name], 0.0005 * left @ right)
    return result


def fine_tuned(model: Mapping[str, Content], scale: float = 0.002, seed: int = 2) -> dict[str, Content]:
    rng = np.random.default_rng(seed)
    return {
        name: changed(content, scale * rng.standard_normal(content[1])) for name, content in model.items()
    }


def golden(name: str, found: str) -> str:
    """What is in tests/unit/golden/diff/NAME; with THETA_WRITE_GOLDEN=1 in the environment, write it."""
    path = GOLDEN / name
    if os.environ.get("THETA_WRITE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8", newline="\n")
    return path.read_text(encoding="utf-8")


def check_golden(name: str, found: str) -> None:
    """Compare with a golden file."""
    assert found == golden(name, found)


def all_dtypes() -> list[DType]:
    from git_theta import dtypes

    return list(dtypes._ALL)


@cache
def showcase() -> Report:
    """Two versions that differ in every way that there is."""
    old = random_model(6)
    new = with_lora(old)
    rng = np.random.default_rng(7)
    for name in ("h.2.mlp.up.weight", "h.2.ln.weight", "h.4.ln.weight"):
        new[name] = changed(old[name], 0.001 * rng.standard_normal(old[name][1]))
    new["wte.weight"] = tensor("BF16", np.resize(values(old["wte.weight"]), (520, 64)))
    new["h.5.mlp.up.weight"] = tensor("F16", values(old["h.5.mlp.up.weight"]))
    new["h.5.mlp.down.weight"] = new.pop("h.4.mlp.up.weight")
    new["classifier.weight"] = tensor("F32", rng.standard_normal((3, 128)))
    del new["h.3.ln.bias"]
    broken = values(old["h.1.mlp.up.weight"]).copy()
    broken[3, 5:7] = np.nan, np.inf
    new["h.1.mlp.up.weight"] = tensor("BF16", broken)
    lora = {name: "low-rank" for name in new if ".attn." in name}
    return compare_checkpoints(
        version(old, "HEAD~1"),
        version(
            new,
            "HEAD",
            updates=lora,
            missing=["h.5.attn.v.weight"],
            views=[View("lm_head.weight", "wte.weight", dtype("BF16"), (520, 64), 0, (64, 1))],
        ),
        path="models/model.safetensors",
        binned=True,
    )


@cache
def lora_report() -> Report:
    """A LoRA of rank 4 merged into the query and value matrices of twelve layers."""
    model = random_model(12)
    new = with_lora(model)
    updates = {name: "low-rank" for name in new if ".attn.q" in name or ".attn.v" in name}
    return compare_checkpoints(
        version(model, "HEAD~1"), version(new, "HEAD", updates=updates), path="model.safetensors", binned=True
    )
