"""What `git add` stores: all that is neither here nor where a remote was asked for it."""

from __future__ import annotations

import os
import shutil

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"


@pytest.fixture
def unsent(history: GitRepo) -> GitRepo:
    """A bare repository, `history`'s remote `origin`, which has the refs, but none of the objects."""
    bare = history.add_remote("origin")
    history.git("push", "-q", "-u", "--no-verify", "origin", "main", "--tags")
    assert bare.objects() == []
    return bare


def clone_with(source: GitRepo, data: bytes) -> GitRepo:
    """A clone without objects, in whose work tree somebody puts this model."""
    clone = source.clone("clone", "--no-checkout")
    clone.git("reset", "-q")
    clone.write(MODEL, data)
    clone.git("checkout", "-q", "--", "notes.txt", ".gitattributes")
    return clone


def names(repo: GitRepo) -> set[str]:
    return {path.name for path in repo.objects()}


def test_what_the_remote_lacks_is_stored(history: GitRepo, unsent: GitRepo) -> None:
    """Nothing but these two files has the data once the first clone is gone."""
    clone = clone_with(unsent, version(1))
    clone.git("add", MODEL)
    shutil.rmtree(history.path)
    (clone.path / MODEL).unlink()
    clone.git("checkout", "--", MODEL)
    assert clone.digest(MODEL) == digest(version(1))


def test_what_is_stored_again_in_the_same_way_is_the_same_blob(history: GitRepo, unsent: GitRepo) -> None:
    clone = unsent.clone("clone", "--no-checkout")
    clone.git("reset", "-q", "v0")
    clone.write(MODEL, version(0))
    clone.git("add", MODEL)
    assert clone.staged() == []
    assert names(clone) == {oid for oid in names(history) if oid in clone.blob(f"v0:{MODEL}").decode()}


def test_what_the_remote_has_is_left_there(history: GitRepo, pushed: GitRepo) -> None:
    clone = clone_with(pushed, version(1))
    clone.git("add", "--renormalize", ".")
    assert clone.status() == []
    assert clone.objects() == []


def test_a_file_of_which_a_part_is_nowhere(history: GitRepo, pushed: GitRepo) -> None:
    lost = next(path for path in pushed.objects() if path.stat().st_size > 10_000)
    clone = clone_with(pushed, version(1))
    lost.unlink()
    clone.git("add", MODEL)
    assert 0 < len(clone.objects()) < 3
    (clone.path / MODEL).unlink()
    clone.git("checkout", "--", MODEL)
    assert clone.digest(MODEL) == digest(version(1))


@pytest.mark.parametrize("url", ["../gone", "https://example.invalid/m.git", "ssh://example.invalid/m", "."])
def test_a_remote_that_cannot_be_asked_has_nothing(history: GitRepo, unsent: GitRepo, url: str) -> None:
    clone = clone_with(unsent, version(1))
    clone.git("remote", "set-url", "origin", url)
    clone.git("add", MODEL)
    clone.theta("fsck", "--fast", check=False)
    (clone.path / MODEL).unlink()
    clone.git("checkout", "--", MODEL)
    assert clone.digest(MODEL) == digest(version(1))


def test_every_remote_is_asked(history: GitRepo, pushed: GitRepo) -> None:
    clone = clone_with(pushed, version(1))
    empty = clone.add_remote("empty")
    clone.git("remote", "add", "gone", "../gone")
    clone.git("remote", "rename", "origin", "zoo")
    clone.git("add", "--renormalize", ".")
    assert (clone.status(), clone.objects(), empty.objects()) == ([], [], [])


def test_what_only_the_place_of_pushes_has(history: GitRepo, unsent: GitRepo) -> None:
    """Fetches come from one repository, pushes go to another."""
    fork = history.clone("fork.git", "--bare")
    fork.theta("fetch", "--all")
    clone = clone_with(unsent, version(1))
    clone.git("remote", "set-url", "--push", "origin", str(fork.path))
    clone.git("add", "--renormalize", ".")
    assert (clone.status(), clone.objects()) == ([], [])
    clone.git("checkout", "-q", "v0", "-f")
    assert clone.digest(MODEL) == digest(version(0))


