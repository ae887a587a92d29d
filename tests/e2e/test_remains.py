"""Empty and cut files in place of a checkpoint that Git has: never staged without a word."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, digest, version

MODEL = "model.safetensors"
BLOB = b"of no known format" * 5000


@pytest.mark.parametrize(
    "command",
    [["add", "-A"], ["commit", "-qam", "x"], ["commit", "-qm", "x", MODEL], ["theta", "add", MODEL]],
    ids=["add", "commit -a", "commit PATH", "theta add"],
)
def test_empty_file_is_refused_and_brought_back(history: GitRepo, command: list[str]) -> None:
    history.write(MODEL, b"")
    refused = history.git(*command, check=False)
    assert refused.returncode != 0
    assert f"git-theta: {MODEL}: the file is empty now; Git has a checkpoint there" in refused.stderr
    assert history.staged() == []
    assert history.git("diff", "--stat").returncode == 0
    assert history.status() == [f" M {MODEL}"]
    history.remedy(refused.stderr, f"git restore {MODEL}")
    assert history.digest(MODEL) == digest(version(1))
    history.git("add", "-A")


@pytest.mark.parametrize("length", [0, 3, 40])
def test_remains_are_stored_where_that_is_meant(history: GitRepo, length: int) -> None:
    data = version(1)[:length]
    history.write(MODEL, data)
    refused = history.git("add", MODEL, check=False)
    assert refused.returncode != 0
    assert "allowDamaged" in refused.stderr
    history.git("stash", "-q")
    assert history.digest(MODEL) == digest(version(1))
    history.git("stash", "pop", "-q")
    assert history.digest(MODEL) == digest(data)
    history.remedy(refused.stderr, f"git -c theta.allowDamaged=true add {MODEL}")
    history.git("commit", "-q", "-m", "meant so")
    (history.path / MODEL).touch()
    history.git("add", "-A")
    assert history.status() == []


def test_cut_file_of_no_known_format(history: GitRepo) -> None:
    history.write("model.pt", BLOB)
    history.commit("opaque")
    history.write("model.pt", BLOB[:60_000])
    refused = history.git("add", "model.pt", check=False)
    assert "model.pt: the file is cut off: it has 60000 bytes, of the 90000 that Git has" in refused.stderr
    history.remedy(refused.stderr, "git restore model.pt")
    assert history.digest("model.pt") == digest(BLOB)
    history.write("model.pt", b"x" + BLOB[1:60_000])  # another file, if a smaller one
    history.commit("opaque")


def test_new_empty_file_is_none(history: GitRepo) -> None:
    history.write("new.pt", b"")
    history.commit("new and empty")
    history.write("new.pt", b"")
    (history.path / "new.pt").touch()
    assert history.status() == []


def test_empty_blob_that_came_past_the_filter(history: GitRepo) -> None:
    oid = history.stage(b"", MODEL)
    history.write(MODEL, b"")
    refused = history.git("commit", "-m", "empty", check=False)
    assert refused.returncode != 0
    assert f"{MODEL}: staged empty, where HEAD has a checkpoint" in refused.stderr
    said = refused.stderr.replace("hint: ", "  ")
    history.remedy(said, f"git -c theta.allowDamaged=true add --renormalize {MODEL}")
    history.git("commit", "-q", "-m", "empty, and meant so")
    history.git("reset", "-q", "--hard", "v1")
    history.git("update-index", "--cacheinfo", f"100644,{oid},{MODEL}")
    refused = history.git("commit", "-m", "empty", check=False)
    history.remedy(refused.stderr.replace("hint: ", "  "), f"git restore --staged --worktree {MODEL}")
    assert history.status() == []
    assert history.digest(MODEL) == digest(version(1))
