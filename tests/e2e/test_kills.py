"""Every command that writes, killed before any of its writing system calls: what comes next recovers.

Python tells an audit hook before it opens a file for writing, renames, links, removes or makes one, changes
permissions, or starts a program. The hook counts over all processes of a command, and kills the process that
is about to do number N with SIGKILL. By default a few N are tried for each command; `nox -s kills` tries all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from git_repo import GitRepo, digest, version
from merge_cases import MODEL, diverge, model

HOOK = """
import os, signal, sys

def _watch():
    counter, at = os.environ["KILL_COUNTER"], int(os.environ["KILL_AT"])
    events = {f"os.{name}" for name in "rename remove link symlink mkdir rmdir chmod truncate".split()}
    events |= {"subprocess.Popen", "sqlite3.connect"}
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    busy = []

    def hook(event, given):
        if busy or not (event in events or (event == "open" and given[2] and given[2] & writing)):
            return
        if event == "open" and given[0] == os.devnull:
            return
        busy.append(event)
        descriptor = os.open(counter, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b".")
        if os.fstat(descriptor).st_size == at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(descriptor)
        busy.clear()

    sys.addaudithook(hook)

if "KILL_COUNTER" in os.environ and sys.argv[:1] != ["-c"]:
    _watch()
"""
MODELS = [version(0), version(1)]
ALL = bool(os.environ.get("GIT_THETA_ALL_KILLS"))
BASE, OURS, THEIRS = model(a=1, b=2, c=3), model(a=10, b=20, c=3), model(a=30, b=40, c=5)
MODELS += [BASE, OURS, THEIRS]
MEAN, ALL_MEAN = model(a=20, b=30, c=5), model(a=20, b=30, c=4)


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        prepare: brings a repository to where the command is typed.
        command: what is killed, and typed again.
        wanted: the bytes of the file in the end.
        finish: what is typed after it.
    """

    prepare: Callable[[GitRepo], None]
    command: str
    wanted: bytes
    finish: tuple[str, ...] = ()


def changed(repo: GitRepo) -> None:
    repo.write(MODEL, version(0))
    repo.commit("first")
    repo.git("tag", "v0")
    repo.write(MODEL, version(1))


def two_versions(repo: GitRepo) -> None:
    changed(repo)
    repo.commit("second")


def branches(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, THEIRS)


def conflict(repo: GitRepo) -> None:
    branches(repo)
    repo.refused("git", "merge", "theirs")


def published(repo: GitRepo) -> None:
    two_versions(repo)
    repo.add_remote("origin")


def pointed(repo: GitRepo) -> None:
    """A manifest lies in place of the file, and its objects on the remote."""
    published(repo)
    repo.git("push", "-q", "-u", "origin", "main")
    shutil.rmtree(repo.path / ".git" / "theta")
    (repo.path / MODEL).unlink()
    repo.git("checkout-index", "-f", "-a", GIT_THETA_SKIP_SMUDGE="1")


def stashed(repo: GitRepo) -> None:
    changed(repo)
    repo.git("stash", "-q")


COMMANDS = {
    "add": Case(changed, f"git add {MODEL}", version(1), ("git commit -q -m done",)),
    "commit": Case(changed, "git commit -q -a --allow-empty -m done", version(1)),
    "checkout": Case(two_versions, "git checkout -q -f v0", version(0)),
    "stash": Case(changed, "git stash -q", version(0)),
    "stash pop": Case(stashed, "git stash pop -q", version(1)),
    "merge": Case(branches, "git merge -q --no-edit theirs", MEAN),
    "theta merge": Case(branches, "git theta merge theirs --strategy average -m done", ALL_MEAN),
    "resolve": Case(
        conflict, f"git theta resolve {MODEL} --strategy average", MEAN, ("git commit -q -m done",)
    ),
    "take a side": Case(conflict, f"git theta checkout --theirs {MODEL}", THEIRS),
    "cherry-pick": Case(branches, "git cherry-pick theirs", model(a=39, b=58, c=5)),
    "push": Case(published, "git push -q origin main", version(1)),
    "pull": Case(pointed, "git theta pull", version(1)),
    "repack": Case(two_versions, "git theta repack", version(1)),
    "track": Case(two_versions, "git theta track '*.bin'", version(1)),
    "install": Case(two_versions, "git theta install --local", version(1)),
}
ABORTS = ("git theta merge --abort", "git merge --abort", "git cherry-pick --abort", "git reset -q --merge")

