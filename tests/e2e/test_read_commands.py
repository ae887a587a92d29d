"""Commands that look keep working in a repository with damaged or foreign files under a tracked pattern."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, digest, version
from terminals import on_a_terminal

MODEL = "model.safetensors"

FILES = {
    "damaged": version(0)[:-1000],
    "foreign": b"no checkpoint at all\n" * 50,
    "binary": bytes(range(256)) * 40,
    "empty": b"",
    "broken manifest": b'{"git-theta":1,"format":"safetensors"}\n<<<<<<< ours\n',
}

_FAST = ("damaged", "foreign")
kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in _FAST else pytest.mark.slow) for kind in FILES]
)


@kinds
def test_looking(history: GitRepo, kind: str) -> None:
    data = FILES[kind]
    history.write(MODEL, data)
    history.write("notes.txt", "changed\n")
    before = history.objects()
    assert history.status() == [f" M {MODEL}", " M notes.txt"]
    for command in (["diff"], ["diff", "--stat"], ["diff", "HEAD"]):
        assert MODEL in on_a_terminal(history.path, "git", *command), command
    history.git("log", "-p", "-1")
    assert history.objects() == before
    assert history.digest(MODEL) == digest(data)
    history.git("add", "notes.txt")
    history.git("commit", "-q", "-m", "the notes only")
    assert history.status() == [f" M {MODEL}"]


@kinds
def test_stash(history: GitRepo, kind: str) -> None:
    """What is put aside comes back as it was, also if it could not be committed."""
    data = FILES[kind]
    history.write(MODEL, data)
    history.write("notes.txt", "changed\n")
    history.git("stash")
    assert history.status() == []
    assert history.digest(MODEL) == digest(version(1))
    history.git("stash", "pop")
    assert history.digest(MODEL) == digest(data)
    assert history.status() == [f" M {MODEL}", " M notes.txt"]


def test_stash_of_other_files(history: GitRepo) -> None:
    history.write(MODEL, FILES["damaged"])
    history.write("notes.txt", "changed\n")
    history.git("stash", "push", "notes.txt")
    assert history.status() == [f" M {MODEL}"]
    history.git("stash", "pop")
    assert history.status() == [f" M {MODEL}", " M notes.txt"]


def test_untracked_damaged_file(history: GitRepo) -> None:
    history.write("new.safetensors", FILES["damaged"])
    assert history.status() == ["?? new.safetensors"]
    history.git("stash", "push", "-q", "-m", "nothing", check=False)
    history.git("switch", "-q", "--detach", "v0")
    assert history.digest("new.safetensors") == digest(FILES["damaged"])
