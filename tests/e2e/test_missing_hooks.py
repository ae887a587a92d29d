"""Where nothing has installed git-theta's hooks yet: mirrors, sleeping clones, clones made before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

WARNING = "this repository has no hooks of git-theta: git push would leave data behind"


def hooks(repo: GitRepo) -> set[str]:
    """The names of git-theta's hooks."""
    folder = repo.path / repo.git("rev-parse", "--git-path", "hooks").stdout.strip()
    return {path.name for path in folder.iterdir() if b"# git-theta hook" in path.read_bytes()}


def bare(beside: GitRepo, name: str) -> GitRepo:
    repo = GitRepo(beside.path.parent / name)
    beside.git("init", "-q", "--bare", str(repo.path))
    return repo


def unclean(pushed: GitRepo, history: GitRepo) -> GitRepo:
    """A clone made before git-theta was installed: no hooks, and the filters have just come."""
    return history.clone("old", "--template=", source=str(pushed.path))


def branched(plain: GitRepo) -> GitRepo:
    """A server whose main has no checkpoints, and whose branch `feature` has one in a folder."""
    plain.git("commit", "-q", "--allow-empty", "-m", "nothing yet")
    plain.git("checkout", "-q", "-b", "feature")
    (plain.path / "models").mkdir()
    plain.theta("track", "models/*.safetensors")
    plain.write("models/m.safetensors", version(0))
    plain.commit()
    server = plain.add_remote("origin")
    plain.git("push", "-q", "origin", "main", "feature")
    return server


@pytest.mark.parametrize("option", ["--mirror", "--bare"])
def test_a_mirror_takes_objects_along(history: GitRepo, pushed: GitRepo, option: str) -> None:
    mirror = history.clone("mirror.git", option, source=str(pushed.path))
    backup = bare(history, "backup.git")
    mirror.git("push", "-q", "--mirror", str(backup.path))
    shutil.rmtree(pushed.path)
    shutil.rmtree(mirror.path)
    clone = backup.clone("clone")
    assert clone.digest("model.safetensors") == digest(version(1))
    clone.git("checkout", "-q", "v0")
    assert clone.digest("model.safetensors") == digest(version(0))


def test_a_mirror_whose_history_alone_has_checkpoints(history: GitRepo, pushed: GitRepo) -> None:
    history.git("rm", "-q", "model.safetensors", ".gitattributes")
    history.git("commit", "-q", "-m", "no model any more")
    history.git("push", "-q", "origin", "main")
    mirror = history.clone("mirror.git", "--mirror", source=str(pushed.path))
    backup = bare(history, "backup.git")
    mirror.git("push", "-q", str(backup.path), "main")
    assert len(backup.objects()) == len(pushed.objects()) > 0


def test_a_mirror_without_checkpoints_is_left_alone(installed: Path, plain: GitRepo, tmp_path: Path) -> None:
    plain.write("notes.txt", "filter=theta is only mentioned here")
    plain.write(".gitattributes", "*.txt text")
    plain.commit()
    mirror, backup = plain.clone("mirror.git", "--mirror"), bare(plain, "backup.git")
    (tmp_path / "bin").mkdir()
    marker = tmp_path / "started"
    fake = tmp_path / "bin" / "git-theta"
    fake.write_text(f"#!/bin/sh\ntouch {marker}\n")
    fake.chmod(0o755)
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    for arguments in (["--mirror"], ["main:other"], [":other"]):
        where = ["--mirror"] if arguments == ["--mirror"] else []
        refs = [] if where else arguments
        done = mirror.git("push", "-q", *where, str(backup.path), *refs, PATH=path)
        assert done.stdout + done.stderr == ""
    assert not marker.exists()


def test_a_mirror_without_git_theta_on_the_path_is_refused(history: GitRepo, pushed: GitRepo) -> None:
    mirror = history.clone("mirror.git", "--mirror", source=str(pushed.path))
    backup = bare(history, "backup.git")
    done = mirror.git("push", "--mirror", str(backup.path), check=False, PATH="/usr/bin:/bin")
    assert done.returncode != 0
    assert "pip install git-theta" in done.stderr
    assert backup.git("for-each-ref").stdout == ""


def test_a_branch_with_checkpoints_wakes_the_hooks(installed: Path, plain: GitRepo) -> None:
    server = branched(plain)
    clone = plain.clone("clone", source=str(server.path))
    assert hooks(clone) == {"post-checkout", "post-index-change", "pre-push"}
    assert clone.git("checkout", "-q", "feature").stderr == ""
    assert "pre-commit" in hooks(clone)
    assert "post-index-change" not in hooks(clone)
    clone.write("models/m.safetensors", safetensors_bytes(changed(weights(0), "bias")))
    clone.commit()
    backup = bare(plain, "backup.git")
    clone.git("push", "-q", str(backup.path), "feature")
    again = backup.clone("again", "-b", "feature")
    assert again.digest("models/m.safetensors") == clone.digest("models/m.safetensors")


@pytest.mark.parametrize("options", [(), ("-n",), ("--sparse",)])
def test_a_branch_that_was_never_checked_out(installed: Path, plain: GitRepo, options: Sequence[str]) -> None:
    server = branched(plain)
    clone = plain.clone("clone", *options, source=str(server.path))
    backup = bare(plain, "backup.git")
    clone.git("push", "-q", str(backup.path), "origin/feature:refs/heads/feature")
    assert len(backup.objects()) == len(server.objects()) > 0


def test_a_branch_that_was_fetched_later(installed: Path, plain: GitRepo) -> None:
    plain.write("notes.txt", "x")
    plain.commit()
    clone = plain.clone("clone")
    server = branched(plain)
    clone.git("fetch", "-q", str(server.path), "feature")
    backup = bare(plain, "backup.git")
    clone.git("push", "-q", str(backup.path), "FETCH_HEAD:refs/heads/feature")
    assert len(backup.objects()) == len(server.objects()) > 0


