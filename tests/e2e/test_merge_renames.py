"""What one side of a merge renamed is said to be renamed, and never lost where another one changed it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from git_repo import GitRepo, digest, safetensors_bytes
from merge_cases import MODEL, diverge

Model = Mapping[str, np.ndarray]

_RNG = np.random.default_rng(7)
BASE = {f"h.{number}.weight": _RNG.standard_normal((8, 8)).astype(np.float32) for number in range(4)}
HALF = ("h.1.weight", "h.2.weight")
RENAME = "git config --add theta.merge.rename 'h.* -> layers.*'"


def renamed(model: Model) -> dict[str, np.ndarray]:
    return {name.replace("h.", "layers."): values for name, values in model.items()}


def changed(model: Model, *names: str, by: float = 0.5) -> dict[str, np.ndarray]:
    return {name: values + np.float32(by) if name in names else values for name, values in model.items()}


def diverged(repo: GitRepo, ours: Model, theirs: Model) -> None:
    diverge(repo, *map(safetensors_bytes, (BASE, ours, theirs)))


@pytest.mark.parametrize("command", [("merge",), ("theta", "merge")])
def test_the_summary_says_what_a_diff_says(repo: GitRepo, command: tuple[str, ...]) -> None:
    theirs = {**BASE, "new": np.ones(3, np.float32)}
    diverged(repo, renamed(BASE), theirs)
    done = repo.git(*command, "theirs", "-m", "merged")
    assert f"{MODEL}: 5 tensors: 4 renamed, 1 added\n" in done.stdout + done.stderr
    assert "(1 added, 4 renamed)" in repo.theta("diff", "base", "HEAD").stdout
    assert repo.digest(MODEL) == digest(safetensors_bytes({**renamed(BASE), "new": theirs["new"]}))


def test_renamed_and_changed_in_one_step(repo: GitRepo) -> None:
    """Only their values tell that they are the same tensors, as in every other comparison."""
    diverged(repo, renamed(changed(BASE, *BASE, by=1e-3)), {**BASE, "new": np.ones(3, np.float32)})
    assert "4 rename\n" in repo.theta("merge", "--dry-run", "theirs").stdout
    assert f"{MODEL}: 5 tensors: 4 renamed, 1 added\n" in repo.git("merge", "theirs", "-m", "m").stderr
    assert "(1 added, 4 renamed)" in repo.theta("diff", "base", "HEAD").stdout


@pytest.mark.parametrize("ours_renames", [True, False])
@pytest.mark.parametrize("command", [("merge", "-q"), ("theta", "merge"), ("cherry-pick",), ("rebase", "-q")])
def test_what_one_side_renamed_and_another_changed_is_open(
    repo: GitRepo, command: tuple[str, ...], ours_renames: bool
) -> None:
    sides = renamed(BASE), changed(BASE, *HALF)
    diverged(repo, *(sides if ours_renames else sides[::-1]))
    before = repo.head()
    said = repo.refused("git", *command, "theirs")
    assert f"  {HALF[0]}, {HALF[1]}: renamed by " in said
    assert ", changed by " in said
    if command[0] != "theta":
        assert f"{MODEL}: 4 tensors: 2 renamed, 2 in conflict\n" in said
        assert repo.status() == [f"UU {MODEL}"]
        repo.git(command[0], "--abort")
    assert repo.head() == before
    repo.remedy(said, RENAME)
    repo.git(*command, "theirs", *(["--no-edit"] if command == ("merge", "-q") else []))
    assert repo.digest(MODEL) == digest(safetensors_bytes(renamed(changed(BASE, *HALF))))


def test_renames_of_no_common_pattern_are_said_one_by_one(repo: GitRepo) -> None:
    ours = {**BASE, "first": BASE["h.0.weight"], "model.h.1.weight": BASE["h.1.weight"]}
    del ours["h.0.weight"], ours["h.1.weight"]
    diverged(repo, ours, changed(BASE, "h.0.weight", "h.1.weight"))
    said = repo.refused("git", "theta", "merge", "theirs")
    assert "to merge what was renamed (one such rule for each): " in said
    repo.remedy(said, "git config --add theta.merge.rename 'h.0.weight -> first'")
    said = repo.refused("git", "theta", "merge", "theirs")
    repo.remedy(said, "git config --add theta.merge.rename 'h.1.weight -> model.h.1.weight'")
    repo.theta("merge", "theirs")
    merged = changed(ours, "first", "model.h.1.weight")
    assert repo.digest(MODEL) == digest(safetensors_bytes(merged))


def test_what_both_sides_renamed_is_not_lost(repo: GitRepo) -> None:
    """Which name is right, nobody can know: the result has both."""
    theirs = {name.replace("h.", "blocks."): values for name, values in BASE.items()}
    diverged(repo, renamed(BASE), theirs)
    repo.git("merge", "theirs", "-q", "-m", "merged")
    names = {
        row["name"] for row in json.loads(repo.theta("ls-files", "--long", "--json").stdout)[0]["tensors"]
    }
    assert {f"layers.{number}.weight" for number in range(4)} <= names


def test_the_diff_of_a_conflict_says_renamed(repo: GitRepo) -> None:
    diverged(repo, {**renamed(BASE), "x": np.ones(3, np.float32)}, changed(BASE, *HALF))
    repo.refused("git", "merge", "theirs")
    said = repo.theta("diff", COLUMNS="120").stdout
    assert "ours renamed 4 tensors: 'h.' → 'layers.' in front" in said
    assert "2 tensors changed on both sides, 3 only by ours, 0 only by theirs, 0 alike" in said
    assert "what both sides changed was only renamed by one of them: a rename rule merges that" in said
    assert "removed" not in said
    assert "layers.1" in said
    assert "\n  h.1" not in said
    every = repo.theta("diff", "--all", COLUMNS="120").stdout
    assert "ours renamed, theirs modified; was h.1.weight" in every
    assert "ours renamed, theirs unchanged; was h.0.weight" in every


def test_three_revisions_as_json(repo: GitRepo) -> None:
    diverged(repo, renamed(BASE), changed(BASE, *HALF))
    found = json.loads(repo.theta("diff", "--json", "--base", "base", "main", "theirs").stdout)
    rows = {row["name"]: row for row in found["tensors"]}
    assert rows.keys() == renamed(BASE).keys()
    row = rows["layers.1.weight"]
    assert (row["ours"], row["theirs"], row["same"]) == ("renamed", "modified", False)
    assert row["names"] == {"base": "h.1.weight", "ours": "layers.1.weight", "theirs": "h.1.weight"}
    assert (row["ours_norm"], row["theirs_norm"]) == (0, pytest.approx(4))
    one = json.loads(
        repo.theta("diff", "--json", "--base", "base", "main", "theirs", "--tensor", "h.1.*").stdout
    )
    assert [row["name"] for row in one["tensors"]] == ["layers.1.weight"]
