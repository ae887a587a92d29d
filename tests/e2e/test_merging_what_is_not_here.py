"""Merges, rebases and picks in a fresh clone, which has no objects of what they bring."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, weights

MODEL, OTHER, NEW = "model.safetensors", "other.safetensors", "new.safetensors"
OURS, THEIRS = changed(weights(0), "layer.1.weight", seed=3), changed(weights(0), "layer.2.weight")
MERGED = safetensors_bytes(OURS | {"layer.2.weight": THEIRS["layer.2.weight"]})
CHANGED_OTHER, ADDED = safetensors_bytes(changed(weights(5), "bias")), safetensors_bytes(weights(9))


def build(source: GitRepo) -> None:
    """main and `t` both change the model; `t` changes another one and adds a third; `u` adds a fourth."""
    source.git("config", "theta.report", "false")
    source.write(MODEL, safetensors_bytes(weights(0)))
    source.write(OTHER, safetensors_bytes(weights(5)))
    source.commit("base")
    source.git("switch", "-q", "-c", "t")
    source.write(MODEL, safetensors_bytes(THEIRS))
    source.write(NEW, ADDED)
    source.commit("t1")
    source.write(OTHER, CHANGED_OTHER)
    source.commit("t2")
    source.git("switch", "-q", "-c", "u", "main")
    source.write("u.safetensors", safetensors_bytes(weights(11)))
    source.commit("u")
    source.git("switch", "-q", "main")
    source.write(MODEL, safetensors_bytes(OURS))
    source.commit("on main")


@pytest.fixture(scope="module")
def built(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merging")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(prepared / "home"))
        source = GitRepo(shutil.copytree(prepared / "repo", folder / "source"))
        build(source)
        origin = source.add_remote("origin")
        source.git("push", "-q", "origin", "main", "t", "u")
        origin.clone("clone")
    return folder


@pytest.fixture
def clone(built: Path, installed: Path, tmp_path: Path) -> GitRepo:
    for name in ("origin.git", "clone"):
        shutil.copytree(built / name, tmp_path / name)
    repo = GitRepo(tmp_path / "clone")
    repo.git("remote", "set-url", "origin", str(tmp_path / "origin.git"))
    repo.git("reset", "-q", "--hard")
    return repo


def origin_of(clone: GitRepo) -> GitRepo:
    return GitRepo(clone.path.parent / "origin.git")


COMMANDS = [
    "merge --no-edit origin/t",
    "theta merge origin/t",
    "theta merge origin/t origin/u",
    "theta merge --no-commit origin/t origin/u",
    "rebase origin/t",
    "rebase --apply origin/t",
    "cherry-pick origin/t~1 origin/t",
    "merge --squash origin/t",
    "merge --no-commit origin/t",
    "pull -q --no-rebase --no-edit origin t",
    "pull -q --rebase origin t",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_it_simply_works(clone: GitRepo, command: str) -> None:
    clone.git(*command.split())
    if clone.staged():
        clone.git("commit", "-q", "-m", "merged")
    assert (clone.path / MODEL).read_bytes() == MERGED
    assert (clone.path / OTHER).read_bytes() == CHANGED_OTHER
    assert (clone.path / NEW).read_bytes() == ADDED
    assert clone.status() == []
    shutil.rmtree(origin_of(clone).path)
    clone.git("checkout", "-q", "HEAD~1")
    clone.git("checkout", "-q", "-")
    assert (clone.path / MODEL).read_bytes() == MERGED


def test_revert(clone: GitRepo) -> None:
    clone.git("-c", "theta.skipSmudge=true", "merge", "-q", "--no-edit", "origin/t")
    clone.git("revert", "-m", "1", "--no-edit", "HEAD")
    assert (clone.path / MODEL).read_bytes() == safetensors_bytes(OURS)
    assert (clone.path / OTHER).read_bytes() == safetensors_bytes(weights(5))


@pytest.mark.parametrize("command", ["merge --no-edit origin/t", "theta merge origin/t"])
def test_without_the_data(clone: GitRepo, command: str) -> None:
    """What is taken whole from one side stays where it is."""
    for path in clone.objects():
        path.unlink()
    clone.git("-c", "theta.skipSmudge=true", *command.split())
    assert (clone.path / NEW).read_bytes() == clone.blob(f"origin/t:{NEW}")
    clone.theta("pull")
    assert (clone.path / MODEL).read_bytes() == MERGED
    assert (clone.path / NEW).read_bytes() == ADDED


def test_merge_command_changes_nothing_where_objects_are_lost(clone: GitRepo) -> None:
    origin, head = origin_of(clone), clone.head()
    (origin.path / "theta").rename(origin.path.parent / "lost")
    for command in ("theta merge origin/u", "theta merge origin/t", "theta merge origin/t origin/u"):
        said = clone.refused("git", *command.split())
        assert " missing (origin does not have it), the first is " in said
        assert (clone.head(), clone.status()) == (head, [])
    holder = GitRepo(origin.path.parent / "holder.git")
    origin.git("clone", "-q", "--bare", str(origin.path), str(holder.path))
    (origin.path.parent / "lost").rename(holder.path / "theta")
    holder.remedy(said, f"git theta push --all {origin.path}")
    clone.remedy(said, "git theta fetch origin --all")
    clone.theta("merge", "origin/t", "origin/u")
    assert (clone.path / MODEL).read_bytes() == MERGED


def test_merge_driver_says_what_brings_lost_objects(clone: GitRepo) -> None:
    """Git goes on with a conflict, which can be resolved once they are here."""
    clone.write(MODEL, safetensors_bytes(changed(OURS, "layer.2.weight", seed=5)))
    clone.commit("the same tensor")
    origin = origin_of(clone)
    holder = origin.clone("holder.git", "--bare")
    holder.theta("fetch", "--all")
    shutil.rmtree(origin.path / "theta")
    options = "-c", "theta.skipMissing=true", "-c", "theta.merge=average"
    said = clone.refused("git", *options, "merge", "--no-edit", "origin/t")
    assert f"git-theta: {MODEL}: " in said
    holder.remedy(said, f"git theta push --all {origin.path}")
    clone.remedy(said, "git theta fetch origin --all")
    clone.theta("resolve", MODEL, "--strategy", "average")
    clone.git("commit", "-q", "-m", "merged")
    clone.theta("fsck")
