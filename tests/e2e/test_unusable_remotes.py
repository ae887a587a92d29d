"""Remotes that have no objects, or cannot be asked: bundles, folders that have moved, other protocols."""

from __future__ import annotations

import re
import shutil

import pytest
from git_repo import GitRepo, digest, version

MODEL = "model.safetensors"
SOMEWHERE = "/folder/of/a/clone"


def clone_from(repo: GitRepo, source: str) -> tuple[GitRepo, str]:
    """A clone, which fails half-way, and what it says."""
    folder = repo.path.parent / "clone"
    return GitRepo(folder), repo.refused("git", "clone", "-q", source, str(folder))


def check(clone: GitRepo) -> None:
    assert clone.digest(MODEL) == digest(version(1))
    assert clone.status() == []
    clone.git("checkout", "-q", "v0")
    assert clone.digest(MODEL) == digest(version(0))


@pytest.mark.parametrize("name", ["all.bundle", "all"])
def test_clone_from_a_bundle(history: GitRepo, name: str) -> None:
    history.git("bundle", "create", "-q", "../all.bundle", "--all")
    clone, said = clone_from(history, f"../{name}")
    assert "all.bundle is a bundle: it has Git's objects, but none of git-theta's" in said
    command = next(line for line in said.splitlines() if "then type: " in line).partition("then type: ")[2]
    assert f"git remote set-url origin {SOMEWHERE}; git theta fetch origin " in command
    history.remedy(said, command, put={SOMEWHERE: str(history.path)})
    check(clone)


def test_fetch_from_a_bundle(history: GitRepo, pushed: GitRepo) -> None:
    clone = pushed.clone("clone")
    history.git("switch", "-q", "-c", "side")
    history.write(MODEL, version(0) + b"")
    history.write("more.safetensors", version(0).replace(b"bias", b"bais"))
    history.commit("more")
    history.git("bundle", "create", "-q", "../side.bundle", "side")
    clone.git("pull", "-q", "../side.bundle", "side", check=False)
    said = clone.refused("git", "checkout", "-f", "FETCH_HEAD")
    assert "side.bundle is a bundle" in said
    assert f"git remote add objects {SOMEWHERE}; git theta fetch objects " in said
    clone.follow(said, "to go back")
    clone.remedy(said, f"git remote add objects {SOMEWHERE}", put={SOMEWHERE: str(history.path)})
    clone.git("checkout", "-q", "FETCH_HEAD")
    assert clone.digest("more.safetensors") == history.digest("more.safetensors")


@pytest.fixture
def skipped(pushed: GitRepo) -> GitRepo:
    """A clone without objects."""
    return pushed.clone("clone", "-c", "theta.skipSmudge=true")


@pytest.mark.parametrize("how", ["moved", "deleted", "file", "empty folder"])
def test_remote_that_is_gone(skipped: GitRepo, pushed: GitRepo, how: str) -> None:
    pushed.path.rename(pushed.path.parent / "moved.git")
    if how == "file":
        pushed.path.write_text("no repository")
    if how == "empty folder":
        pushed.path.mkdir()
    moved = str(pushed.path.parent / "moved.git")
    said = skipped.refused("git", "theta", "pull")
    assert f"there is no repository at {pushed.path}" in said
    skipped.remedy(
        said, f"git remote set-url origin {SOMEWHERE}; git theta fetch origin --all", put={SOMEWHERE: moved}
    )
    skipped.theta("pull")
    skipped.git("config", "--unset", "theta.skipSmudge")
    check(skipped)


def test_checkout_while_the_remote_is_gone(skipped: GitRepo, pushed: GitRepo) -> None:
    skipped.git("config", "--unset", "theta.skipSmudge")
    moved = pushed.path.rename(pushed.path.parent / "moved.git")
    said = skipped.refused("git", "checkout", "v0")
    skipped.follow(said, "to go back")
    target = skipped.head("v0")[:12]
    command = f"git remote set-url origin {SOMEWHERE}; git theta fetch origin {target}; git checkout v0"
    skipped.remedy(said, command, put={SOMEWHERE: str(moved)})
    assert skipped.digest(MODEL) == digest(version(0))


@pytest.mark.parametrize("url", ["https://example.invalid/m.git", "ssh://example.invalid/m", "host:m.git"])
def test_remote_behind_another_protocol(skipped: GitRepo, pushed: GitRepo, url: str) -> None:
    """Git goes on with it; only the objects come from a folder."""
    skipped.git("remote", "set-url", "origin", url)
    said = skipped.refused("git", "theta", "pull")
    assert f"git-theta cannot bring objects to or from {url} yet" in said
    skipped.remedy(
        said,
        f"git remote add objects {SOMEWHERE}; git theta fetch objects --all",
        put={SOMEWHERE: str(pushed.path)},
    )
    skipped.theta("pull")
    skipped.git("config", "--unset", "theta.skipSmudge")
    check(skipped)
    assert skipped.git("remote", "get-url", "origin").stdout.strip() == url


