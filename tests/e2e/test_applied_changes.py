"""Ways to carry a change over that are seldom thought of: each adds it, whatever is configured for merges."""

from __future__ import annotations

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, bfloat16, commit, counts, has, model

AVERAGE = "[merge]\n\tstrategy = average\n\trule = w: linear weight=0.9\n"


def grown(repo: GitRepo, *values: float, config: str = AVERAGE) -> None:
    """A commit on main for each value of w, with a tag v<value> each."""
    repo.write(".thetaconfig", config)
    for value in values:
        repo.write(MODEL, model(w=value))
        repo.commit(f"to {value}")
        repo.git("tag", f"v{value}")


def is_(repo: GitRepo, value: float) -> None:
    has(repo, {"w": np.float32(value)})
    assert repo.status() == []


def test_range_of_commits_is_reverted(repo: GitRepo) -> None:
    grown(repo, 0, 1, 3, 7, 100)
    repo.git("revert", "--no-edit", "v1..v7")
    is_(repo, 94)
    repo.git("revert", "--no-commit", "v0..v1")
    has(repo, {"w": np.float32(93)})
    repo.git("revert", "--quit")
    repo.git("commit", "-q", "-am", "reverted")
    is_(repo, 93)


def test_merge_is_reverted_and_picked(repo: GitRepo) -> None:
    """The merge averages; what is taken away or carried over is its change against one parent."""
    grown(repo, 0)
    repo.git("checkout", "-q", "-b", "side")
    commit(repo, MODEL, model(w=1), "side")
    repo.git("checkout", "-q", "main")
    commit(repo, MODEL, model(w=11), "main")
    repo.git("-c", "theta.merge=average", "merge", "-q", "--no-edit", "side")
    repo.git("tag", "merged")
    is_(repo, 6)
    commit(repo, MODEL, model(w=50), "more")
    repo.git("revert", "--no-edit", "-m", "1", "merged")
    is_(repo, 50 + 11 - 6)
    repo.git("checkout", "-q", "-b", "other", "v0")
    commit(repo, MODEL, model(w=100), "other")
    repo.git("cherry-pick", "-m", "2", "merged")
    is_(repo, 100 + 6 - 1)


def test_interactive_rebase_reorders_and_squashes(repo: GitRepo) -> None:
    grown(repo, 0, 1, 3, 7)
    reorder = "sed -i -e 1{h\\;d} -e 2{G}"  # the second before the first
    repo.git("rebase", "-q", "-i", "v0", GIT_SEQUENCE_EDITOR=reorder)
    is_(repo, 7)
    has_at(repo, "HEAD~2", 2)  # 0 + (3 - 1)
    has_at(repo, "HEAD~1", 3)
    drop = "sed -i -e 1d -e 3s/^pick/fixup/"
    repo.git("rebase", "-q", "-i", "v0", GIT_SEQUENCE_EDITOR=drop, GIT_EDITOR=":")
    is_(repo, 5)  # without the 2
    repo.git("rebase", "-q", "--onto", "v7", "v0")
    is_(repo, 12)


def has_at(repo: GitRepo, revision: str, value: float) -> None:
    repo.git("checkout", "-q", revision)
    is_(repo, value)
    repo.git("checkout", "-q", "main")


def test_autosquash_and_patches_from_the_mail(repo: GitRepo) -> None:
    grown(repo, 0, 1, 3)
    repo.git("format-patch", "-q", "--binary", "--full-index", "-o", str(repo.path / ".git/out"), "v0")
    repo.git("checkout", "-q", "-b", "other", "v0")
    commit(repo, MODEL, model(w=100), "other")
    patches = sorted(map(str, (repo.path / ".git/out").iterdir()))
    repo.git("am", "-q", "-3", *patches)
    is_(repo, 103)


def test_stash_with_staged_parts(repo: GitRepo) -> None:
    grown(repo, 0)
    repo.write(MODEL, model(w=1))
    repo.git("add", MODEL)
    repo.write(MODEL, model(w=3))
    repo.git("stash", "-q")
    commit(repo, MODEL, model(w=100), "more")
    repo.git("stash", "apply", "-q")
    has(repo, {"w": np.float32(103)})
    repo.git("reset", "-q", "--hard")
    repo.git("stash", "apply", "-q", "--index", check=False)  # git refuses: the index has another version


def test_pull_with_autostash_and_aliases(repo: GitRepo) -> None:
    grown(repo, 0)
    repo.git("checkout", "-q", "-b", "side")
    commit(repo, MODEL, model(w=1), "side")
    repo.git("checkout", "-q", "main")
    commit(repo, MODEL, model(w=10), "main")
    repo.git("config", "alias.cp", "cherry-pick")
    repo.git("config", "alias.rb", "!git rebase")
    repo.git("cp", "side")
    is_(repo, 11)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("rb", "-q", "side")
    is_(repo, 11)
    repo.git("reset", "-q", "--hard", "v0")
    repo.write(MODEL, model(w=5))
    repo.git("pull", "-q", "--rebase", "--autostash", ".", "side")
    has(repo, {"w": np.float32(6)})


