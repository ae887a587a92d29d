"""Repositories that earlier versions of the formats have made stay readable; see golden/make.py."""

from __future__ import annotations

import json
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from git_repo import GitRepo

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.tar.gz"))
Files = dict[str, dict[str, str]]
"""For each commit the SHA-256 of each file."""


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> tuple[GitRepo, Files]:
    """The repository, with nothing in its work tree; beside it the remote that it was pushed to."""
    with tarfile.open(request.param) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from 3.10.12 and 3.11.4 on
        archive.extractall(tmp_path)
    work_tree = tmp_path / "repository"
    work_tree.mkdir()
    (tmp_path / "git").rename(work_tree / ".git")
    GitRepo(work_tree).theta("install", "--local")
    return GitRepo(work_tree), json.loads((tmp_path / "files.json").read_text())


def check(repo: GitRepo, files: Files) -> None:
    for commit, wanted in files.items():
        repo.git("checkout", "-q", "-f", commit)
        found = {path: sha256((repo.path / path).read_bytes()).hexdigest() for path in wanted}
        assert found == wanted, repo.git("show", "-s", "--format=%s").stdout


def test_every_version_is_restored(golden: tuple[GitRepo, Files]) -> None:
    repo, files = golden
    check(repo, files)
    repo.theta("fsck")


def test_a_clone_gets_it_from_the_remote(golden: tuple[GitRepo, Files]) -> None:
    repo, files = golden
    top = GitRepo(repo.path.parent)
    shutil.rmtree(repo.path / ".git" / "theta")
    top.git("clone", "-q", "remote.git", "clone")
    check(GitRepo(top.path / "clone"), files)


def test_what_is_unchanged_stays_so(golden: tuple[GitRepo, Files]) -> None:
    repo, files = golden
    for commit, wanted in files.items():
        repo.git("checkout", "-q", "-f", commit)
        for path in wanted:
            (repo.path / path).touch()
        repo.git("add", "--renormalize", "--all")
        assert repo.git("status", "--short").stdout == ""


def test_it_can_be_worked_on(golden: tuple[GitRepo, Files]) -> None:
    repo, files = golden
    repo.git("checkout", "-q", "-f", "main")
    repo.git("merge", "-q", "--no-edit", "main~1")
    first = next(iter(files))
    repo.git("checkout", "-q", first, "--", "model.safetensors")
    (repo.path / "copy.safetensors").write_bytes((repo.path / "model.safetensors").read_bytes())
    repo.git("add", "--all")
    repo.git("commit", "-q", "-m", "next")
    repo.git("push", "-q", "origin", "main")
    again = GitRepo(repo.path.parent)
    again.git("clone", "-q", "remote.git", "clone")
    copied = (again.path / "clone" / "copy.safetensors").read_bytes()
    assert sha256(copied).hexdigest() == files[first]["model.safetensors"]
    repo.theta("fsck")
