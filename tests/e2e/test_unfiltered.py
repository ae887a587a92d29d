"""Manifests under names that git-theta does not track are named when Git checks them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_repo import GitRepo, digest, version

from git_theta.terminal.showing import printable

NAMED = "only the manifest was written, not the checkpoint"


@pytest.fixture
def renamed(history: GitRepo, pushed: GitRepo) -> GitRepo:
    """`history`, in which somebody has given the model a name that is not tracked, past the hooks."""
    history.git("mv", "model.safetensors", "model.bin")
    history.commit_index("another name")
    history.git("push", "-q", "--no-verify", "origin", "main")
    return history


def name_and_mend(repo: GitRepo, said: str) -> None:
    assert said.count(NAMED) == 1
    assert "model.bin: " in said
    repo.remedy(said, "git theta track model.bin; git theta pull")
    assert repo.digest("model.bin") == digest(version(1))
    assert repo.status() in ([" M .gitattributes"], [])


def test_a_new_clone(renamed: GitRepo, pushed: GitRepo) -> None:
    done = renamed.git("clone", "-q", str(pushed.path), "../clone")
    name_and_mend(GitRepo(renamed.path.parent / "clone"), done.stderr)


def test_pull(history: GitRepo, pushed: GitRepo, request: pytest.FixtureRequest) -> None:
    clone, rebased = (history.clone(name, source=str(pushed.path)) for name in ("clone", "rebased"))
    request.getfixturevalue("renamed")
    name_and_mend(clone, clone.git("pull", "-q").stderr)
    rebased.write("notes.txt", "mine")
    rebased.commit()
    assert NAMED in rebased.git("pull", "-q", "--rebase").stderr


def test_checkout_and_worktree(renamed: GitRepo) -> None:
    renamed.git("checkout", "-q", "-f", "v1")
    said = renamed.git("checkout", "-q", "main").stderr
    assert NAMED in said
    assert NAMED in renamed.git("worktree", "add", "-q", "../tree", "main~0").stderr
    assert NAMED not in renamed.git("checkout", "-q", "-b", "same").stderr
    renamed.write("notes.txt", "another file")
    renamed.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-am", "notes")
    assert NAMED not in renamed.git("checkout", "-q", "main").stderr
    name_and_mend(renamed, said)


def test_untracked_by_somebody_else(history: GitRepo, pushed: GitRepo) -> None:
    behind = history.clone("behind", source=str(pushed.path))
    behind.git("reset", "-q", "--hard", "v0")
    history.theta("untrack", "*.safetensors")
    history.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "untracked", ".gitattributes")
    history.git("push", "-q", "--no-verify", "origin", "main")
    fresh = GitRepo(history.path.parent / "fresh")
    said = history.git("clone", "-q", str(pushed.path), "../fresh").stderr
    for clone, text in ((fresh, said), (behind, behind.git("pull", "-q").stderr)):
        clone.remedy(text, "git theta track model.safetensors; git theta pull")
        assert clone.digest("model.safetensors") == digest(version(1))


@pytest.mark.parametrize("name", ["my 'best' model.bin", "mödel.bin", 'a"b\\c\td.bin', "-n.bin", "sub/x.bin"])
def test_unusual_names(history: GitRepo, name: str) -> None:
    (history.path / name).parent.mkdir(exist_ok=True)
    history.git("mv", "--", "model.safetensors", name)
    history.commit_index("another name")
    history.git("checkout", "-q", "-f", "v1")
    said = history.git("checkout", "-q", "main").stderr
    assert f"{printable(name)}: {NAMED}" in said
    (typed,) = [line for line in said.splitlines() if line.startswith("  git theta track ")]
    history.run("sh", "-e", "-c", typed)
    assert history.digest(name) == digest(version(1))


def test_what_is_no_regular_file_is_not_opened(history: GitRepo, tmp_path: Path) -> None:
    history.run("mkfifo", str(tmp_path / "fifo"))
    (history.path / "link.bin").symlink_to(tmp_path / "fifo")
    history.commit()
    history.git("checkout", "-q", "v1")
    assert history.git("checkout", "-q", "main").stderr == ""


def test_beside_a_hook_of_the_user_and_with_manifests_left(history: GitRepo) -> None:
    hook = history.path / ".git" / "hooks" / "post-checkout"
    hook.write_text('#!/bin/sh\necho "$3" >> ../ran\n')
    history.theta("install")
    assert history.git("checkout", "-q", "v0", GIT_THETA_SKIP_SMUDGE="1").stderr == ""
    assert (history.path.parent / "ran").read_text() == "1\n"
