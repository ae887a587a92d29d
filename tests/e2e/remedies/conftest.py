"""Repositories that several tests of remedies start from: made once, then copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from git_repo import GitRepo
from merge_cases import diverge
from test_merge_conflicts import BASE, COUNTS, OURS, THEIRS


def _once(repo: GitRepo, kept: Path, make: Callable[[GitRepo], object]) -> GitRepo:
    if kept.exists():
        shutil.rmtree(repo.path)
        shutil.copytree(kept, repo.path)
    else:
        make(repo)
        shutil.copytree(repo.path, kept)
    return repo


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def diverged(repo: GitRepo, kept: Path) -> GitRepo:
    """The branches main (OURS, checked out) and theirs (THEIRS), and the tag base (BASE)."""
    return _once(repo, kept / "diverged", lambda new: diverge(new, BASE, OURS, THEIRS))


@pytest.fixture
def counted(repo: GitRepo, kept: Path) -> GitRepo:
    """The same branches with integers (COUNTS), to which no change can be applied."""
    return _once(repo, kept / "counted", lambda new: diverge(new, *COUNTS))


@pytest.fixture
def conflict(diverged: GitRepo, kept: Path) -> GitRepo:
    """That, after `git merge theirs` has stopped: `a` and `b` are open, `c` is theirs, `d` ours."""
    return _once(diverged, kept / "conflict", lambda new: new.refused("git", "merge", "theirs"))
