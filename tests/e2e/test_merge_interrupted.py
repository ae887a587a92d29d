"""Ctrl-C in the middle of a merge, reaching all processes at the terminal, leaves everything as it was."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, weights
from merge_cases import MODEL, clean_and_equal, diverge

BASE = weights(0, count=3, shape=(64, 64))
OURS, THEIRS = (changed(BASE, seed=seed) for seed in (1, 2))
MEAN = {name: ((OURS[name].astype("f8") + THEIRS[name]) / 2).astype("f4") for name in BASE}

IN_THE_MIDDLE = """\
import os, signal, sys
group = int(os.environ.setdefault("GROUP", str(os.getpgrp())))  # whom the terminal's Ctrl-C reaches
command, module, name = os.environ.get("INTERRUPT", "::").split(":")
if command and sys.argv[1:2] == [command]:
    from importlib import import_module

    *path, last = name.split(".")
    owner = import_module(module)
    for part in path:
        owner = getattr(owner, part)
    real = getattr(owner, last)

    def interrupted(*arguments, **named):
        os.killpg(group, signal.SIGINT)
        return real(*arguments, **named)

    setattr(owner, last, interrupted)
"""


@pytest.fixture
def forked(repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitRepo:
    """All tensors have changed on both sides; a process stops where INTERRUPT says COMMAND:MODULE:FUNCTION.

    `theirs` has a file, too, whose filter calls $TYPED.
    """
    repo.write(".git/info/attributes", "*.late filter=late\n")
    repo.git("config", "filter.late.smudge", 'sh -c "$TYPED"; cat')
    diverge(repo, *map(safetensors_bytes, (BASE, OURS, THEIRS)))
    repo.git("switch", "-q", "theirs")
    repo.write("a.late", "a file of theirs\n")
    repo.commit("a file")
    repo.git("switch", "-q", "main")
    repo.write("mine.txt", "not tracked\n")
    (tmp_path / "sitecustomize.py").write_text(IN_THE_MIDDLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return repo


def state(repo: GitRepo) -> tuple[object, ...]:
    """All that must be as before."""
    git = repo.path / ".git"
    files = {path.name: path.read_bytes() for path in repo.path.iterdir() if path.is_file()}
    left = sorted(path.name for path in git.iterdir() if path.name.endswith(".lock") or "MERGE" in path.name)
    return repo.head(), repo.git("ls-files", "-s").stdout, repo.status(), files, left


def temporary(repo: GitRepo) -> list[Path]:
    """What must not be left behind."""
    return [*(repo.path / ".git/theta/tmp").glob("*"), *(repo.path.parent / "temporary").glob("*")]


def interrupted(repo: GitRepo, *command: str, **environment: str) -> str:
    """Run a command that gets SIGINT, and return what it said."""
    scratch = repo.path.parent / "temporary"
    scratch.mkdir(exist_ok=True)
    with subprocess.Popen(
        ["git", *command],
        cwd=repo.path,
        env=os.environ | {"TMPDIR": str(scratch)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGINT), errors
    assert "Traceback" not in errors
    assert temporary(repo) == []
    return output + errors


MERGE = "theta", "merge", "theirs", "-s", "average"


@pytest.mark.parametrize(
    "place",
    [
        "git_theta.merging.checkpoint_merge:CheckpointMerge.plan",
        "git_theta.merges.engine:write_linear",
        "git_theta.storing.keeper:Keeper.keep",
        "git_theta.merging.move:with_trailers",
    ],
)
def test_before_anything_is_written(forked: GitRepo, place: str) -> None:
    before = state(forked)
    interrupted(forked, *MERGE, INTERRUPT=f"merge:{place}")
    assert state(forked) == before
    forked.theta("merge", "theirs", "-s", "average")
    assert forked.digest(MODEL) == digest(safetensors_bytes(MEAN))


@pytest.mark.parametrize("name", ["pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-merge"])
def test_in_a_hook(forked: GitRepo, name: str) -> None:
    forked.git("config", "core.hooksPath", ".git/own")
    hook = forked.write(f".git/own/{name}", "#!/bin/sh\nkill -INT -$GROUP\nsleep 0.1\n")
    hook.chmod(0o755)
    before = state(forked)
    interrupted(forked, *MERGE)
    assert state(forked) == before


IN_A_FILTER = {"TYPED": "kill -INT -$GROUP; sleep 0.2"}
IN_THE_FILTER_PROCESS = {"INTERRUPT": "filter-process:git_theta.filters.smudge:Smudger.smudge"}


@pytest.mark.parametrize("options", [(), ("--no-commit",)])
@pytest.mark.parametrize("where", [IN_A_FILTER, IN_THE_FILTER_PROCESS])
def test_while_files_are_written(forked: GitRepo, options: tuple[str, ...], where: dict[str, str]) -> None:
    before = state(forked)
    interrupted(forked, *MERGE, *options, **where)
    assert state(forked) == before
    forked.theta("merge", "theirs", "-s", "average", *options)
    assert forked.digest(MODEL) == digest(safetensors_bytes(MEAN))


def test_while_files_are_written_in_a_fast_forward(forked: GitRepo) -> None:
    forked.git("reset", "-q", "--hard", "base")
    before = state(forked)
    interrupted(forked, "theta", "merge", "theirs", **IN_A_FILTER)
    assert state(forked) == before
    forked.theta("merge", "theirs")
    assert forked.head() == forked.head("theirs")


def test_local_changes_survive(forked: GitRepo) -> None:
    forked.write("notes.txt", "tracked\n")
    forked.commit("notes", "notes.txt")
    forked.write("notes.txt", "changed\n")
    before = state(forked)
    interrupted(forked, *MERGE, **IN_A_FILTER)
    assert state(forked) == before
    assert (forked.path / "notes.txt").read_text() == "changed\n"


def test_git_merge(forked: GitRepo) -> None:
    """Git itself stops here, without removing its temporary files; what the driver noted by then keeps nobody
    from anything."""
    before = state(forked)
    place = "git_theta.merging.checkpoint_merge:CheckpointMerge.plan"
    interrupted(forked, "merge", "theirs", INTERRUPT=f"merge-driver:{place}")
    for file in forked.path.glob(".merge_file_*"):
        file.unlink()
    assert state(forked) == before
    forked.commit("something else", "mine.txt")
    assert forked.git("merge", "theirs", check=False).returncode == 1
    forked.theta("resolve", MODEL, "--strategy", "average")
    forked.git("commit", "-q", "--no-edit")
    clean_and_equal(forked, safetensors_bytes(MEAN))


def test_abort(forked: GitRepo) -> None:
    before = state(forked)
    forked.git("merge", "theirs", check=False)
    interrupted(forked, "theta", "merge", "--abort", INTERRUPT="merge:git_theta.merging.move:clear")
    assert state(forked) == before
    assert list((forked.path / ".git/theta/conflicts").iterdir()) == []


def test_resolve(forked: GitRepo) -> None:
    """Each step is done as a whole or not at all."""
    forked.git("merge", "theirs", check=False)
    part = "theta", "resolve", MODEL, "--theirs", "--tensor", "bias"
    interrupted(forked, *part, INTERRUPT="resolve:git_theta.merging.conflicts:write")
    assert forked.digest(MODEL) == digest(safetensors_bytes({**OURS, "bias": THEIRS["bias"]}))
    before = state(forked)
    resolve = "theta", "resolve", MODEL, "--strategy", "average"
    interrupted(forked, *resolve, INTERRUPT="resolve:git_theta.merges.engine:write_linear")
    assert state(forked) == before
    interrupted(forked, *resolve, INTERRUPT="resolve:git_theta.merging.conflicts:clear")
    assert f"M  {MODEL}" in forked.status()
    assert forked.digest(MODEL) == digest(safetensors_bytes({**MEAN, "bias": THEIRS["bias"]}))