def test_squashed_merge_is_a_merge(repo: GitRepo) -> None:
    grown(repo, 0, config="[merge]\n")
    repo.git("checkout", "-q", "-b", "side")
    commit(repo, MODEL, model(w=1), "side")
    repo.git("checkout", "-q", "main")
    commit(repo, MODEL, model(w=10), "main")
    said = repo.refused("git", "merge", "--squash", "side")
    repo.git("-c", "theta.merge=average", "checkout", "-m", "--", MODEL)
    has(repo, {"w": np.float32(5.5)})
    repo.git("checkout", "-m", "--", MODEL)
    has(repo, {"w": np.float32(10)})
    repo.remedy(said, f"git theta resolve {MODEL} --strategy average")
    has(repo, {"w": np.float32(5.5)})
    repo.git("checkout", "-m", "--", MODEL)
    assert "average" in repo.refused("git", "commit", "-am", "squashed")


def test_patch_is_applied_while_a_merge_is_not_committed(repo: GitRepo) -> None:
    grown(repo, 0, 1)
    patch = repo.git("diff", "--binary", "--full-index", "v0", "v1").stdout
    repo.git("checkout", "-q", "-b", "side", "v0")
    commit(repo, MODEL, model(w=100), "side")
    repo.git("checkout", "-q", "-b", "further")
    commit(repo, "notes.txt", b"text", "further")
    repo.git("checkout", "-q", "side")
    repo.git("merge", "-q", "--no-ff", "--no-commit", "further")
    repo.git("apply", "--3way", "-", stdin=patch.encode())
    has(repo, {"w": np.float32(101)})


@pytest.mark.parametrize(
    "place", ["theta.merge", "theta.merge.rule", "theta.merge.one-sided", "GIT_THETA_MERGE", "file"]
)
def test_nothing_that_is_configured_counts(
    repo: GitRepo, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"theta.merge": "ties density=0.1", "theta.merge.rule": "*: ours"}
    said["theta.merge.one-sided"] = "combine"
    grown(repo, 0, 1, 11, config=AVERAGE if place == "file" else "[merge]\n")
    if place in said:
        repo.git("config", place, said[place])
    if place.isupper():
        monkeypatch.setenv(place, "ours")
    repo.git("revert", "--no-edit", "v1")
    is_(repo, 10)


def test_tensors_that_come_and_go(repo: GitRepo) -> None:
    """The change adds one tensor, removes one, and changes a third; ours has changed others."""
    repo.write(".thetaconfig", AVERAGE)
    commit(repo, MODEL, model(w=1, gone=2, k=3), "base")
    repo.git("checkout", "-q", "-b", "side")
    commit(repo, MODEL, model(w=2, k=3, new=4), "side")
    repo.git("checkout", "-q", "main")
    commit(repo, MODEL, model(w=5, gone=2, k=30, own=7), "main")
    before = (repo.path / MODEL).read_bytes()
    repo.git("cherry-pick", "side")
    has(repo, {name: np.float32(v) for name, v in {"w": 6, "k": 30, "new": 4, "own": 7}.items()})
    repo.git("revert", "--no-edit", "HEAD")
    has(repo, {name: np.float32(v) for name, v in {"w": 5, "gone": 2, "k": 30, "own": 7}.items()})
    assert (repo.path / MODEL).read_bytes() == before


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "why"),
    [
        (counts(n=1), counts(n=2), counts(n=3), "I64 is not merged"),
        (model(n=[1, 2]), model(n=[1]), model(n=[1, 2, 3]), "shapes differ"),
        (model(n=[1, 2]), model(n=[1, 2, 3]), model(n=[1, 2, 3, 4]), "have new rows"),
        (model(n=1), None, model(n=2), "removed by"),
        (model(n=1), safetensors_bytes({"n": np.array([2], np.float16)}), model(n=3), "dtypes differ"),
        (safetensors_bytes({"n": np.array([True])}),) * 2 + (model(n=3), "B"),
    ],
    ids=["integers", "shapes", "rows", "removed", "dtypes", "bool"],
)
def test_what_cannot_be_added_up(
    repo: GitRepo, base: bytes, ours: bytes | None, theirs: bytes, why: str
) -> None:
    repo.write(".thetaconfig", AVERAGE)
    commit(repo, MODEL, base, "base")
    repo.git("checkout", "-q", "-b", "side")
    commit(repo, MODEL, theirs, "side")
    repo.git("checkout", "-q", "main")
    if why == "B":
        commit(repo, MODEL, safetensors_bytes({"n": np.array([False])}), "ours")
    else:
        commit(repo, MODEL, ours or model(other=9), "ours")
    said = repo.refused("git", "cherry-pick", "side")
    assert why in said
    assert "average" not in said
    refused = repo.refused("git", "commit", "-qam", "no")
    assert "average" not in refused
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    assert "n" in repo.theta("show", MODEL).stdout
    repo.git("cherry-pick", "--continue", GIT_EDITOR=":")
    assert repo.status() == []
    assert (repo.path / MODEL).read_bytes().count(b'"n"') == 1


def test_bfloat16_is_rounded_to_even(repo: GitRepo) -> None:
    """256 + 5 - 2 lies between two of its numbers, 258 and 260."""
    base, theirs, ours, wanted = (
        safetensors_bytes({"w": bfloat16(np.array([value], np.float32))}) for value in (2, 5, 256, 260)
    )
    commit(repo, MODEL, base, "base")
    repo.git("tag", "base")
    commit(repo, MODEL, theirs, "theirs")
    repo.git("checkout", "-q", "-b", "other", "base")
    commit(repo, MODEL, ours, "ours")
    repo.git("cherry-pick", "main")
    assert (repo.path / MODEL).read_bytes() == wanted
