"""`git theta install --server`: refs whose objects did not come along are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

REFUSED = "that these checkpoints need"


@pytest.fixture
def server(history: GitRepo) -> GitRepo:
    bare = history.add_remote("origin")
    bare.theta("install", "--server")
    return bare


def unchecked(repo: GitRepo, *arguments: str, **environment: str) -> str:
    """Push without hooks to a server that refuses; what it says, without git's prefix."""
    done = repo.git("push", "--no-verify", *arguments, check=False, **environment)
    assert done.returncode != 0, done.stderr
    lines = [line.removeprefix("remote: ").rstrip() for line in done.stderr.splitlines()]
    return "\n".join(lines).replace("hint: ", "  ")


def refs(server: GitRepo) -> list[str]:
    return server.git("for-each-ref", "--format=%(refname)").stdout.split()


def test_a_push_without_objects_is_refused(history: GitRepo, server: GitRepo) -> None:
    said = unchecked(history, "origin", "main", "v0")
    assert REFUSED in said
    assert f"refs/heads/main, commit {history.head()[:7]}, model.safetensors: tensors bias, layer." in said
    assert refs(server) == []
    history.remedy(said, "git theta push --all")
    history.git("push", "-q", "--no-verify", "origin", "main", "v0")
    clone = server.clone("clone")
    assert clone.digest("model.safetensors") == digest(version(1))
    clone.git("checkout", "-q", "v0")
    assert clone.digest("model.safetensors") == digest(version(0))


def test_pushes_with_objects_go_on(history: GitRepo, server: GitRepo) -> None:
    history.git("push", "-q", "-u", "origin", "main", "--tags")
    history.git("tag", "-a", "-m", "annotated", "v2")
    history.git("push", "-q", "--no-verify", "origin", "v2", "main:same", "v0:refs/heads/older")
    history.git("push", "-q", "--no-verify", "origin", "+v0:refs/heads/main")
    history.git("push", "-q", "--no-verify", "origin", ":same", ":refs/tags/v0")
    assert refs(server) == ["refs/heads/main", "refs/heads/older", "refs/tags/v1", "refs/tags/v2"]


def test_only_new_commits_are_looked_at(history: GitRepo, server: GitRepo) -> None:
    history.git("push", "-q", "origin", "main")
    (lost, *_) = server.objects()
    lost.unlink()
    history.write("notes.txt", "changed")
    history.commit()
    history.git("push", "-q", "--no-verify", "origin", "main", "v0:refs/heads/again")


@pytest.mark.parametrize("refspec", ["+HEAD:refs/heads/main", "HEAD:refs/heads/new", "HEAD:refs/tags/t"])
def test_what_only_a_commit_in_between_or_a_merge_needs(
    history: GitRepo, server: GitRepo, refspec: str
) -> None:
    history.git("push", "-q", "origin", "main")
    history.git("checkout", "-q", "--detach", "v0")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "bias", seed=7)))
    lacking = history.commit("lacking")[:7]
    history.git("checkout", "-q", "v0", "--", "model.safetensors")
    history.commit("and back")
    said = unchecked(history, "origin", refspec)
    assert f"{refspec.rpartition(':')[2]}, commit {lacking}, model.safetensors: tensors bias" in said
    assert "1 object" in said


def test_a_manifest_that_a_merge_brings(history: GitRepo, server: GitRepo) -> None:
    history.git("push", "-q", "origin", "main")
    history.git("checkout", "-q", "-b", "side", "v0")
    history.write("side.txt", "x")
    history.commit()
    history.git("merge", "-q", "--no-commit", "main")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "bias", seed=8)))
    history.git("add", "-A")
    history.git("commit", "-q", "-m", "merged by hand")
    assert f"refs/heads/side, commit {history.head()[:7]}, model.safetensors" in unchecked(
        history, "origin", "side"
    )


