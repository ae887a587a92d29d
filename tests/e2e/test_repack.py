"""git theta repack finds better updates, and rewrites only what was not pushed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes


@pytest.fixture
def unrelated(repo: GitRepo) -> tuple[GitRepo, list[bytes]]:
    """Two versions, the second one stored whole because its base was forbidden then."""
    random = np.random.default_rng(0)
    base = {f"layers.{i}.weight": random.standard_normal((128, 256), np.float32) for i in range(2)}
    tuned = {
        name: value + 1e-4 * random.standard_normal(value.shape, np.float32) for name, value in base.items()
    }
    files = [safetensors_bytes(model) for model in (base, tuned)]
    repo.git("config", "theta.maxChainDepth", "0")
    for number, data in enumerate(files):
        (repo.path / "model.safetensors").write_bytes(data)
        repo.commit(f"version {number}")
        repo.git("tag", f"v{number}")
    repo.git("config", "--unset", "theta.maxChainDepth")
    return repo, files


def test_repack_stores_less_and_restores_the_same(
    unrelated: tuple[GitRepo, list[bytes]], tmp_path: Path
) -> None:
    repo, files = unrelated
    old = repo.head()
    assert b'"delta"' not in repo.blob("HEAD:model.safetensors")
    done = repo.theta("repack")
    assert "2 tensors take" in done.stdout
    assert repo.head() != old
    assert repo.head("v1") == repo.head()
    assert repo.head("v0") == repo.head("HEAD~1")
    assert b'"delta"' in repo.blob("HEAD:model.safetensors")
    assert repo.git("status", "--porcelain").stdout == ""
    assert repo.git("log", "-1", "--format=%an %ae %at %s").stdout == (
        repo.git("log", "-1", "--format=%an %ae %at %s", old).stdout
    )
    for number, data in enumerate(files):
        repo.git("checkout", "-q", f"v{number}")
        assert (repo.path / "model.safetensors").read_bytes() == data
    repo.theta("fsck")
    repo.git("checkout", "-q", "main")
    repo.git("reset", "-q", "refs/original/theta/heads/main")
    assert repo.head() == old
    assert repo.theta("repack", "v1").stdout.startswith("Nothing")


def test_repack_leaves_alone_what_was_pushed(unrelated: tuple[GitRepo, list[bytes]], tmp_path: Path) -> None:
    repo, _ = unrelated
    repo.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    repo.git("push", "-q", "origin", "main")
    old = repo.head()
    assert repo.theta("repack", "--aggressive").stdout.startswith("Nothing")
    assert repo.head() == old


def test_repack_of_a_range_rewrites_only_what_no_remote_has(unrelated: tuple[GitRepo, list[bytes]]) -> None:
    repo, files = unrelated
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "-u", "origin", "v0:refs/heads/main")
    pushed = repo.objects()
    names = {path.name: path.read_bytes() for path in pushed}
    before = repo.head("v0"), repo.blob("v0:model.safetensors")
    assert repo.theta("repack", "v0").stdout.startswith("Nothing")
    assert "2 tensors take" in repo.theta("repack", "--aggressive", "v0..main").stdout
    assert (repo.head("v0"), repo.blob("v0:model.safetensors")) == before
    assert repo.head("main~1") == before[0]
    assert {path.name: path.read_bytes() for path in pushed if path.exists()} == names
    repo.git("push", "-q", "origin", "main")  # no force is needed
    clone = bare.clone("clone")
    assert (clone.path / "model.safetensors").read_bytes() == files[1]
    assert b'"delta"' in clone.blob("HEAD:model.safetensors")


def test_repack_refuses_staged_changes(unrelated: tuple[GitRepo, list[bytes]]) -> None:
    repo, files = unrelated
    (repo.path / "model.safetensors").write_bytes(files[0])
    repo.git("add", "model.safetensors")
    done = repo.theta("repack", check=False)
    assert done.returncode == 1
    assert "staged" in done.stderr


def test_repack_from_a_folder_stages_what_lies_beside_it(unrelated: tuple[GitRepo, list[bytes]]) -> None:
    repo, _ = unrelated
    (repo.path / "notes").mkdir()
    repo.write("notes/text", b"text")
    repo.commit("notes")
    GitRepo(repo.path / "notes").theta("repack")
    assert b'"delta"' in repo.blob("HEAD:model.safetensors")
    assert repo.blob(":model.safetensors") == repo.blob("HEAD:model.safetensors")
    assert repo.status() == []
