"""Merging a model that one side has converted to another format: the result is what its name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import commit
from torch_files import saved

torch = pytest.importorskip("torch")

OLD, NEW = "model.pt", "model.safetensors"


pytestmark = pytest.mark.usefixtures("no_editor")


def pickled(w: float, u: float, **more: Any) -> bytes:
    return saved(
        {"u": torch.full((9,), float(u)), "w": torch.full((9,), float(w)), "z": torch.ones(9)} | more
    )


def converted(w: float, u: float) -> bytes:
    values = {"u": u, "w": w, "z": 1}
    return safetensors_bytes({name: np.full(9, value, np.float32) for name, value in values.items()})


def diverge(repo: GitRepo, kept: bytes, new: bytes, converts: str) -> None:
    """Both sides change a checkpoint; the branch `converts` also converts it."""
    commit(repo, OLD, pickled(1, 1), "base")
    repo.git("branch", "theirs")
    for branch in ("theirs", "main"):
        repo.git("switch", "-q", branch)
        if branch == converts:
            repo.git("rm", "-q", OLD)
        commit(repo, *((NEW, new) if branch == converts else (OLD, kept)), branch)


@pytest.mark.parametrize("converts", ["main", "theirs"])
def test_the_result_has_the_format_of_its_name(repo: GitRepo, converts: str) -> None:
    diverge(repo, pickled(3, 1), converted(1, 5), converts)
    said = repo.refused("git", "theta", "merge", "theirs")
    repo.remedy(said, "git merge -Xfind-renames=15 theirs")
    assert (repo.path / NEW).read_bytes() == converted(3, 5)
    assert not (repo.path / OLD).exists()
    assert repo.status() == []


@pytest.mark.parametrize("converts", ["main", "theirs"])
def test_what_that_format_cannot_hold_is_named(repo: GitRepo, converts: str) -> None:
    diverge(repo, pickled(3, 7, epoch=4), converted(1, 5), converts)
    said = repo.refused("git", "merge", "-Xfind-renames=15", "theirs")
    assert "epoch: no tensor: a safetensors file cannot hold what a pytorch file has here" in said
    done = repo.remedy(said, f"git theta resolve {NEW} --strategy average", check=False)
    assert done.returncode == 1
    repo.remedy(done.stdout, f"git theta resolve {NEW} --ours")
    assert (repo.path / NEW).read_bytes() == converted(3, (7 + 5) / 2)


def test_a_side_of_another_format_is_not_taken_whole(repo: GitRepo) -> None:
    complex_numbers = torch.ones(2, dtype=torch.complex128)  # which safetensors does not have
    diverge(repo, pickled(3, 1, c=complex_numbers), converted(1, 5), "theirs")
    said = repo.refused("git", "merge", "-Xfind-renames=15", "theirs")
    assert "cannot hold tensor 'c'" in said
    said = repo.refused("git", "theta", "resolve", NEW, "--ours")
    assert "ours is a pytorch file, and would be one of another name" in said
    repo.remedy(said, f"git theta resolve {NEW} --theirs")
    assert (repo.path / NEW).read_bytes() == converted(1, 5)
