"""Long work shows on a terminal how far it is: at once here, as GIT_PROGRESS_DELAY says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from git_repo import GitRepo, version
from terminals import on_a_terminal

MODEL = "model.safetensors"
GONE = "\r\x1b[K"
BAR = r"\[[# ]{20}\] +[\d.]+%, [\d.]+ [KM]?B of [\d.]+ [KM]?B, [\d.]+ [KMG]?B/s"


def shown(folder: Path, *command: str) -> str:
    """What a command that must succeed writes to a terminal that is told of progress at once."""
    return on_a_terminal(folder, *command, code=0, GIT_PROGRESS_DELAY="0", GIT_PAGER="cat")


def lines(said: str, title: str) -> list[str]:
    """The states of a display, each of which must look as it should, and which must be gone at the end."""
    found = re.findall(rf"\r{re.escape(title)} ([^\r\x1b]*)\x1b\[K", said)
    assert all(re.match(BAR, line) for line in found), found
    assert not found or GONE in said[said.rindex(f"\r{title} ") :]
    return found


def test_adding_a_file(repo: GitRepo) -> None:
    repo.write(MODEL, version(0))
    said = shown(repo.path, "git", "add", MODEL)
    assert lines(said, f"Storing {MODEL}")[0].startswith("[")
    assert said.endswith(GONE)
    assert repo.git("status", "--short").stdout == f"A  {MODEL}\n"


def test_checking_out_a_file(history: GitRepo) -> None:
    said = shown(history.path, "git", "checkout", "v0", "--", MODEL)
    assert lines(said, f"Writing {MODEL}")
    assert (history.path / MODEL).read_bytes() == version(0)


def test_cloning(history: GitRepo, pushed: GitRepo) -> None:
    said = shown(history.path.parent, "git", "clone", str(pushed.path), "copy")
    assert lines(said, "Fetching objects")
    assert lines(said, f"Writing {MODEL}")
    assert (history.path.parent / "copy" / MODEL).read_bytes() == version(1)


def test_pulling_and_looking(history: GitRepo, pushed: GitRepo) -> None:
    clone = GitRepo(history.path.parent / "copy")
    history.git("clone", "-q", str(pushed.path), str(clone.path), GIT_THETA_SKIP_SMUDGE="1")
    said = shown(clone.path, "git", "theta", "pull")
    assert lines(said, "Fetching objects")
    assert lines(said, f"Writing {MODEL}")
    assert "Fetched 6 objects, 372 KB." in said
    clone.write(MODEL, version(0))
    said = shown(clone.path, "git", "theta", "status")
    assert lines(said, f"Reading {MODEL}")
    assert f"{MODEL}: 1 of 5 tensors changed" in said


@pytest.mark.parametrize("command", [("checkout", "-q", "v0"), ("checkout", "--quiet", "v0")])
def test_quiet_commands_are_silent(history: GitRepo, command: tuple[str, ...]) -> None:
    assert shown(history.path, "git", *command) == ""
    assert (history.path / MODEL).read_bytes() == version(0)


def test_pipes_are_told_nothing(repo: GitRepo) -> None:
    repo.write(MODEL, version(0))
    added = repo.git("add", MODEL, GIT_PROGRESS_DELAY="0")
    assert added.stdout + added.stderr == ""
    checked = repo.theta("fsck", GIT_PROGRESS_DELAY="0")
    assert checked.stderr == ""


def test_checking_and_uploading(history: GitRepo) -> None:
    history.add_remote("origin")
    said = shown(history.path, "git", "theta", "fsck")
    assert lines(said, "Checking objects")
    pushed = shown(history.path, "git", "theta", "push", "origin")
    assert lines(pushed, "Uploading objects")
    assert "Uploaded 6 objects, 372 KB, to origin" in pushed
