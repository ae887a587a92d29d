"""git-theta's check as a hook of pre-commit, with the program itself, where git-theta's own hooks are not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from git_repo import GitRepo, safetensors_bytes, version, weights

SOURCE = Path(__file__).parents[2]


@pytest.fixture
def checks(tmp_path: Path) -> GitRepo:
    """A repository that has git-theta's hooks for pre-commit, as the one that it is developed in."""
    folder = tmp_path / "checks"
    folder.mkdir()
    repo = GitRepo(folder)
    repo.git("init", "-q")
    shutil.copy(SOURCE / ".pre-commit-hooks.yaml", folder)
    repo.commit("hooks")
    return repo


@pytest.fixture
def work(repo: GitRepo, checks: GitRepo) -> GitRepo:
    """A repository that tracks checkpoints, and whose only hooks are those of pre-commit."""
    for path in (repo.path / ".git" / "hooks").iterdir():
        path.unlink()
    example = (SOURCE / "docs" / "safety.md").read_text().split("```yaml\n")[1].split("```")[0]
    checks.git("tag", "v0.1.0")
    repo.write(".pre-commit-config.yaml", example.replace("URL-OF-GIT-THETA", str(checks.path)))
    repo.run("pre-commit", "install", "-t", "pre-commit", "-t", "pre-merge-commit")
    repo.commit("pre-commit")
    return repo


def stage_raw(repo: GitRepo, name: str) -> None:
    """Stage a checkpoint as it is, as a program does that runs no filters."""
    data = repo.write(name, version(0)).read_bytes()
    repo.stage(data, name)


def test_a_whole_checkpoint_is_committed(work: GitRepo) -> None:
    work.write("model.safetensors", version(0))
    work.git("add", "model.safetensors")
    work.write("model.safetensors", version(1))  # not staged: pre-commit puts it aside, and brings it back
    said = work.git("commit", "-m", "x")
    assert "git-theta" in said.stdout + said.stderr
    assert work.status() == [" M model.safetensors"]
    assert (work.path / "model.safetensors").read_bytes() == version(1)
    work.git("checkout", "--", "model.safetensors")
    assert (work.path / "model.safetensors").read_bytes() == version(0)


def test_a_raw_one_is_refused_with_what_to_type(work: GitRepo) -> None:
    stage_raw(work, "model.safetensors")
    head = work.head()
    said = work.refused("git", "commit", "-m", "x")
    assert "staged as it is" in said
    assert work.head() == head
    assert (work.path / "model.safetensors").read_bytes() == version(0)
    work.remedy(said, "git add --renormalize model.safetensors")
    work.git("commit", "-m", "x")
    assert work.blob("HEAD:model.safetensors").startswith(b'{"git-theta":')


def test_a_merge_that_is_not_settled_is_refused(work: GitRepo) -> None:
    work.write("model.safetensors", safetensors_bytes(weights(0)))
    work.commit("base")
    work.git("checkout", "-q", "-b", "other")
    work.write("model.safetensors", safetensors_bytes(weights(1)))
    work.commit("theirs")
    work.git("checkout", "-q", "main")
    work.write("model.safetensors", safetensors_bytes(weights(2)))
    work.commit("ours")
    work.git("merge", "other", check=False)
    said = work.refused("git", "commit", "-a", "-m", "x")
    assert "model.safetensors" in said
    work.theta("resolve", "model.safetensors", "--strategy", "average")
    work.git("commit", "-m", "x")


def test_beside_git_theta_s_own_hooks_it_checks_once(work: GitRepo) -> None:
    work.theta("install")
    file = work.write("model.safetensors", version(0))
    os.utime(file, (1e9, 1e9))  # else git may look at a file as young as its index, which stores it again
    work.git("add", "model.safetensors")
    for path in work.objects():
        path.unlink()
    said = work.refused("git", "commit", "-m", "x")
    assert said.count("neither here nor on a remote") == 1


def test_the_files_for_pre_commit_are_in_order(checks: GitRepo) -> None:
    checks.run("pre-commit", "validate-manifest", str(SOURCE / ".pre-commit-hooks.yaml"))
    checks.run("pre-commit", "validate-config", str(SOURCE / ".pre-commit-config.yaml"))
    tried = checks.run("pre-commit", "try-repo", ".", "git-theta", "--all-files")
    assert "Passed" in tried.stdout


def test_those_who_carry_on_are_checked(checks: GitRepo) -> None:
    """The project's own configuration runs, and stops what its programs do not like."""
    for name in (".pre-commit-config.yaml", "pyproject.toml"):
        shutil.copy(SOURCE / name, checks.path)
    (checks.path / "git_theta").mkdir()
    checks.write("git_theta/__init__.py", '"""A package."""\n')
    checks.write("plugins/a.py", '"""A module."""\n')
    checks.git("add", "--all")
    checks.run("pre-commit", "run", "--all-files")
    checks.write("git_theta/wrong.py", "import os\nx: int = 'a'\n")
    checks.git("add", "--all")
    said = checks.refused("pre-commit", "run", "--all-files")
    for words in ("F401", "1 file reformatted", "Incompatible types"):
        assert words in said
