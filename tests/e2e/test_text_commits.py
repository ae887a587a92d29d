"""Commits without a checkpoint: the hooks find that out in the shell, and start no Python."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from git_repo import GitRepo, version
from merge_cases import MODEL, diverge, model

HOOKS = ("pre-commit", "prepare-commit-msg", "post-commit")
SCRIPTS = Path(__file__).parents[2] / "hooks"


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


def test_hooks_before_a_commit_look_alike() -> None:
    """Each is a file of its own, which Git finds alone; what they look at is the same."""
    names = ("pre-commit", "pre-merge-commit", "prepare-commit-msg")
    looks = {
        re.sub(r"(?s).*(checkpoints\(\) \{.*?\n\}).*", r"\1", (SCRIPTS / name).read_text()) for name in names
    }
    (look,) = looks
    assert look.startswith("checkpoints() {")


@pytest.mark.parametrize("options", [(), ("--allow-empty", "--no-verify"), ("--amend", "--no-edit")])
def test_text_starts_nothing(history: GitRepo, called: Path, options: tuple[str, ...]) -> None:
    history.stage(b"one\n", "notes.txt")
    commit(history, called)
    history.stage(b'two, "git-theta"\n', "notes.txt")
    history.stage(b"x", "Gewichte ä b")
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
        history.stage(data, name)
        assert commit(history, called) == list(hooks), name
    history.git("rm", "-q", "--cached", MODEL)
    assert commit(history, called) == list(HOOKS[:2])


def test_what_counts_is_what_is_staged(history: GitRepo, called: Path) -> None:
    history.write(".gitattributes", "")
    history.write("sub/.gitattributes", "* !filter\n")
    history.stage(b"raw", "sub/m.safetensors")
    assert commit(history, called) == list(HOOKS[:2])


def test_names_that_git_quotes_are_looked_at(history: GitRepo, called: Path) -> None:
    history.stage(b"x", 'a "name"\nof two lines')
    assert commit(history, called) == list(HOOKS[:2])


def test_options_about_pathspecs_hide_nothing(history: GitRepo, called: Path) -> None:
    for name in ("LITERAL", "NOGLOB", "ICASE"):
        history.stage(name.encode(), MODEL)
        assert commit(history, called, **{f"GIT_{name}_PATHSPECS": "1"}) == list(HOOKS[:2])


def test_first_commit_is_looked_at(repo: GitRepo, called: Path) -> None:
    repo.git("checkout", "-q", "--orphan", "other")
    repo.stage(b"one\n", "notes.txt")
    assert commit(repo, called) == list(HOOKS)


def test_linked_worktree(history: GitRepo, called: Path, tmp_path: Path) -> None:
    history.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = GitRepo(tmp_path / "linked")
    linked.stage(b"one\n", "notes.txt")
    assert commit(linked, called) == []
    linked.stage(version(6), MODEL)
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
    repo.stage(b"two\n", "notes.txt")
    assert commit(repo, called) == []
