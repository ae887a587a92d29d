"""Plain `git log -p`, `git show`, `git blame` and the like: Git's own diff of texts made by textconv."""

from __future__ import annotations

import re
import shutil
import sqlite3

import numpy as np
import pytest
from diff_cases import MODEL, write_change
from git_repo import GitRepo, changed, safetensors_bytes, version, weights

from git_theta import manifest
from git_theta.checkpoints.pytorch import PyTorch
from git_theta.dtypes import dtype
from git_theta.tensors import ArrayTensor

_LINE = re.compile(r"^([+-])([\w.]+)  (\w+)  (\[.*?\])  norm (\S+)  ([0-9a-f]{12})", re.MULTILINE)


def changed_lines(patch: str) -> list[tuple[str, str, str]]:
    """Sign, tensor and norm of the lines of a patch."""
    return [(sign, name, norm) for sign, name, _, _, norm, _ in _LINE.findall(patch)]


def near(text: str, array: np.ndarray) -> bool:
    """Whether a norm is right: its last digit may be rounded otherwise."""
    return abs(float(text) - np.linalg.norm(array.astype(float))) < 2e-6 * float(text)


def test_show_lists_the_tensors_that_changed(history: GitRepo) -> None:
    patch = history.git("show", "v1", "--", MODEL).stdout
    (removed, added) = changed_lines(patch)
    assert removed[:2] == ("-", "layer.1.weight")
    assert added[:2] == ("+", "layer.1.weight")
    assert near(removed[2], weights(0)["layer.1.weight"])
    assert near(added[2], changed(weights(0), "layer.1.weight")["layer.1.weight"])
    assert " layer.0.weight  F32  [160, 128]  norm " in patch
    assert "\n git-theta tensors 1 safetensors\n" in patch


def test_log(history: GitRepo) -> None:
    patch = history.git("log", "-p", "--reverse", "--format=%s", "--", MODEL).stdout
    first, second = patch.split("version 1")
    assert [line[:2] for line in changed_lines(first)] == [
        ("+", "bias"),
        *(("+", f"layer.{number}.weight") for number in range(4)),
    ]
    assert len(changed_lines(second)) == 2


def test_blame(history: GitRepo) -> None:
    lines = history.git("blame", "-s", MODEL).stdout.splitlines()
    commits = {line.split()[2]: line.split()[0].lstrip("^") for line in lines}
    assert commits["layer.1.weight"] == history.head("v1")[:8]
    assert commits["layer.0.weight"] == commits["bias"] == history.head("v0")[:8]
    write_change(history, "bias")
    lines = history.git("blame", "-s", MODEL).stdout.splitlines()
    uncommitted = [line.split()[2] for line in lines if line.startswith("00000000")]
    assert uncommitted == ["bias"]
    assert history.status() == [f" M {MODEL}"]


def test_other_commands_that_run_it(history: GitRepo) -> None:
    assert len(changed_lines(history.git("diff", "--no-ext-diff", "v0", "v1", "--", MODEL).stdout)) == 2
    found = history.git("grep", "--textconv", "-c", "^layer", "v1", "--", MODEL).stdout
    assert found == f"v1:{MODEL}:4\n"
    text = history.git("cat-file", "--textconv", f"v1:{MODEL}").stdout
    assert text.startswith("git-theta tensors 1 safetensors\nbias  F32  [16]  norm ")
    stash = history.git("diff", "--stat", "v0", "v1", "--", MODEL).stdout
    assert "1 file changed" in stash


def test_the_text_is_the_same_everywhere(history: GitRepo) -> None:
    """By what the manifest says, by the file, and in a clone that knows no norms yet."""
    text = history.git("cat-file", "--textconv", f"v1:{MODEL}").stdout
    assert history.run("git-theta", "textconv", MODEL).stdout == text
    clone = history.clone("clone")
    assert clone.git("cat-file", "--textconv", f"v1:{MODEL}").stdout == text
    assert clone.run("git-theta", "textconv", MODEL).stdout == text


def test_norms_are_kept(history: GitRepo) -> None:
    shown = ("show", "v0", "--", MODEL)
    text = history.git(*shown).stdout
    assert text.count("  norm ") == 5
    shutil.rmtree(history.path / ".git/theta/objects")
    assert history.git(*shown).stdout == text
    with sqlite3.connect(history.path / ".git/theta/index.sqlite") as index:
        index.execute("DELETE FROM norms")
    index.close()
    assert history.git(*shown).stdout == re.sub(r"norm \S+", "norm -", text)
    assert history.objects() == [], "a norm is no reason to fetch anything"


def test_norms_of_updates_are_taken_when_they_are_stored(history: GitRepo) -> None:
    """Before anything was shown."""
    with sqlite3.connect(history.path / ".git/theta/index.sqlite") as index:
        found = dict(index.execute("SELECT digest, norm FROM norms"))
    index.close()
    lines = {line.name: line for line in manifest.parse(history.blob(f"v1:{MODEL}")).tensors}
    expected = np.linalg.norm(changed(weights(0), "layer.1.weight")["layer.1.weight"].astype(float))
    assert found[lines["layer.1.weight"].digest] == pytest.approx(expected, rel=1e-6)


def test_damaged_and_foreign_files(history: GitRepo) -> None:
    history.write("other.safetensors", b"not a checkpoint")
    assert history.run("git-theta", "textconv", "other.safetensors").stdout.startswith(
        "git-theta tensors 1 opaque\n16 B  "
    )
    text = history.blob(f"v1:{MODEL}").replace(b"\n", b"\n<<<<<<< ours\n", 1)
    history.write("broken.safetensors", text)
    assert history.run("git-theta", "textconv", "broken.safetensors").stdout == text.decode()
    done = history.run("git-theta", "textconv", "nothing.safetensors", check=False)
    assert done.returncode == 1
    assert "cannot read nothing.safetensors" in done.stderr


def test_tied_tensors_and_dtypes_without_norms(history: GitRepo) -> None:
    tied = ArrayTensor(dtype("F32"), (2, 2), np.ones(4, "float32").tobytes())
    with (history.path / "model.pt").open("wb") as file:
        PyTorch().write(file, [("a", tied), ("mask", ArrayTensor(dtype("BOOL"), (2,), b"\0\1"))], None)
    lines = history.run("git-theta", "textconv", "model.pt").stdout.splitlines()
    assert lines[1].startswith("a  F32  [2, 2]  norm 2  ")
    assert lines[2].startswith("mask  BOOL  [2]  norm 1  ")
    packed = {"scales": ("F8_E8M0", (4,), b"\1\2\3\4")}
    history.write("packed.safetensors", safetensors_bytes(packed))
    assert (
        "scales  F8_E8M0  [4]  norm -  " in history.run("git-theta", "textconv", "packed.safetensors").stdout
    )


def test_a_changed_dtype_shows_in_the_text(history: GitRepo) -> None:
    tensors = {**weights(0), "bias": weights(0)["bias"].astype("float16")}
    history.write(MODEL, safetensors_bytes(tensors))
    history.commit("cast")
    patch = history.git("show", "HEAD", "--", MODEL).stdout
    assert "+bias  F16  [16]" in patch
    assert "-bias  F32  [16]" in patch
    assert version(0) != version(1)
