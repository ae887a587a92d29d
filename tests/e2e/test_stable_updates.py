"""Whatever update a tensor is stored as, the same file stays the same blob, everywhere in Git."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np
import pytest
from git_repo import GitRepo, digest, safetensors_bytes
from merge_cases import MODEL

Arrays = dict[str, np.ndarray]
KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], Arrays]] = {}
"""By update kind: the tensors of the second version, made from the first one's `w`."""
_SHAPE = (256, 384)


def kind(name: str) -> Callable[[Callable[..., Arrays]], Callable[..., Arrays]]:
    def register(function: Callable[..., Arrays]) -> Callable[..., Arrays]:
        KINDS[name] = function
        return function

    return register


@kind("dense")
def unrelated(base: np.ndarray, random: np.random.Generator) -> Arrays:
    return {"w": random.standard_normal(_SHAPE, np.float32)}


@kind("delta")
def fine_tuned(base: np.ndarray, random: np.random.Generator) -> Arrays:
    return {"w": base + np.float32(1e-4) * random.standard_normal(_SHAPE, np.float32)}


@kind("low-rank")
def with_lora(base: np.ndarray, random: np.random.Generator) -> Arrays:
    left, right = (random.standard_normal(shape, np.float32) for shape in ((256, 4), (4, 384)))
    return {"w": base + np.float32(0.01) * (left @ right)}


@kind("scale")
def with_ia3(base: np.ndarray, random: np.random.Generator) -> Arrays:
    return {"w": base * (1 + np.float32(0.1) * random.standard_normal((256, 1), np.float32))}


@kind("rows")
def trimmed(base: np.ndarray, random: np.random.Generator) -> Arrays:
    return {"w": np.concatenate([base[:100], base[140:], random.standard_normal((9, 384), np.float32)])}


@kind("cast")
def released(base: np.ndarray, random: np.random.Generator) -> Arrays:
    return {"w": base.astype(np.float16)}


@kind("combine")
def averaged(base: np.ndarray, random: np.random.Generator) -> Arrays:
    return {"w": (base + tuned(base)) / 2}


def tuned(base: np.ndarray) -> np.ndarray:
    return base + np.float32(1e-3) * np.random.default_rng(2).standard_normal(_SHAPE, np.float32)


def update_of(repo: GitRepo, revision: str = "") -> str:
    (entry,) = json.loads(repo.theta("ls-files", *([revision] if revision else []), "-l", "--json").stdout)
    (tensor,) = entry["tensors"]
    return str(tensor["update"])


@pytest.fixture
def base() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(_SHAPE, np.float32)


@pytest.mark.parametrize("name", KINDS)
def test_the_blob_stays_the_same(repo: GitRepo, base: np.ndarray, name: str) -> None:
    repo.write(MODEL, safetensors_bytes({"w": base}))
    repo.commit("base")
    if name == "combine":
        repo.write(MODEL, safetensors_bytes({"w": tuned(base)}))
        repo.commit("tuned")
    repo.git("tag", "before")
    data = safetensors_bytes(KINDS[name](base, np.random.default_rng(1)))
    repo.write(MODEL, data)
    repo.git("add", MODEL)
    blob = repo.head(f":{MODEL}")
    assert update_of(repo) == name

    def check(where: GitRepo) -> None:
        """The file is in the work tree, and cleans to the blob again."""
        assert where.digest(MODEL) == digest(data)
        os.utime(where.path / MODEL, (1, 1))
        assert where.status() == []
        where.git("add", "--renormalize", ".")
        assert where.head(f":{MODEL}") == blob

    repo.git("stash")
    assert repo.digest(MODEL) != digest(data)
    repo.git("stash", "pop", "--index")
    assert repo.head(f":{MODEL}") == blob
    repo.git("commit", "-q", "-m", name)
    check(repo)

    repo.git("switch", "-q", "-c", "other", "before")
    repo.write(MODEL, data)
    repo.git("add", MODEL)
    assert repo.head(f":{MODEL}") == blob  # without its index entry, too
    repo.git("reset", "-q", "--hard")
    repo.write("notes.txt", "of another branch\n")
    repo.commit("notes")
    repo.git("rebase", "-q", "other", "main")
    check(repo)

    bare = repo.add_remote("origin")
    repo.git("push", "-q", "origin", "main")
    clone = bare.clone("clone")
    check(clone)
    clone.write(MODEL, data)
    clone.git("rm", "-q", "--cached", MODEL)
    clone.git("add", MODEL)
    assert clone.head(f":{MODEL}") == blob
    assert clone.theta("fsck").stdout.endswith("all is well.\n")


def test_release_in_half_precision_costs_nothing(repo: GitRepo, base: np.ndarray) -> None:
    repo.write(MODEL, safetensors_bytes({"w": base}))
    repo.commit("float32")
    repo.write(MODEL, safetensors_bytes({"w": base.astype(np.float16)}))
    repo.commit("float16")
    assert update_of(repo) == "cast"
