"""Repositories in several places: clones of all kinds, work trees, submodules, archives."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from io import BytesIO

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"


def archived(repo: GitRepo, revision: str) -> bytes:
    """The model in a `git archive`."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", revision], cwd=repo.path, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        found = archive.extractfile(MODEL)
        assert found is not None
        return found.read()


def test_work_trees_share_what_is_stored(history: GitRepo) -> None:
    before = history.objects()
    history.git("worktree", "add", "-q", "../linked", "v0")
    linked = GitRepo(history.path.parent / "linked")
    assert linked.digest(MODEL) == digest(version(0))
    assert linked.status() == []
    assert linked.objects() == before
    data = safetensors_bytes(changed(weights(), "bias"))
    linked.write(MODEL, data)
    linked.git("switch", "-q", "-c", "from-linked")
    linked.commit("from the linked work tree")
    history.git("checkout", "-q", "from-linked", "--detach")
    assert history.digest(MODEL) == digest(data)


def test_submodule(history: GitRepo, pushed: GitRepo) -> None:
    outer = GitRepo(history.path.parent / "outer")
    outer.path.mkdir()
    outer.git("init", "-q")
    outer.git("submodule", "--quiet", "add", str(pushed.path), "sub")
    outer.commit("a submodule")
    sub = GitRepo(outer.path / "sub")
    assert sub.digest(MODEL) == digest(version(1))
    data = safetensors_bytes(changed(weights(), "bias"))
    sub.write(MODEL, data)
    sub.commit("from the submodule")
    sub.git("push", "-q", "origin", "HEAD:main")
    outer.commit("newer submodule")
    assert outer.status() == []
    again = outer.clone("outer-clone", "--recurse-submodules")
    assert GitRepo(again.path / "sub").digest(MODEL) == digest(data)


def test_shallow_clone(history: GitRepo, pushed: GitRepo) -> None:
    clone = pushed.clone("shallow", "--depth", "1", source=pushed.path.as_uri())
    assert clone.git("rev-list", "--count", "HEAD").stdout.strip() == "1"
    assert clone.digest(MODEL) == digest(version(1))
    assert clone.status() == []
    data = safetensors_bytes(changed(weights(), "bias"))
    clone.write(MODEL, data)
    clone.commit("from the shallow clone")
    clone.git("push", "-q", "origin", "main")
    history.git("pull", "-q")
    assert history.digest(MODEL) == digest(data)


def test_shared_clone_borrows_objects(history: GitRepo) -> None:
    clone = history.clone("shared", "--shared")
    clone.git("remote", "remove", "origin")
    assert clone.objects() == []
    clone.git("checkout", "-q", "v0")
    assert clone.digest(MODEL) == digest(version(0))
    clone.write(MODEL, safetensors_bytes(changed(weights(), "bias")))
    clone.commit("change a small tensor")
    assert 0 < sum(path.stat().st_size for path in clone.objects()) < 20_000


def test_clone_without_checkout(pushed: GitRepo) -> None:
    clone = pushed.clone("empty", "--no-checkout")
    assert not (clone.path / MODEL).exists()
    clone.git("checkout", "-q", "main")
    assert clone.digest(MODEL) == digest(version(1))
    assert clone.status() == []


def test_clone_of_a_work_tree(history: GitRepo) -> None:
    clone = history.clone("direct")
    assert clone.digest(MODEL) == digest(version(1))
    history.write(MODEL, version(0))
    history.commit("back")
    clone.git("pull", "-q")
    assert clone.digest(MODEL) == digest(version(0))


def test_clone_is_whole_without_its_origin(history: GitRepo, pushed: GitRepo) -> None:
    clone = pushed.clone("clone")
    shutil.rmtree(pushed.path)
    shutil.rmtree(history.path)
    (clone.path / MODEL).unlink()
    clone.git("checkout", "--", MODEL)
    assert clone.digest(MODEL) == digest(version(1))


def test_archive(history: GitRepo, pushed: GitRepo) -> None:
    assert digest(archived(history, "v0")) == digest(version(0))
    assert digest(archived(history, "v1")) == digest(version(1))
    clone = pushed.clone("clone", "--no-checkout")
    assert digest(archived(clone, "v0")) == digest(version(0))


def test_bundle_brings_refs_and_a_fetch_the_objects(history: GitRepo, pushed: GitRepo) -> None:
    history.git("bundle", "create", "-q", "../all.bundle", "--all")
    clone = history.clone("from-bundle", "--no-checkout", source=str(history.path.parent / "all.bundle"))
    clone.git("remote", "add", "objects", str(pushed.path))
    clone.git("checkout", "-q", "main")
    assert clone.digest(MODEL) == digest(version(1))


def test_manifests_are_left_where_asked(pushed: GitRepo) -> None:
    os.environ["GIT_THETA_SKIP_SMUDGE"] = "1"
    try:
        clone = pushed.clone("skipped")
        assert clone.objects() == []
        assert (clone.path / MODEL).read_bytes() == clone.blob(f"HEAD:{MODEL}")
        assert clone.status() == []
        (clone.path / MODEL).touch()
        clone.git("add", "--renormalize", ".")
        assert clone.status() == []
    finally:
        del os.environ["GIT_THETA_SKIP_SMUDGE"]
    clone.git("config", "theta.skipSmudge", "true")
    clone.git("checkout", "-q", "v0")
    assert (clone.path / MODEL).read_bytes() == clone.blob(f"v0:{MODEL}")


@pytest.mark.parametrize("option", ["--bare", "--mirror"])
def test_clone_without_work_tree_serves_others(pushed: GitRepo, option: str) -> None:
    bare = pushed.clone("copy.git", option)
    bare.theta("fetch", "--all")
    shutil.rmtree(pushed.path)
    clone = bare.clone("clone")
    assert clone.digest(MODEL) == digest(version(1))
