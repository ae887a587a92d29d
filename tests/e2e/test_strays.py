"""Manifests under names that git-theta does not track: others would get the text as the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from git_repo import GitRepo, digest, version

MODEL = "model.safetensors"
SAYS = "a manifest, but its attribute filter is not theta"


def moved(repo: GitRepo) -> str:
    repo.git("mv", MODEL, "model.old")
    return "model.old"


def untracked(repo: GitRepo) -> str:
    repo.theta("untrack", "*.safetensors")
    repo.git("add", ".gitattributes")
    return MODEL


def attributes_removed(repo: GitRepo) -> str:
    repo.git("rm", "-q", ".gitattributes")
    return MODEL


def copied(repo: GitRepo) -> str:
    """In a clone that has manifests in its work tree."""
    repo.write("sub dir/other.bin", repo.blob(f"HEAD:{MODEL}"))
    repo.git("add", "sub dir")
    return "sub dir/other.bin"


ROADS = [moved, untracked, attributes_removed, copied]


def refused(repo: GitRepo, path: str) -> str:
    done = repo.git("commit", "-m", "stray", check=False)
    assert done.returncode != 0
    assert f"{path}: {SAYS}" in done.stderr
    return done.stderr.replace("hint: ", "  ")


@pytest.mark.parametrize("road", ROADS)
def test_they_are_not_committed_and_can_be_tracked(history: GitRepo, road: Callable[[GitRepo], str]) -> None:
    path = road(history)
    quoted = f"'{path}'" if " " in path else path
    said = refused(history, path)
    history.remedy(said, f"git theta track {quoted} && git add .gitattributes")
    history.git("commit", "-q", "-m", "tracked")
    history.git("rm", "-q", "-r", "--cached", ".")
    history.git("reset", "-q", "--hard")
    assert history.digest(path) == digest(version(1))
    assert history.status() == []


@pytest.mark.parametrize("road", ROADS)
def test_they_can_be_stored_as_they_are(history: GitRepo, road: Callable[[GitRepo], str]) -> None:
    path = road(history)
    said = refused(history, path)
    if road is copied:
        name = f"'{path}'"
        smudge = f"git theta smudge {name} < {name} > {name}.new && mv {name}.new {name} && "
        history.remedy(said, f"{smudge}git add --renormalize {name}")
    else:
        history.remedy(said, f"git add --renormalize {path}")
    history.git("commit", "-q", "-m", "as it is")
    assert history.blob(f"HEAD:{path}") == version(1)
    assert history.status() == []


def test_attributes_that_are_not_staged(repo: GitRepo) -> None:
    repo.theta("track", "*.ckpt")
    repo.write("model.ckpt", version(0))
    repo.git("add", "model.ckpt")
    said = refused(repo, "model.ckpt")
    repo.remedy(said, "git add .gitattributes")
    repo.git("commit", "-q", "-m", "tracked")


def test_merge_that_removes_attributes(history: GitRepo) -> None:
    """The manifest is new on one side, the attributes go on the other."""
    history.git("switch", "-q", "-c", "side", "v0")
    history.git("-c", "core.hooksPath=/dev/null", "rm", "-q", ".gitattributes", MODEL)
    history.git("commit", "-q", "-m", "no models here")
    history.git("switch", "-q", "main")
    history.write("new.safetensors", version(0))
    history.commit("a new model")
    merged = history.git("merge", "side", check=False)
    assert merged.returncode != 0
    history.git("rm", "-q", "-f", MODEL, check=False)
    said = refused(history, "new.safetensors")
    history.remedy(said, "git theta track new.safetensors && git add .gitattributes")
    history.git("commit", "-q", "-m", "merged")


def test_what_was_committed_is_named(history: GitRepo) -> None:
    history.git("mv", MODEL, "model.old")
    history.commit_index("stray")
    for command in ("doctor", "fsck"):
        found = history.theta(command, check=False)
        assert found.returncode == 1
        assert f"model.old: {SAYS}" in found.stdout
        assert "git theta track model.old && git add .gitattributes" in found.stdout
    assert "model.old" in history.theta("ls-files").stdout
    history.write("notes.txt", "other\n")
    history.git("commit", "-qam", "what is in HEAD already keeps nobody from committing")
    history.theta("track", "model.old")
    assert history.theta("fsck").returncode == 0


def test_untrack_says_what_is_left(history: GitRepo) -> None:
    said = history.theta("untrack", "*.safetensors").stdout
    command = f"git add --renormalize {MODEL}"
    assert command in said
    history.run("sh", "-e", "-c", command)
    history.git("commit", "-qam", "without git-theta")
    assert history.blob(f"HEAD:{MODEL}") == version(1)


def test_names_that_look_like_patterns(history: GitRepo) -> None:
    history.git("mv", MODEL, "model [1]*.old")
    said = refused(history, "model [1]*.old")
    history.remedy(said, "git theta track 'model \\[1]\\*.old' && git add .gitattributes")
    history.git("commit", "-q", "-m", "tracked")
