"""Fixtures of the end-to-end tests: real git, temporary repositories, a home of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes, weights


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an environment in which git sees nothing of this machine's configuration."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in os.environ:
        if name.startswith(("GIT_", "XDG_", "THETA")):
            monkeypatch.delenv(name)
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    (folder / ".gitconfig").write_text(
        "[user]\n\tname = A User\n\temail = user@example.com\n"
        "[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n'
        "[advice]\n\tdetachedHead = false\n"
    )
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> GitRepo:
    """An empty repository; git-theta is not installed for it."""
    folder = tmp_path / "repo"
    folder.mkdir()
    repo = GitRepo(folder)
    repo.git("init", "-q")
    return repo


@pytest.fixture
def repo(plain: GitRepo) -> GitRepo:
    """A repository with git-theta installed, in which *.safetensors and *.pt are tracked and committed."""
    plain.theta("install")
    plain.theta("track", "*.safetensors", "*.pt")
    plain.commit("track checkpoints")
    return plain


@pytest.fixture
def remote(repo: GitRepo) -> GitRepo:
    """A bare repository, which is `repo`'s remote `origin`."""
    folder = repo.path.parent / "origin.git"
    folder.mkdir()
    bare = GitRepo(folder)
    bare.git("init", "-q", "--bare")
    repo.git("remote", "add", "origin", str(folder))
    return bare


MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def make_checkpoint(repo: GitRepo) -> MakeCheckpoint:
    """Writes a safetensors file into `repo`: make_checkpoint(name, tensors or seed, metadata)."""

    def make(
        name: str = "model.safetensors",
        tensors: Mapping[str, np.ndarray] | int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        values = weights(tensors) if isinstance(tensors, int) else tensors
        return repo.write(name, safetensors_bytes(values, metadata))

    return make
