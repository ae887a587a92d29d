"""What others can put in place of objects: links, pipes and folders, here and in a remote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"


def modes(paths: list[Path]) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in paths}


def test_a_link_in_a_remote_is_no_object(history: GitRepo, pushed: GitRepo, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    for number, path in enumerate(pushed.objects()):
        if number % 2:
            path.rename(private / path.name)
            path.symlink_to(private / path.name)
        else:
            path.unlink()
            os.mkfifo(path)
    for path in private.iterdir():
        path.chmod(0o600)
    clone = GitRepo(tmp_path / "clone")
    assert pushed.git("clone", "-q", str(pushed.path), str(clone.path), check=False).returncode
    assert clone.objects() == []
    assert history.theta("fsck").returncode == 0
    assert pushed.theta("fsck", check=False).returncode
    assert modes(list(private.iterdir())) == {0o600}
    history.git("push", "-q", "origin", "main")  # nothing is new, for Git
    history.theta("push", "--all")
    clone.theta("fetch")
    clone.git("reset", "-q", "--hard")
    assert clone.digest(MODEL) == digest(version(1))
    assert not any(path.is_symlink() for path in pushed.objects())
    assert modes(pushed.objects()) == {0o444}
    assert modes(list(private.iterdir())) == {0o600}


def test_links_here_lead_nowhere(history: GitRepo, pushed: GitRepo) -> None:
    first, second, third = history.objects()[:3]
    first.rename(history.path / "elsewhere")
    first.symlink_to(history.path / "elsewhere")
    second.unlink()
    os.mkfifo(second)
    third.unlink()
    third.mkdir()
    history.git("checkout", "-q", "v0")
    assert history.digest(MODEL) == digest(version(0))
    history.theta("fetch", "--all")
    assert [path.is_symlink() or not path.is_file() for path in (first, second, third)] == [False] * 3
    assert (history.path / "elsewhere").exists()


def test_a_link_in_place_of_a_folder_of_objects(repo: GitRepo, tmp_path: Path) -> None:
    """Nothing is written through it."""
    data = safetensors_bytes(weights(5, 1, (4, 4)))
    repo.write(MODEL, data)
    repo.git("add", MODEL)
    [path] = repo.objects()
    path.unlink()
    path.parent.rmdir()
    path.parent.parent.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.parent.parent.symlink_to(elsewhere)
    repo.git("rm", "-q", "--cached", MODEL)
    said = repo.refused("git", "add", MODEL)
    assert list(elsewhere.iterdir()) == []
    repo.remedy(said, f"rm {path.parent.parent}")
    repo.git("add", MODEL)
    assert repo.objects() == [path]


@pytest.mark.parametrize("hardlinks", [False, True])
def test_files_are_shared_with_a_remote_only_if_that_is_wanted(history: GitRepo, hardlinks: bool) -> None:
    history.git("config", "--global", "theta.hardlinks", str(hardlinks).lower())
    bare = history.add_remote("origin")
    bare.git("config", "theta.hardlinks", "true")  # what the remote says does not count
    history.git("push", "-q", "origin", "main")
    clone = bare.clone("clone")
    for mine, theirs in ((history, bare), (clone, bare)):
        there = {path.name: path for path in theirs.objects()}
        assert {path.samefile(there[path.name]) for path in mine.objects()} == {hardlinks}
    assert clone.digest(MODEL) == digest(version(1))
