"""Commits without a checkpoint: the hooks find that out in the shell, and start no Python."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from git_repo import GitRepo, version
from merge_cases import MODEL, diverge, model

HOOKS = ("pre-commit", "prepare-commit-msg", "post-commit")


@pytest.fixture
def called(tmp_path: Path) -> Path:
    """A file with the hooks that have started a program `git-theta`, which is no more than that."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "git-theta"
    real = shutil.which("git-theta")
    program.write_text(f'#!/bin/sh\n[ "$1" = hook ] || exec {real} "$@"\necho "$4" >> "{folder}/called"\n')
    program.chmod(0o755)
    (folder / "called").write_text("")
    return folder / "called"


def commit(repo: GitRepo, called: Path, *arguments: str, **environment: str) -> list[str]:
    """Commit, and return the hooks that have started git-theta."""
    called.write_text("")
    path = os.pathsep.join([str(called.parent), os.environ["PATH"]])
    repo.git("commit", "-q", "-m", "x", *arguments, PATH=path, **environment)
    return called.read_text().split()


def stage(repo: GitRepo, name: str, data: bytes) -> None:
    """Stage a blob as it is, without the filter."""
    oid = repo.git("hash-object", "-w", "--stdin", stdin=data).stdout.strip()
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{name}")


@pytest.mark.parametrize("options", [(), ("--allow-empty", "--no-verify"), ("--amend", "--no-edit")])
def test_text_starts_nothing(history: GitRepo, called: Path, options: tuple[str, ...]) -> None:
    stage(history, "notes.txt", b"one\n")
    commit(history, called)
    stage(history, "notes.txt", b'two, "git-theta"\n')
    stage(history, "Gewichte ä b", b"x")
    assert commit(history, called, *options) == []
    history.git("rm", "-q", "--cached", "notes.txt")
    assert commit(history, called) == []


def test_what_can_be_a_checkpoint_is_looked_at(history: GitRepo, called: Path) -> None:
    manifest = history.git("show", f"HEAD:{MODEL}").stdout.encode()
    for name, data, hooks in (
        (
            MODEL,
            version(5),
            HOOKS[:2],
        ),  # raw bytes under a tracked name: post-commit has no manifest to report
        (MODEL, manifest, HOOKS),
        (".gitattributes", b"*.safetensors filter=theta\n*.txt binary\n", HOOKS[:2]),
        ("sub/.gitattributes", b"x -text\n", HOOKS[:2]),
        ("stray.txt", manifest, HOOKS),
    ):
        stage(history, name, data)
        assert commit(history, called) == list(hooks), name
    history.git("rm", "-q", "--cached", MODEL)
    assert commit(history, called) == list(HOOKS[:2])


def test_what_counts_is_what_is_staged(history: GitRepo, called: Path) -> None:
    history.write(".gitattributes", "")
    history.write("sub/.gitattributes", "* !filter\n")
    stage(history, "sub/m.safetensors", b"raw")
    assert commit(history, called) == list(HOOKS[:2])


def test_names_that_git_quotes_are_looked_at(history: GitRepo, called: Path) -> None:
    stage(history, 'a "name"\nof two lines', b"x")
    assert commit(history, called) == list(HOOKS[:2])


def test_options_about_pathspecs_hide_nothing(history: GitRepo, called: Path) -> None:
    for name in ("LITERAL", "NOGLOB", "ICASE"):
        stage(history, MODEL, name.encode())
        assert commit(history, called, **{f"GIT_{name}_PATHSPECS": "1"}) == list(HOOKS[:2])


def test_first_commit_is_looked_at(repo: GitRepo, called: Path) -> None:
    repo.git("checkout", "-q", "--orphan", "other")
    stage(repo, "notes.txt", b"one\n")
    assert commit(repo, called) == list(HOOKS)


def test_linked_worktree(history: GitRepo, called: Path, tmp_path: Path) -> None:
    history.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = GitRepo(tmp_path / "linked")
    stage(linked, "notes.txt", b"one\n")
    assert commit(linked, called) == []
    stage(linked, MODEL, version(6))
    assert commit(linked, called) == list(HOOKS[:2])


def test_what_a_merge_has_noted_is_looked_at_until_it_is_committed(repo: GitRepo, called: Path) -> None:
    diverge(repo, model(a=1, b=2), model(a=10, b=2), model(a=30, b=2))
    assert repo.git("merge", "-q", "theirs", check=False).returncode
    records = repo.path / ".git" / "theta" / "conflicts"
    assert list(records.iterdir())
    repo.theta("checkout", "--theirs", MODEL)
    repo.git("add", MODEL)
    assert set(commit(repo, called)) == {"prepare-commit-msg", "pre-commit", "post-commit"}
    repo.write("notes.txt", b"one\n")
    repo.git("add", "notes.txt")
    assert not repo.git("commit", "-q", "-m", "with the real program").stderr
    assert not list(records.iterdir())
    stage(repo, "notes.txt", b"two\n")
    assert commit(repo, called) == []
