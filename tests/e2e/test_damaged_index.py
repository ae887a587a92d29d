"""The index may say anything: what `git add` stores, every clone can check out."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, weights

MODEL = "model.safetensors"
BUNDLE = {f"t{number}": value[:4] for number, value in enumerate(weights(3, 8).values())}
"""Small tensors, which are members of one object."""

Change = Callable[[bytes], bytes]


def tamper(repo: GitRepo, change: Change, marks: bool) -> None:
    """Change what the index says of every digest.

    Args:
        marks: whether the checksums are made to fit, as by a program with a bug.
    """
    from blake3 import blake3

    with closing(sqlite3.connect(repo.path / ".git/theta/index.sqlite")) as database, database:
        rows = database.execute("SELECT rowid, mark, lines FROM stored").fetchall()
        assert any(change(lines) != lines for _, _, lines in rows)
        for row, mark, lines in rows:
            other = change(lines)
            values = other, blake3(other).digest(16) if marks else mark, row
            database.execute("UPDATE stored SET lines = ?, mark = ? WHERE rowid = ?", values)


@pytest.mark.parametrize(
    ("change", "marks"),
    [
        (lambda lines: lines.replace(b'"member":1', b'"member":2'), False),
        (lambda lines: lines.replace(b'"update":"dense"', b'"update":"delta"'), False),
        (lambda lines: lines.replace(b'"member":1', b'"member":2'), True),
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
