"""What a remote has is what it was asked, wherever a push goes, and never what this repository's refs say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, version, weights
from stores import restorable

from git_theta.manifest import find_objects, is_manifest

NEW = safetensors_bytes(changed(weights(0), "bias", seed=9))
PUSHES: list[tuple[str, ...]] = [("push", "-q"), ("theta", "push"), ("theta", "push", "--all")]


def bare_beside(repo: GitRepo, name: str) -> GitRepo:
    bare = GitRepo(repo.path.parent / name)
    bare.path.mkdir()
    bare.git("init", "-q", "--bare")
    return bare


def lacking(bare: GitRepo, history: GitRepo) -> set[str]:
    """The objects of the history that a remote does not have."""
    return {path.name for path in history.objects()} - {path.name for path in bare.objects()}


def moved_server(repo: GitRepo) -> GitRepo:
    """origin is another server now; the tracking branches are those of the old one."""
    bare = bare_beside(repo, "new.git")
    repo.git("remote", "set-url", "origin", str(bare.path))
    return bare


def second_push_url(repo: GitRepo) -> GitRepo:
    bare = bare_beside(repo, "second.git")
    first = repo.git("remote", "get-url", "origin").stdout.strip()
    for url in (first, str(bare.path)):
        repo.git("remote", "set-url", "--add", "--push", "origin", url)
    return bare


def triangular_push_url(repo: GitRepo) -> GitRepo:
    bare = bare_beside(repo, "fork.git")
    repo.git("remote", "set-url", "--push", "origin", str(bare.path))
    return bare


def push_instead_of(repo: GitRepo) -> GitRepo:
    bare = bare_beside(repo, "mirror.git")
    url = repo.git("remote", "get-url", "origin").stdout.strip()
    repo.git("config", f"url.{bare.path}.pushInsteadOf", url)
    return bare


def push_remote(repo: GitRepo) -> GitRepo:
    bare = repo.add_remote("fork")
    repo.git("config", "branch.main.pushRemote", "fork")
    repo.git("update-ref", "refs/remotes/fork/main", "main")  # as after a push without hooks
    return bare


def remote_of_all_repositories(repo: GitRepo) -> GitRepo:
    bare = bare_beside(repo, "global.git")
    repo.git("config", "--global", "remote.everywhere.url", str(bare.path))
    repo.git("config", "remote.pushDefault", "everywhere")
    return bare


def restored_backup(repo: GitRepo) -> GitRepo:
    """The server has its refs again, but not its folder of objects."""
    bare = GitRepo(Path(repo.git("remote", "get-url", "origin").stdout.strip()))
    (bare.path / "theta").rename(bare.path.with_name("lost"))
    return bare


def pushed_without_hooks(repo: GitRepo) -> GitRepo:
    bare = repo.add_remote("other")
    repo.git("push", "-q", "--no-verify", "other", "main", "--tags")
    repo.git("config", "remote.pushDefault", "other")
    return bare


SITUATIONS = [
    moved_server,
    second_push_url,
    triangular_push_url,
    push_instead_of,
    push_remote,
    remote_of_all_repositories,
    restored_backup,
    pushed_without_hooks,
]


@pytest.mark.parametrize("push", PUSHES, ids=" ".join)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_object_gets_there(
    history: GitRepo, pushed: GitRepo, situation: Callable[[GitRepo], GitRepo], push: tuple[str, ...]
) -> None:
    bare = situation(history)
    history.git(*push)
    assert lacking(bare, history) == set()
    history.write("notes.txt", "more")
    history.commit("no model changes")
    history.git("push", "-q", "--no-verify", str(bare.path), "main", "--tags")
    assert restorable(bare, "v0", "main") == [version(0), version(1)]


def test_push_url_in_place_of_a_name(history: GitRepo) -> None:
    bare = bare_beside(history, "mirror.git")
    history.git("config", f"url.{bare.path}.pushInsteadOf", "hub:model")
    history.theta("push", "hub:model")
    assert lacking(bare, history) == set()
    assert "all objects already" in history.theta("push", "hub:model").stdout


def test_one_push_url_of_two_fails_the_other_is_served(history: GitRepo, pushed: GitRepo) -> None:
    bare = second_push_url(history)
    (pushed.path / "theta").rename(pushed.path / "away")
    (pushed.path / "theta").write_text("no folder can be here")
    done = history.theta("push", "origin", check=False)
    assert done.returncode == 1
    assert "cannot write to" in done.stderr
    assert lacking(bare, history) == set()


@pytest.mark.parametrize(
    "refspecs",
    [
        ("HEAD~1:refs/heads/x",),
        ("v0",),
        ("deep",),
        ("refs/notes/*",),
        ("--all",),
        ("--mirror",),
        ("--force", "v0:refs/heads/main"),
        (":refs/heads/gone", "v0:refs/heads/x"),
        ("refs/stash:refs/heads/stash",),
    ],
    ids=" ".join,
)
def test_whatever_is_pushed(history: GitRepo, pushed: GitRepo, refspecs: tuple[str, ...]) -> None:
    history.git("push", "-q", "origin", "main:gone")
    history.git("tag", "-a", "-m", "tag", "shallow", "v0")
    history.git("tag", "-a", "-m", "tag of a tag", "deep", "shallow")
    kept = history.hash_object(history.blob("v0:model.safetensors"))
    history.git("notes", "add", "-C", kept, "HEAD")  # a manifest as a note
    history.write("model.safetensors", NEW)
    history.git("stash", "-q")
    bare = moved_server(history)
    options = [word for word in refspecs if word.startswith("--")]
    specs = [word for word in refspecs if not word.startswith("--")]
    history.git("push", "-q", "--no-verify", "origin", "main:gone")
    history.git("push", "-q", *options, "origin", *specs)
    for ref in bare.git("for-each-ref", "--format=%(refname)").stdout.split():
        if ref != "refs/heads/gone":
            assert needs(bare, ref) <= {path.name for path in bare.objects()}, ref


def needs(bare: GitRepo, ref: str) -> set[str]:
    """The objects that the manifests of a ref's history name."""
    listed = bare.git("rev-list", "--objects", ref).stdout.split("\n")
    found: set[str] = set()
    for oid in {line.split(" ")[0] for line in listed if line}:
        if bare.git("cat-file", "-t", oid).stdout.strip() == "blob":
            text = bare.blob(oid)
            if is_manifest(text):
                found |= find_objects(text).keys()
    assert found
    return found