@pytest.mark.parametrize("environment", [{}, {"GIT_THETA_SKIP_SMUDGE": "1"}])
def test_work_trees_of_a_bare_clone(history: GitRepo, pushed: GitRepo, environment: dict[str, str]) -> None:
    shared = history.clone("shared.git", "--bare", source=str(pushed.path))
    shared.git("worktree", "add", "-q", "../tree", "main", **environment)
    assert "pre-commit" in hooks(shared)
    tree = GitRepo(history.path.parent / "tree")
    tree.write("model.safetensors", version(0)[:-4] + b"more")
    tree.git("commit", "-q", "-am", "new data")
    tree.git("push", "-q", "origin", "main")
    assert pushed.clone("again").digest("model.safetensors") == tree.digest("model.safetensors")


def test_other_tools_replace_sleeping_hooks_without_a_word(installed: Path, plain: GitRepo) -> None:
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    done = plain.git("init", "-q")  # copies what of the template is not there yet
    assert hooks(plain) == {"post-checkout", "post-index-change", "pre-push"}
    done = plain.git("lfs", "install")
    assert "already exists" not in done.stdout + done.stderr
    assert hooks(plain) == {"post-index-change"}
    plain.git("lfs", "track", "*.bin")
    plain.write("data.bin", b"\0binary" * 1000)
    plain.commit()
    server = plain.add_remote("origin")
    plain.git("push", "-q", "-u", "origin", "main")
    clone = GitRepo(plain.path.parent / "clone")
    said = plain.git("clone", str(server.path), str(clone.path)).stderr
    assert said.splitlines() == [f"Cloning into '{clone.path}'...", "done."]
    assert hooks(clone) == {"post-index-change"}
    plain.theta("track", "*.safetensors")
    plain.write("model.safetensors", version(0))
    plain.commit()
    plain.git("push", "-q", "origin", "main")
    again = server.clone("again")
    assert again.digest("model.safetensors") == digest(version(0))
    assert again.digest("data.bin") == digest(b"\0binary" * 1000)


def test_pre_commit_replaces_sleeping_hooks(installed: Path, plain: GitRepo) -> None:
    if shutil.which("pre-commit") is None:
        pytest.skip("pre-commit is not installed")
    plain.git("init", "-q")
    plain.write(".pre-commit-config.yaml", "repos: []\n")
    said = plain.run("pre-commit", "install", "-t", "pre-push", "-t", "post-checkout").stdout
    assert "migration" not in said
    assert not list((plain.path / ".git" / "hooks").glob("*.legacy"))


def test_clones_made_before_are_warned_once_a_command(history: GitRepo, pushed: GitRepo) -> None:
    history.git("checkout", "-q", "-b", "other", "v0")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "bias", "layer.0.weight")))
    history.write("second.safetensors", version(0))
    history.commit()
    history.git("push", "-q", "origin", "other")
    done = history.git("clone", "--template=", str(pushed.path), "../old")
    assert done.stderr.count(WARNING) == 1
    old = GitRepo(history.path.parent / "old")
    loud = (
        ["checkout", "-q", "v0"],
        ["checkout", "-q", "main"],
        ["merge", "origin/other"],
        ["reset", "-q", "--hard", "v0"],
        ["stash", "list"],
    )
    counts = []
    for command in loud:
        # Else git would clean it again: a merge also in the `git stash create` that it starts.
        os.utime(old.path / "model.safetensors", (1, 1))
        old.git("update-index", "-q", "--refresh")
        counts.append(old.git(*command, check=False).stderr.count(WARNING))
    assert counts == [1, 1, 1, 1, 0]
    for looking in (["status"], ["diff", "v1"], ["log", "-p", "-1"], ["show"], ["diff", "--stat", "v1"]):
        assert WARNING not in old.git(*looking).stderr, looking
    said = old.theta("status", check=False).stdout
    assert said.count(WARNING) == 1
    old.remedy(said, "git theta install")
    assert WARNING not in old.theta("status").stdout
    assert WARNING not in old.git("checkout", "-q", "main").stderr
    old.write("model.safetensors", version(0)[:-4] + b"more")
    old.git("commit", "-q", "-am", "new data")
    old.git("push", "-q", "origin", "HEAD:refs/heads/from-old")
    again = pushed.clone("again", "-b", "from-old")
    assert again.digest("model.safetensors") == old.digest("model.safetensors")


def test_git_theta_push_says_so_and_installs_them(history: GitRepo, pushed: GitRepo) -> None:
    old = unclean(pushed, history)
    said = old.theta("push").stdout
    assert f"{WARNING}; it has them now" in said
    assert "pre-push" in hooks(old)
    assert WARNING not in old.theta("push").stdout
    mirror = history.clone("mirror.git", "--mirror", "--template=", source=str(pushed.path))
    assert WARNING in mirror.theta("push", "--all", str(pushed.path)).stdout
    assert "pre-push" in hooks(mirror)
    disabled = history.clone(
        "disabled", "--template=", "-c", "core.hooksPath=/dev/null", source=str(pushed.path)
    )
    said = disabled.theta("push").stdout
    assert WARNING in said
    assert "it has them now" not in said


def test_a_clone_that_is_warned_while_it_is_made(history: GitRepo, pushed: GitRepo) -> None:
    said = history.git("clone", "-q", "--template=", str(pushed.path), "../old").stderr
    old = GitRepo(history.path.parent / "old")
    old.remedy(said, "git theta install")
    assert "pre-push" in hooks(old)
