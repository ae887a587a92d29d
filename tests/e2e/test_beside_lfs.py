"""git-lfs tracks other files of the same repository; both filters and both pushes work."""

from __future__ import annotations

import shutil

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, weights

pytestmark = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")

MODEL, BINARY = "model.safetensors", "data.bin"
_MODEL = safetensors_bytes(weights())


def set_up(repo: GitRepo) -> None:
    repo.git("lfs", "track", "*.bin")
    repo.git("add", ".gitattributes")
    repo.write(MODEL, _MODEL)
    repo.write(BINARY, b"\0binary" * 1000)
    repo.commit("a model, and a file of Git LFS")


def check(repo: GitRepo) -> None:
    """After a push both files are in a clone, and stay what they are."""
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "-u", "origin", "main")
    clone = bare.clone("clone")
    assert clone.digest(MODEL) == digest(_MODEL)
    assert clone.digest(BINARY) == digest(b"\0binary" * 1000)
    assert clone.status() == []
    assert clone.blob(f"HEAD:{MODEL}").startswith(b'{"git-theta":')
    assert clone.blob(f"HEAD:{BINARY}").startswith(b"version https://git-lfs")
    clone.write(MODEL, tuned := safetensors_bytes(changed(weights(), "bias")))
    clone.write(BINARY, b"other")
    clone.commit("change both")
    clone.git("push", "-q", "origin", "main")
    repo.git("pull", "-q")
    assert repo.digest(MODEL) == digest(tuned)
    assert repo.digest(BINARY) == digest(b"other")


def test_lfs_was_there_first(plain: GitRepo) -> None:
    plain.git("lfs", "install")
    plain.theta("install")
    plain.theta("track", "*.safetensors")
    set_up(plain)
    check(plain)


def test_lfs_came_later(repo: GitRepo) -> None:
    repo.git("lfs", "install", check=False)  # it says that hooks are there, and sets up its filter
    set_up(repo)
    check(repo)


def test_pruning_lfs_leaves_objects(repo: GitRepo) -> None:
    repo.git("lfs", "install", check=False)
    set_up(repo)
    repo.add_remote("origin")
    repo.git("push", "-q", "-u", "origin", "main")
    before = repo.objects()
    repo.git("lfs", "prune")
    assert repo.objects() == before
