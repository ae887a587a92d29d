"""The index may say anything: what `git add` stores, every clone can check out."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, weights

from git_theta.objects.database import seal

MODEL = "model.safetensors"
BUNDLE = {f"t{number}": value[:4] for number, value in enumerate(weights(3, 8).values())}
"""Small tensors, which are members of one object."""

Change = Callable[[str, str], tuple[str, str]]
"""Of the place of a tensor, and of the kind of its update."""


def tamper(repo: GitRepo, change: Change, marks: bool) -> None:
    """Change what the index says of every digest.

    Args:
        marks: whether the checksums are made to fit, as by a program with a bug.
    """
    with closing(sqlite3.connect(repo.path / ".git/theta/index.sqlite")) as database, database:
        rows = database.execute("SELECT digest, place, kind, mark FROM places").fetchall()
        assert any(change(place, kind) != (place, kind) for _, place, kind, _ in rows)
        database.execute("DELETE FROM places")
        for digest_of, place, kind, mark in rows:
            row = digest_of, *change(place, kind)
            database.execute("INSERT INTO places VALUES (?, ?, ?, ?)", (*row, seal(*row) if marks else mark))


@pytest.mark.parametrize(
    ("change", "marks"),
    [
        (lambda place, kind: (place.replace(".1", ".2"), kind), False),
        (lambda place, kind: (place, "delta"), False),
        (lambda place, kind: (place.replace(".1", ".2"), kind), True),
    ],
    ids=["member", "update", "member, with a checksum that fits"],
)
def test_wrong_rows_are_not_taken_over(repo: GitRepo, change: Change, marks: bool) -> None:
    data = safetensors_bytes(BUNDLE)
    repo.write(MODEL, data)
    repo.git("add", MODEL)
    repo.git("rm", "-q", "--cached", "-f", MODEL)
    tamper(repo, change, marks)
    repo.write("copy.safetensors", data)  # the index alone knows these tensors
    repo.commit("a copy", "copy.safetensors")
    (repo.path / "copy.safetensors").unlink()
    repo.git("checkout", "--", "copy.safetensors")
    assert repo.digest("copy.safetensors") == digest(data)


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "garbage", "folder"])
def test_an_index_that_is_not_to_be_read_is_done_without(repo: GitRepo, damage: str) -> None:
    data = safetensors_bytes(BUNDLE)
    repo.write(MODEL, data)
    repo.git("add", MODEL)
    path = repo.path / ".git/theta/index.sqlite"
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        text = {"empty": b"", "half": whole[: len(whole) // 2], "garbage": b"garbage" * 999}[damage]
        path.write_bytes(text)
    objects = repo.objects()
    blob = repo.blob(f":{MODEL}")
    repo.write("copy.safetensors", data)
    (repo.path / MODEL).touch()
    assert repo.git("add", MODEL, "copy.safetensors").stderr == ""
    assert repo.blob(f":{MODEL}") == blob
    assert repo.objects() == objects, "the same tensors make the same object"


def test_a_locked_index_is_waited_for_aloud_and_git_add_goes_on(repo: GitRepo) -> None:
    data = safetensors_bytes(BUNDLE)
    repo.write(MODEL, data)
    repo.git("add", MODEL)
    repo.write(MODEL, safetensors_bytes(weights(4, 2, (4, 4))))
    with closing(sqlite3.connect(repo.path / ".git/theta/index.sqlite")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with subprocess.Popen(
            ["git", "add", MODEL], cwd=repo.path, stderr=subprocess.PIPE, text=True
        ) as adding:
            assert adding.stderr is not None
            said = adding.stderr.readline()
            assert said.startswith("git-theta: waiting for ")
            holder.rollback()
            assert adding.communicate()[1] == ""
        assert adding.returncode == 0
    repo.commit("the other one")
    clone = repo.clone("clone")
    assert clone.digest(MODEL) == repo.digest(MODEL)