@pytest.mark.parametrize("command", ["commit -q -a -m all", "-c theta.skipMissing=true stash -q"])
def test_other_commands_that_store(history: GitRepo, unsent: GitRepo, command: str) -> None:
    data = safetensors_bytes(weights(0) | {"more": weights(1)["bias"]})
    clone = clone_with(unsent, data)
    clone.git(*command.split())
    (clone.path / MODEL).unlink()
    clone.git("checkout", "stash@{0}" if "stash" in command else "HEAD", "--", MODEL)
    assert clone.digest(MODEL) == digest(data)


def test_a_file_stored_whole(repo: GitRepo) -> None:
    """A file of no known format goes another way through clean."""
    repo.write("model.pt", bytes(range(256)) * 40)
    repo.commit()
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "--no-verify", "origin", "main")
    clone = bare.clone("clone", "--no-checkout")
    clone.git("reset", "-q")
    clone.write("model.pt", bytes(range(256)) * 40)
    clone.git("add", "model.pt")
    assert names(clone) == names(repo)
    assert clone.staged() == []


def test_a_commit_of_what_is_nowhere_is_refused_while_the_file_is_here(
    history: GitRepo, pushed: GitRepo
) -> None:
    """The remote had the objects when the file was added, and has lost them since."""
    clone = clone_with(pushed, version(0))
    os.utime(clone.path / MODEL, (1, 1))  # else git commit looks into the file again
    clone.git("add", MODEL)
    for path in [*pushed.objects(), *clone.objects()]:
        path.unlink()
    refused = clone.git("commit", "-m", "back", check=False)
    assert refused.returncode != 0
    assert f"{MODEL}: " in refused.stderr
    clone.remedy(refused.stderr, f"git add --renormalize {MODEL}")
    clone.git("commit", "-q", "-m", "back")
    shutil.rmtree(pushed.path)
    (clone.path / MODEL).unlink()
    clone.git("checkout", "--", MODEL)
    assert clone.digest(MODEL) == digest(version(0))


def staged_without_objects(history: GitRepo) -> GitRepo:
    """A repository in which a manifest is staged of which it has no objects, and no file."""
    other = GitRepo(history.path.parent / "other")
    other.path.mkdir()
    other.git("init", "-q")
    other.theta("track", "*.safetensors")
    other.commit("track checkpoints")
    other.stage(history.blob(f"v1:{MODEL}"), MODEL)
    other.write(MODEL, other.blob(f":{MODEL}"))
    return other


def test_a_new_manifest_of_what_is_nowhere_is_not_committed(history: GitRepo) -> None:
    other = staged_without_objects(history)
    said = other.refused("git", "commit", "-m", "a manifest")
    assert "6 of its 6 objects are neither here nor on a remote (the first is of tensor bias)" in said
    other.remedy(said, "git theta fetch /folder/of/a/clone", put={"/folder/of/a/clone": str(history.path)})
    other.git("commit", "-q", "-m", "a manifest")
    (other.path / MODEL).unlink()
    other.git("checkout", "--", MODEL)
    assert other.digest(MODEL) == digest(version(1))


def test_a_new_manifest_of_what_is_nowhere_can_be_left_out(history: GitRepo) -> None:
    other = staged_without_objects(history)
    other.write("notes.txt", "more\n")
    other.git("add", "notes.txt")
    said = other.refused("git", "commit", "-m", "a manifest")
    other.remedy(said, f"git restore --staged {MODEL}")
    other.git("commit", "-q", "-m", "without it")
    assert other.status() == [f"?? {MODEL}"]


def test_a_manifest_can_be_left_out_of_the_first_commit(history: GitRepo) -> None:
    other = staged_without_objects(history)
    other.git("update-ref", "-d", "HEAD")
    other.git("rm", "-q", "--cached", ".gitattributes")
    said = other.refused("git", "commit", "-m", "a manifest")
    other.remedy(said, f"git rm -q --cached {MODEL}")
    other.git("commit", "-q", "--allow-empty", "-m", "without it")
    assert other.status() == ["?? .gitattributes", f"?? {MODEL}"]


def test_a_new_manifest_of_what_a_remote_has_is_committed(history: GitRepo, pushed: GitRepo) -> None:
    """It is how one works without data: a file is moved, its objects stay where they are."""
    clone = pushed.clone("clone", "-c", "theta.skipSmudge=true")
    clone.git("mv", MODEL, "moved.safetensors")
    clone.git("commit", "-q", "-m", "moved")
    assert clone.objects() == []