def test_name_for_the_other_remote_is_free(skipped: GitRepo, pushed: GitRepo) -> None:
    for name in ("origin", "objects"):
        skipped.git("config", f"remote.{name}.url", "https://example.invalid/m.git")
    said = skipped.refused("git", "theta", "pull")
    skipped.remedy(
        said,
        f"git remote add objects2 {SOMEWHERE}; git theta fetch objects2 --all",
        put={SOMEWHERE: str(pushed.path)},
    )


@pytest.mark.parametrize("how", ["empty", "without theta"])
def test_remote_without_objects(history: GitRepo, skipped: GitRepo, pushed: GitRepo, how: str) -> None:
    shutil.rmtree(pushed.path if how == "empty" else pushed.path / "theta")
    if how == "empty":
        pushed.path.mkdir()
        pushed.git("init", "-q", "--bare")
    said = skipped.refused("git", "theta", "pull")
    assert "origin does not have it" in said
    history.remedy(said, f"git theta push --all {pushed.path}")
    skipped.remedy(said, "git theta fetch")
    skipped.theta("pull")
    assert skipped.digest(MODEL) == digest(version(1))


def test_no_remote_at_all(history: GitRepo, skipped: GitRepo) -> None:
    skipped.git("remote", "remove", "origin")
    said = skipped.refused("git", "theta", "pull")
    assert "no remote is configured" in said
    skipped.remedy(
        said,
        f"git remote add objects {SOMEWHERE}; git theta fetch objects --all",
        put={SOMEWHERE: str(history.path)},
    )
    skipped.theta("pull")
    assert skipped.digest(MODEL) == digest(version(1))


def test_fetch_of_revisions_that_the_remote_lacks(
    history: GitRepo, skipped: GitRepo, pushed: GitRepo
) -> None:
    shutil.rmtree(pushed.path / "theta")
    said = skipped.refused("git", "theta", "fetch", "origin", "v0")
    history.remedy(said, f"git theta push --all {pushed.path}")
    skipped.remedy(said, "git theta fetch origin v0")


def test_fetch_from_a_place_that_is_none(history: GitRepo, skipped: GitRepo) -> None:
    said = skipped.refused("git", "theta", "fetch", "../nowhere")
    assert "there is no repository at" in said
    skipped.remedy(
        said,
        f"git remote add objects {SOMEWHERE}; git theta fetch objects --all",
        put={SOMEWHERE: str(history.path)},
    )


def test_remotes_of_other_names(pushed: GitRepo) -> None:
    clone = pushed.clone("one", "-c", "clone.defaultRemoteName=up", "-c", "remote.aaa.url=../gone")
    assert clone.digest(MODEL) == digest(version(1))
    clone.git("checkout", "-q", "v0")
    pushed.git("config", "--global", "clone.defaultRemoteName", "upstream")
    other = pushed.clone("two", "--reference", str(clone.path), "--dissociate")
    check(other)


@pytest.mark.parametrize("urls", ["lost", "one|lost", "one|lost (1)+[a].git"])
@pytest.mark.parametrize("kind", ["pushurl", "url"])
def test_push_url_where_nothing_is(history: GitRepo, pushed: GitRepo, urls: str, kind: str) -> None:
    """That url is mended, and no other."""
    folder = history.path.parent
    for name in ("new.git", "one", "more.git"):
        history.git("init", "-q", "--bare", f"../{name}")
    places = [str(folder / name) for name in urls.split("|")]
    history.git("config", "--unset-all", f"remote.origin.{kind}", check=False)
    for place in places:
        history.git("config", "--add", f"remote.origin.{kind}", place)
    new, lost = str(folder / "new.git"), next(place for place in places if "/lost" in place)
    said = history.refused("git", "theta", "push")
    option = "--push " if kind == "pushurl" else ""
    escaped = re.sub(r"[][.+()]", r"\\\g<0>", lost)
    old = "" if len(places) == 1 else f" '^{escaped}$'"
    history.remedy(said, f"git remote set-url {option}origin {SOMEWHERE}{old}", put={SOMEWHERE: new})
    now = [new if place == lost else place for place in places]
    assert history.git("config", "--get-all", f"remote.origin.{kind}").stdout.splitlines() == now
    history.theta("push")
    history.git("push", "-q", "origin", "main")
    clone = GitRepo(folder / "clone")
    history.git("clone", "-q", new, str(clone.path))
    assert clone.digest(MODEL) == digest(version(1))


def test_push_to_a_typed_url_where_nothing_is(history: GitRepo, pushed: GitRepo) -> None:
    said = history.refused("git", "theta", "push", str(history.path.parent / "lost"))
    assert f"git remote add objects {SOMEWHERE}" in said
