"""Rebase, cherry-pick and revert of commits that touch different checkpoints."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

MODEL, OTHER = "model.safetensors", "other.safetensors"
_OTHER = safetensors_bytes(weights(5))


@pytest.fixture
def forked(history: GitRepo) -> GitRepo:
    """`history`, and a branch `side` from v0 with a commit that adds other.safetensors."""
    history.git("switch", "-q", "-c", "side", "v0")
    history.write(OTHER, _OTHER)
    history.commit("add the other model")
    return history


def check(repo: GitRepo) -> None:
    """Both models are what they should be, and committed."""
    assert (repo.digest(MODEL), repo.digest(OTHER)) == (digest(version(1)), digest(_OTHER))
    assert repo.status() == []
    assert repo.blob(f"HEAD:{MODEL}") == repo.blob(f"v1:{MODEL}")


def test_rebase(forked: GitRepo) -> None:
    done = forked.git("rebase", "main")
    check(forked)
    assert "stored" not in done.stdout + done.stderr  # the cost report is silent here
    assert forked.head("HEAD~1") == forked.head("main")


def test_interactive_rebase_that_stops_for_an_edit(forked: GitRepo) -> None:
    forked.git("rebase", "-i", "main", GIT_SEQUENCE_EDITOR="sed -i s/^pick/edit/")
    tuned = safetensors_bytes(changed(weights(5), "bias"))
    forked.write(OTHER, tuned)
    forked.git("commit", "-q", "-a", "--amend", "--no-edit")
    forked.git("rebase", "--continue")
    assert (forked.digest(MODEL), forked.digest(OTHER)) == (digest(version(1)), digest(tuned))
    assert forked.status() == []


def test_cherry_pick(forked: GitRepo) -> None:
    forked.git("switch", "-q", "main")
    forked.git("cherry-pick", "side")
    check(forked)


def test_merge(forked: GitRepo) -> None:
    forked.git("merge", "--no-edit", "main")
    check(forked)


def test_revert(forked: GitRepo) -> None:
    forked.git("rebase", "-q", "main")
    forked.git("revert", "--no-edit", "main")
    assert (forked.digest(MODEL), forked.digest(OTHER)) == (digest(version(0)), digest(_OTHER))
    assert forked.blob(f"HEAD:{MODEL}") == forked.blob(f"v0:{MODEL}")
    forked.git("revert", "--no-edit", "HEAD")
    check(forked)


def test_squash_and_amend(forked: GitRepo) -> None:
    forked.git("switch", "-q", "main")
    forked.git("merge", "-q", "--squash", "side")
    forked.git("commit", "-q", "-m", "squashed")
    check(forked)
    forked.git("commit", "-q", "--amend", "-m", "another message")
    check(forked)


def test_mail_of_a_commit_carries_the_manifest(forked: GitRepo) -> None:
    patch = forked.git("format-patch", "--stdout", "--binary", "-1", "side").stdout
    forked.git("switch", "-q", "main")
    forked.git("am", "-q", stdin=patch.encode())
    check(forked)