def test_push_from_a_shallow_clone(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("shallow", "--depth=1", source=f"file://{pushed.path}")
    clone.write("model.safetensors", NEW)
    clone.commit("tuned")
    (pushed.path / "theta").rename(pushed.path / "away")
    clone.git("push", "-q", "origin", "HEAD:refs/heads/work")
    assert restorable(pushed, "work") == [NEW]


def test_push_from_a_partial_clone(history: GitRepo, pushed: GitRepo) -> None:
    pushed.git("config", "uploadpack.allowFilter", "true")
    pushed.git("config", "uploadpack.allowAnySHA1InWant", "true")
    clone = history.clone("partial", "--filter=blob:none", source=f"file://{pushed.path}")
    absent = clone.git("rev-list", "--objects", "--missing=print", "HEAD").stdout.count("\n?")
    assert absent
    clone.write("model.safetensors", NEW)
    clone.commit("tuned")
    clone.git("push", "-q", "origin", "HEAD:refs/heads/work")
    assert clone.git("rev-list", "--objects", "--missing=print", "HEAD").stdout.count("\n?") == absent
    assert restorable(pushed, "work") == [NEW]
    backup = clone.add_remote("backup")  # has nothing, so that all is needed there
    clone.git("push", "-q", "backup", "HEAD:refs/heads/work")
    pushed.path.rename(pushed.path.with_name("gone"))
    assert restorable(backup, "work", "work~1", "work~2") == [NEW, version(1), version(0)]


def test_push_from_a_linked_work_tree_to_a_moved_server(history: GitRepo, pushed: GitRepo) -> None:
    bare = moved_server(history)
    history.git("worktree", "add", "-q", "../tree")
    GitRepo(history.path.parent / "tree").git("push", "-q", "origin", "tree")
    assert restorable(bare, "tree", "tree~1") == [version(1), version(0)]


def test_code_is_read_once_only(history: GitRepo, pushed: GitRepo) -> None:
    """What is no manifest is remembered; a manifest that could not be read is not taken for none."""
    history.write("code.py", "print()\n" * 100)
    history.commit("code")
    manifest = history.head("v0:model.safetensors")
    loose = history.path / ".git" / "objects" / manifest[:2] / manifest[2:]
    kept = loose.read_bytes()
    loose.chmod(0o644)
    loose.write_bytes(b"damaged")
    bare = moved_server(history)
    assert f"cannot read the blob {manifest}" in history.theta("push", check=False).stderr
    loose.write_bytes(kept)
    history.theta("push")
    assert lacking(bare, history) == set()
