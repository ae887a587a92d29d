"""What was fetched by url: the objects are at no configured remote, but where git was told to look."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

MODEL, NEW = "model.safetensors", "new.safetensors"
THEIRS = safetensors_bytes(changed(weights(0), "layer.2.weight"))


@pytest.fixture(scope="module")
def built(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """origin.git, a clone of it, and fork.git, whose branch `t` has two more commits."""
    folder = tmp_path_factory.mktemp("by-url")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(prepared / "home"))
        source = GitRepo(shutil.copytree(prepared / "history", folder / "source"))
        origin, fork = source.add_remote("origin"), source.add_remote("fork")
        source.git("push", "-q", "origin", "main")
        source.git("config", "theta.report", "false")
        source.git("switch", "-q", "-c", "t")
        source.write(MODEL, THEIRS)
        source.commit("t1")
        source.write(NEW, version(0))
        source.write("t.txt", "of t\n")
        source.commit("t2")
        source.git("push", "-q", "fork", "t")
        assert fork.objects()
        origin.clone("clone")
        shutil.rmtree(source.path)
    return folder


@pytest.fixture
def clone(built: Path, installed: Path, tmp_path: Path) -> GitRepo:
    for name in ("origin.git", "fork.git", "clone"):
        shutil.copytree(built / name, tmp_path / name)
    repo = GitRepo(tmp_path / "clone")
    repo.git("remote", "set-url", "origin", str(tmp_path / "origin.git"))
    repo.git("config", "theta.report", "false")
    repo.git("reset", "-q", "--hard")
    return repo


def check(repo: GitRepo, folder: str = "") -> None:
    assert repo.digest(folder + MODEL) == digest(THEIRS)
    assert repo.status() == []


@pytest.mark.parametrize(
    "commands",
    [
        "git pull -q --no-rebase ../fork.git t",
        "git pull -q --rebase ../fork t",
        "mkdir d; cd d; git pull -q --no-rebase ../fork.git t",
        'git pull -q --no-rebase "file://$(cd ../fork.git; pwd)" t',
        "git fetch -q ../fork.git t; git checkout -q FETCH_HEAD",
        "git fetch -q ../fork.git t; git checkout -q FETCH_HEAD; git checkout -q HEAD~1",
        "git fetch -q ../fork.git t:mine; git checkout -q mine",
        "git fetch -q ../fork.git '+refs/heads/*:refs/others/*'; git checkout -q refs/others/t",
        "git fetch -q --append ../fork.git t; git checkout -q $(git -C ../fork.git rev-parse t)",
        "git fetch -q ../fork.git t; git cherry-pick FETCH_HEAD~1 FETCH_HEAD",
        "git fetch -q ../fork.git t; git commit -q --allow-empty -m x; git merge -q --no-edit FETCH_HEAD",
        "git fetch -q ../fork.git t; git commit -q --allow-empty -m x; git theta merge FETCH_HEAD",
        "git fetch -q ../fork.git t; git commit -q --allow-empty -m x; git rebase -q FETCH_HEAD",
        "git fetch -q ../fork.git t; git merge -q --squash FETCH_HEAD; git commit -q -m x",
    ],
)
def test_it_simply_works(clone: GitRepo, commands: str) -> None:
    clone.run("sh", "-e", "-c", commands)
    check(clone)


@pytest.mark.parametrize(
    "commands",
    [
        "git subtree add -q --prefix=x ../fork.git t",
        "git subtree add -q --squash --prefix=x ../fork.git t",
        "git fetch -q ../fork.git t; git read-tree --prefix=x/ -u FETCH_HEAD; git commit -q -m x",
    ],
)
def test_subtrees(clone: GitRepo, commands: str) -> None:
    if "subtree" in commands and clone.git("subtree", "-h", check=False).returncode == 1:
        pytest.skip("git has no subtree")
    clone.git("rm", "-q", "-r", "--cached", ".")
    clone.git("reset", "-q", "--hard")
    clone.run("sh", "-e", "-c", commands)
    check(clone, "x/")


@pytest.mark.parametrize(
    "commands",
    [
        "git fetch -q ../fork.git t; git worktree add -q ../linked FETCH_HEAD",
        "git worktree add -q ../linked; cd ../linked; git fetch -q ../fork t; git reset --hard FETCH_HEAD",
        "git worktree add -q ../other; cd ../other; git fetch -q ../fork.git t; "
        "git worktree add -q ../linked FETCH_HEAD",
    ],
)
def test_linked_work_trees(clone: GitRepo, commands: str) -> None:
    clone.run("sh", "-e", "-c", commands)
    check(GitRepo(clone.path.parent / "linked"))


def test_submodule_has_its_own(clone: GitRepo) -> None:
    outer = GitRepo(clone.path.parent / "outer")
    outer.path.mkdir()
    outer.git("init", "-q")
    outer.git("submodule", "--quiet", "add", str(clone.path.parent / "origin.git"), "sub")
    sub = GitRepo(outer.path / "sub")
    sub.git("fetch", "-q", str(clone.path.parent / "fork.git"), "t")
    sub.git("checkout", "-q", "FETCH_HEAD")
    check(sub)


def test_what_is_kept_without_its_data_is_fetched_before_it_is_committed(clone: GitRepo) -> None:
    """The next git fetch overwrites what git knows of the url."""
    clone.git("fetch", "-q", "../fork.git", "t")
    clone.git("-c", "theta.skipSmudge=true", "cherry-pick", "FETCH_HEAD~1", "FETCH_HEAD")
    clone.git("fetch", "-q", "origin")
    shutil.rmtree(clone.path.parent / "fork.git")
    clone.git("push", "-q", "origin", "HEAD:new")
    assert clone.theta("pull").returncode == 0
    check(clone)


def test_where_pushes_go(clone: GitRepo) -> None:
    """A triangle: fetches come from origin, pushes go to the fork."""
    clone.git("remote", "set-url", "--push", "origin", str(clone.path.parent / "fork.git"))
    clone.git("fetch", "-q", "../fork.git", "t:mine")
    clone.git("fetch", "-q", "origin")
    clone.git("checkout", "-q", "mine")
    check(clone)


def test_push_instead_of(clone: GitRepo) -> None:
    clone.git("config", f"url.{clone.path.parent}/fork.pushInsteadOf", f"{clone.path.parent}/origin")
    clone.git("fetch", "-q", "../fork.git", "t:mine")
    clone.git("fetch", "-q", "origin")
    clone.git("checkout", "-q", "mine")
    check(clone)


def test_remote_of_a_branch_that_is_a_url(clone: GitRepo) -> None:
    clone.git("fetch", "-q", "../fork.git", "t:mine")
    clone.git("fetch", "-q", "origin")
    clone.git("config", "branch.main.remote", "../fork.git")
    clone.git("merge", "-q", "mine")
    check(clone)


def test_a_url_that_nobody_remembers(clone: GitRepo) -> None:
    clone.git("fetch", "-q", "../fork.git", "t:mine")
    clone.git("fetch", "-q", "origin")
    said = clone.refused("git", "checkout", "-q", "mine")
    target = clone.head("mine")[:12]
    fork = GitRepo(clone.path.parent / "fork.git")
    fork.remedy(said, f"git theta push --all {clone.path.parent / 'origin.git'}")
    clone.follow(said, "to go back")
    clone.remedy(said, f"git theta fetch origin {target}")
    clone.follow(said, "to try again")
    check(clone)


def test_the_place_is_told_where_it_has_lost_them(clone: GitRepo) -> None:
    fork = GitRepo(clone.path.parent / "fork.git")
    holder = fork.clone("holder.git", "--bare")
    holder.theta("fetch", "--all")
    shutil.rmtree(fork.path / "theta")
    clone.git("fetch", "-q", "../fork.git", "t")
    said = clone.refused("git", "checkout", "-q", "FETCH_HEAD")
    assert "origin does not have it; ../fork does not have it" in said
    holder.remedy(said, f"git theta push --all {fork.path}")
    clone.follow(said, "to go back")
    clone.follow(said, "to try again")
    check(clone)


def test_hostile_records_of_fetches(clone: GitRepo) -> None:
    """What stands there is not believed beyond what any url is."""
    (clone.path / ".git" / "FETCH_HEAD").write_bytes(
        b"\xff\xfe\n"
        + b"0" * 40
        + b"\t\tbranch 't' of ext::sh -c 'touch hacked'\n"
        + b"a" * 40
        + b"\t\t--upload-pack=x\n"
    )
    fork = clone.path.parent / "fork.git"
    clone.git("-c", "remote.fork.url=" + str(fork), "fetch", "-q", "--no-write-fetch-head", "fork", "t:mine")
    said = clone.refused("git", "checkout", "-q", "mine")
    assert "origin does not have it" in said
    assert not list(clone.path.rglob("hacked"))
