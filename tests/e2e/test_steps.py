"""Killed between any two steps of a command: the next one recovers, and nothing wrong is ever committed.

A kill is simulated: from a step on, nothing is written any more, neither by us nor by git for us.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from git_repo import GitRepo, digest
from merge_cases import MODEL, model

from git_theta import files
from git_theta.commands.merge import Request, merge
from git_theta.commands.resolve import Wanted, resolve
from git_theta.drivers import commit_check
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.manifest import parse
from git_theta.merges.rule_sources import Layer
from git_theta.merging import move

BASE, OURS, THEIRS = model(a=1, b=2, c=3), model(a=10, b=20, c=3), model(a=30, b=40, c=5)
MEAN, FIRST = model(a=20, b=30, c=5), model(a=10, b=20, c=5)  # a and b are in conflict
WRITING = {"update-index", "add", "rm", "read-tree", "update-ref", "reset", "merge"}


class Killed(BaseException):
    """Nothing catches it."""


class Steps:
    """Counts steps that write, and stops before one of them, and before whatever would come then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.dead = -1, False
        self.names: list[str] = []
        rename, remove, run, popen = files.move, files.remove, Repository.run, Repository.popen

        def moved(source: Path, target: Path) -> None:
            self.step(target.name if len(target.name) < 40 else target.parent.name)
            rename(source, target)

        def removed(path: Path) -> None:
            if self.dead or path.exists():
                self.step(f"remove {path.parent.name}")
            remove(path)

        def ran(real: Callable[..., Any], repository: Repository, *arguments: Any, **pipes: Any) -> Any:
            words = arguments[0] if isinstance(arguments[0], list) else arguments
            if found := WRITING & set(words):
                self.step(found.pop())
            return real(repository, *arguments, **pipes)

        monkeypatch.setattr(files, "move", moved)
        monkeypatch.setattr(files, "remove", removed)
        monkeypatch.setattr(Repository, "run", lambda *given, **named: ran(run, *given, **named))
        monkeypatch.setattr(Repository, "popen", lambda *given, **named: ran(popen, *given, **named))

    def step(self, name: str) -> None:
        if self.dead or self.left == 0:
            self.dead = True
            raise Killed
        self.left -= 1
        self.names.append(name)

    def killed_before(self, count: int, command: Callable[[], object]) -> bool:
        """Run a command, and stop it before its step of this number; whether it has so many."""
        self.left, self.names = count, []
        try:
            command()
        except Killed:
            return True
        finally:
            self.left, self.dead = -1, False
        return False


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.fixture
def forked(repo: GitRepo) -> GitRepo:
    """Two branches that have changed a checkpoint; commits are checked by the tests themselves."""
    for branch, data in (("main", BASE), ("theirs", THEIRS), ("main", OURS)):
        repo.git("switch", "-q", *([] if branch == "main" else ["-c"]), branch)
        repo.write(MODEL, data)
        repo.commit(branch)
    repo.git("config", "core.hooksPath", "/dev/null")
    return repo


@pytest.fixture
def conflict(forked: GitRepo) -> GitRepo:
    """A merge that has stopped, with two tensors open."""
    assert forked.git("merge", "theirs", check=False).returncode == 1
    return forked


def copies(repo: GitRepo, first: int = 0) -> Iterator[tuple[int, GitRepo]]:
    """A copy of a repository for each number of steps that are done, from the first one that changes it."""
    for number in range(first, 20):
        yield number, GitRepo(shutil.copytree(repo.path, repo.path.parent / f"copy{number}"))


def resolved(repo: GitRepo, wanted: Wanted) -> None:
    repository = Repository(repo.path)
    try:
        resolve(repository, [MODEL], wanted, lambda line: None)
    finally:
        repository.close()


def staged_root(repo: GitRepo) -> str:
    return parse(repo.blob(f":{MODEL}")).root


def refused(repo: GitRepo) -> bool:
    """Whether the hooks would refuse what `git commit -a` would commit."""
    repo.git("add", "-u")
    repository = Repository(repo.path)
    try:
        return bool([*commit_check.check_conflicts(repository), *commit_check.half_merged.check(repository)])
    finally:
        repository.close()


def test_resolve(conflict: GitRepo, steps: Steps) -> None:
    wanted, data = Wanted("average"), MEAN
    for number, repo in copies(conflict, first=2):
        if not steps.killed_before(number, partial(resolved, repo, wanted)):
            break
        again = GitRepo(shutil.copytree(repo.path, repo.path.parent / f"again{number}"))
        with suppress(ThetaError) if repo.git("ls-files", "-u").stdout == "" else nullcontext():
            resolved(again, wanted)
        assert again.digest(MODEL) == digest(data)
        assert again.git("ls-files", "-u").stdout == ""
        if not refused(repo):
            assert staged_root(repo) == staged_root(again)
    assert steps.names == ["merged", MODEL, "update-index", "add", "remove conflicts"]  # in this order
    back = GitRepo(conflict.path.parent / "copy2")  # the file is written, and no more
    back.git("reset", "-q")
    back.git("checkout", "-q", "-f", "main")
    assert back.digest(MODEL) == digest(OURS)