OFTEN = ("add", "commit", "checkout", "resolve", "take a side")
"""What is tried without `nox -s kills`, too."""


@pytest.fixture
def hook(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "hook"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK)
    counter = folder / "counter"
    return {"PYTHONPATH": str(folder), "KILL_COUNTER": str(counter), "GIT_EDITOR": ":"}


def run(repo: GitRepo, command: str, hook: dict[str, str], at: int) -> int:
    """Run a command that is killed at this event; how many events there were."""
    counter = Path(hook["KILL_COUNTER"])
    counter.write_bytes(b"")
    repo.run("sh", "-c", command, check=False, KILL_AT=str(at), **hook)
    return counter.stat().st_size


def state(repo: GitRepo) -> tuple[str, ...]:
    """What a command has done, without times."""
    asked = ("rev-list --count HEAD", "rev-parse HEAD^{tree}", "ls-files -s -u", "ls-files -s")
    said = [repo.git(*words.split(), check=False).stdout for words in asked]
    said.append(repo.run("sh", "-c", "git ls-remote origin | wc -l", check=False).stdout)
    said.append(f"stashed: {bool(repo.git('stash', 'list').stdout)}")  # stashed twice is nothing lost
    file = repo.path / MODEL
    return (*said, digest(file.read_bytes()) if file.is_file() else "")


def recover(repo: GitRepo, case: Case, done: tuple[str, ...]) -> None:
    """What a user does after a kill: look, and type the same again, at most after an abort."""
    for lock in (repo.path / ".git").glob("**/*.lock"):  # git says itself to remove it
        lock.unlink()
    assert "did not expect" not in repo.git("status").stderr
    if state(repo) == done:
        return
    again = repo.run("sh", "-c", case.command, check=False, GIT_EDITOR=":")
    if again.returncode or state(repo) != done:
        for abort in ABORTS:
            repo.run("sh", "-c", abort, check=False)
        again = repo.run("sh", "-c", case.command, check=False, GIT_EDITOR=":")
    assert "did not expect" not in again.stderr
    assert state(repo) == done, again.stderr


def check(repo: GitRepo, case: Case) -> None:
    for command in case.finish:
        repo.run("sh", "-c", command, GIT_EDITOR=":")
    assert repo.digest(MODEL) == digest(case.wanted)
    repo.theta("fsck")
    known = {digest(one) for one in (*MODELS, case.wanted)}
    for commit in repo.git("log", "--all", "--format=%H", "--", MODEL).stdout.split():
        if not repo.git("ls-tree", commit, MODEL).stdout:
            continue  # a second stash, of a file that git had removed when the first was killed
        repo.git("checkout", "-q", "-f", commit, "--", MODEL)
        assert repo.digest(MODEL) in known


@pytest.mark.parametrize("name", COMMANDS if ALL else OFTEN)
def test_killed_before_it_writes(repo: GitRepo, hook: dict[str, str], tmp_path: Path, name: str) -> None:
    case = COMMANDS[name]
    repo.git("config", "theta.merge", "average")
    if case.prepare is conflict:
        repo.git("config", "--unset", "theta.merge")
    case.prepare(repo)
    before = tmp_path / "before"
    shutil.copytree(tmp_path / "repo", before, symlinks=True)
    remotes = list(tmp_path.glob("origin.git"))
    for remote in remotes:
        shutil.copytree(remote, tmp_path / "remote-before")
    events = run(repo, case.command, hook, -1)
    assert events > 0
    done = state(repo)
    check(repo, case)
    wanted = range(1, events + 1) if ALL else sorted({1 + events // 2, events})
    killed = []
    for at in wanted:
        shutil.rmtree(repo.path)
        shutil.copytree(before, repo.path, symlinks=True)
        for remote in remotes:
            shutil.rmtree(remote)
            shutil.copytree(tmp_path / "remote-before", remote)
        killed.append(run(repo, case.command, hook, at) >= at)
        recover(repo, case, done)
        check(repo, case)
    assert any(killed)  # not all: git asks for a file once more where its times are too young to tell