def test_replaced_history_of_the_server_counts_for_nothing(history: GitRepo, server: GitRepo) -> None:
    history.write("model.safetensors", safetensors_bytes(weights(5)))
    tip = history.commit("trained anew")
    history.git("replace", "--graft", tip)
    server.git("fetch", "-q", str(history.path), "refs/replace/*:refs/replace/*")
    history.git("replace", "-d", tip)
    history.theta("push", "origin")
    assert server.objects()
    old = history.blob("v0:model.safetensors").decode()
    for path in server.objects():
        if path.name in old:
            path.unlink()
    said = unchecked(history, "origin", "main")
    assert f"commit {history.head('v1')[:7]}, model.safetensors: tensors " in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'{"git-theta":2', b'{"git-theta":99', "pip install -U git-theta"),
        (b'"skeleton"', b'"skeletal"', "line"),
    ],
)
def test_manifests_that_cannot_be_read(
    history: GitRepo, server: GitRepo, old: bytes, new: bytes, words: str
) -> None:
    history.git("push", "-q", "origin", "main")
    text = history.blob("HEAD:model.safetensors").replace(old, new)
    history.stage(text, "model.safetensors")
    tree = history.git("write-tree").stdout.strip()
    commit = history.git("commit-tree", "-p", "HEAD", "-m", "damaged", tree).stdout.strip()
    said = unchecked(history, "origin", f"{commit}:refs/heads/bad")
    assert "cannot be read here" in said
    assert f"refs/heads/bad, commit {commit[:7]}, model.safetensors" in said
    assert words in said
    assert refs(server) == ["refs/heads/main"]


def test_a_server_that_cannot_check_refuses(history: GitRepo, server: GitRepo, tmp_path: Path) -> None:
    said = unchecked(history, "origin", "main", PATH="/usr/bin:/bin")
    assert "git-theta is not on the PATH of the server" in said
    assert refs(server) == []


def test_a_hook_that_was_there_runs_first_and_comes_back(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    hook = bare.path / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\ncat > received\n")
    hook.chmod(0o755)
    before = hook.read_bytes()
    assert "pre-receive" in bare.theta("install", "--server").stdout
    assert bare.theta("install", "--server").returncode == 0
    unchecked(history, "origin", "main")
    assert (bare.path / "received").read_text() == f"{'0' * 40} {history.head()} refs/heads/main\n"
    hook.with_name("pre-receive.theta-chained").write_text("#!/bin/sh\nexit 1\n")
    assert history.git("push", "origin", "main", check=False).returncode != 0
    hook.with_name("pre-receive.theta-chained").write_bytes(before)
    bare.theta("uninstall", "--server")
    assert hook.read_bytes() == before
    assert os.access(hook, os.X_OK)
    history.git("push", "-q", "--no-verify", "origin", "main")


def test_doctor_and_uninstall(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    said = bare.theta("doctor").stdout
    assert "not checked for objects" in said
    bare.remedy(said, "git theta install --server")
    assert "are refused (pre-receive)" in bare.theta("doctor").stdout
    bare.theta("uninstall")
    assert not (bare.path / "hooks" / "pre-receive").exists()
    assert bare.theta("install", "--server", "--force", check=False).returncode == 2


def test_a_repository_with_a_work_tree_can_check_too(history: GitRepo) -> None:
    plain = history.clone("plain", "-n")
    plain.git("checkout", "-q", "--detach", "v0")
    plain.theta("install", "--server")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "bias", seed=9)))
    history.commit()
    assert REFUSED in unchecked(history, str(plain.path), "main:other")
    history.git("push", "-q", str(plain.path), "main:other")


def test_hooks_under_version_control_are_not_written(history: GitRepo) -> None:
    (history.path / "githooks").mkdir()
    history.git("config", "core.hooksPath", "githooks")
    done = history.theta("install", "--server", check=False)
    assert done.returncode == 1
    command = f"git config --local core.hooksPath {history.path / '.git' / 'hooks'}"
    assert command in done.stderr
    history.run("sh", "-ec", command)
    history.theta("install", "--server")
    assert (history.path / ".git" / "hooks" / "pre-receive").exists()
    assert not any((history.path / "githooks").iterdir())


def test_a_job_for_other_servers(history: GitRepo) -> None:
    """A clone without checkpoints, which asks the server what it has and downloads nothing."""
    bare = history.add_remote("origin")
    history.git("push", "-q", "--no-verify", "origin", "main")
    job = GitRepo(history.path.parent / "job")
    history.git("clone", "-q", str(bare.path), "../job", GIT_THETA_SKIP_SMUDGE="1")
    done = job.theta("fsck", "--fast", check=False)
    assert done.returncode == 1
    assert "model.safetensors" in done.stdout + done.stderr
    history.theta("push", "--all")
    assert "all is well" in job.theta("fsck", "--fast").stdout
    assert job.objects() == []