def test_resolve_as_the_driver_has_left_it(conflict: GitRepo, steps: Steps) -> None:
    """Before the record goes, this cannot be told from a conflict that nobody has seen."""
    for number in (2, 4):  # the file is written; the index, too
        assert steps.killed_before(number, partial(resolved, conflict, Wanted("ours")))
        assert refused(conflict)
        resolved(conflict, Wanted("ours"))
        assert conflict.digest(MODEL) == digest(FIRST)
        assert not refused(conflict)
        conflict.git("checkout", "-q", "-m", "--", MODEL)


def test_resolve_in_part(conflict: GitRepo, steps: Steps) -> None:
    """Whatever of it is done, something is open, and the rest can be resolved."""
    for number, repo in copies(conflict, first=1):
        killed = steps.killed_before(number, partial(resolved, repo, Wanted("average", tensors=("a",))))
        names = tuple(steps.names)
        again = GitRepo(shutil.copytree(repo.path, repo.path.parent / f"again{number}"))
        assert refused(repo)
        resolved(again, Wanted("average"))
        assert again.digest(MODEL) == digest(MEAN)
        if not killed:
            break
    assert names == ("conflicts", MODEL, "conflicts")


@pytest.fixture
def texts(repo: GitRepo) -> GitRepo:
    """Two branches with a text each: what is not about tensors is quick."""
    for branch in ("main", "theirs", "main"):
        repo.git("switch", "-q", *([] if branch == "main" else ["-c"]), branch)
        repo.write(f"{branch}.txt", repo.path.name + repo.head())
        repo.commit(branch)
    return repo


def staged_merge(repo: GitRepo) -> None:
    repository = Repository(repo.path)
    try:
        merge(repository, Request(("theirs",), Layer("typed"), commit=False), lambda line: None)
    finally:
        repository.close()


def aborted(repo: GitRepo) -> None:
    repository = Repository(repo.path)
    move.abort(repository)
    repository.close()


def test_merge_without_a_commit(texts: GitRepo, steps: Steps) -> None:
    for number, repo in copies(texts):
        killed = steps.killed_before(number, partial(staged_merge, repo))
        names = tuple(steps.names)
        is_merge, is_staged = (repo.path / ".git" / "MERGE_HEAD").exists(), bool(repo.staged())
        assert refused(repo) == (is_staged and not is_merge)
        if is_staged and not is_merge:
            with pytest.raises(ThetaError, match="was stopped half-way"):
                staged_merge(repo)
            aborted(repo)
            assert repo.status() == []
        if not is_merge:
            staged_merge(repo)
        repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "--no-edit")
        assert repo.head("HEAD^2") == repo.head("theirs")
        if not killed:
            break
    files_of_git = "MERGE_MSG", "MERGE_MODE", "MERGE_HEAD"
    assert names[-7:] == ("staging", "read-tree", "update-ref", *files_of_git, "remove staging")


def test_a_commit_of_half_a_merge_is_refused(texts: GitRepo, steps: Steps) -> None:
    assert steps.killed_before(6, partial(staged_merge, texts))
    said = texts.refused("git", "commit", "-q", "-m", "no merge")
    assert "a merge without a commit was stopped half-way" in said
    texts.remedy(said, "git theta merge --abort")
    assert texts.status() == []
    texts.theta("merge", "theirs")
    assert texts.head("HEAD^2") == texts.head("theirs")


KILL = f"""
import os, sys
if sys.argv[1:2] == ["merge-driver"]:
    from git_theta import files
    real, left = files.replace, [int(os.environ["KILLED_BEFORE"])]
    def replace(*arguments, **named):
        if left[0] == 0:
            os.kill(os.getpid(), {int(signal.SIGKILL)})
        left[0] -= 1
        return real(*arguments, **named)
    files.replace = replace
"""


@pytest.mark.parametrize("number", [2, 3])
def test_the_merge_driver(forked: GitRepo, tmp_path: Path, number: int) -> None:
    """Git takes the file as it is then, for a conflict or for a reason to stop."""
    (tmp_path / "sitecustomize.py").write_text(KILL)
    environment = {"PYTHONPATH": str(tmp_path), "KILLED_BEFORE": str(number)}
    assert forked.git("merge", "theirs", check=False, **environment).returncode
    if not forked.git("ls-files", "-u").stdout:  # since 2.42, Git stops where a driver was killed
        assert forked.status() == []
        forked.git("merge", "theirs", check=False)
    assert refused(forked)
    resolved(forked, Wanted("average"))
    assert forked.digest(MODEL) == digest(MEAN)
