"""What one-sided says at each of its places, on a fast-forward or not; three common ancestors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, commit, counts, has, model, written
from operations import grown


def are(repo: GitRepo, **values: float) -> None:
    has(repo, {name: np.float32(value) for name, value in values.items()})


PLACES = {
    "command": (["-s", "average", "-o", "one-sided={}"], ""),
    "rule": (["-s", "ours", "--rule", "*: average one-sided={}"], ""),
    "words": (["-s", "average one-sided={}"], ""),
    "config": (["-s", "average"], "git config"),
    "path": (["-s", "average"], '[merge]\n\tone-sided = {}\n[merge "*.bin"]\n\tone-sided = base\n'),
    "file": (["-o", "one-sided={}"], "[merge]\n\tstrategy = average\n"),
}


@pytest.mark.parametrize("word", ["combine", "take"])
@pytest.mark.parametrize("place", PLACES)
def test_each_place(repo: GitRepo, place: str, word: str) -> None:
    options, file = PLACES[place]
    typed = [option.replace("{}", word) for option in options]
    repo.write(".thetaconfig", file.replace("{}", word) if "\n" in file else "")
    grown(repo, tuned=model(u=1, w=1))
    if file == "git config":
        repo.git("config", "theta.merge.one-sided", word)
    repo.theta("merge", "tuned", *typed)
    combined = word == "combine"
    are(repo, u=0.5 if combined else 1, w=0.5 if combined else 1)
    if place != "rule":  # there the strategy for all others might have combined something
        assert (repo.head() == repo.head("tuned")) == (not combined)
    repo.git("reset", "-q", "--hard", "base")
    commit(repo, MODEL, model(u=0, w=3), "ours")
    said = repo.theta("merge", "tuned", *typed).stdout
    assert ("1 changed on some sides only" if combined else "1 taken from one side") in said
    are(repo, u=0.5 if combined else 1, w=2)
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_what_no_arithmetic_can_do_is_taken_on_a_fast_forward(repo: GitRepo) -> None:
    base: dict[str, np.ndarray] = {
        "w": np.zeros(2, np.float32),
        "gone": np.ones(1, np.float32),
        "rows": np.ones((2, 1), np.float32),
    }
    n: dict[str, np.ndarray] = {"n": np.array([1], np.int64)}
    commit(repo, MODEL, safetensors_bytes(base | n), "base")
    repo.git("checkout", "-q", "-b", "tuned")
    tuned: dict[str, np.ndarray] = {
        "w": np.ones(2, np.float32),
        "new": np.full(1, 7, np.float32),
        "rows": np.full((3, 1), 3, np.float32),
    }
    commit(repo, MODEL, safetensors_bytes(tuned | {"n": np.array([5], np.int64)}), "tuned")
    repo.git("checkout", "-q", "main")
    said = repo.theta("merge", "tuned", "-s", "average").stdout
    assert "1 changed on some sides only, combined (average)" in said
    assert "2 taken from one side, 1 added, 1 removed" in said
    wanted = {"w": [0.5, 0.5], "new": [7], "n": [5]}
    merged = written(repo)
    assert {name: one.ravel().tolist() for name, one in merged.items()} == wanted | {"rows": [3, 3, 3]}
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.theta("merge", "tuned", "-s", "average", "-o", "rows=pad")
    merged = written(repo)
    assert {name: one.ravel().tolist() for name, one in merged.items()} == wanted | {"rows": [2, 2, 3]}


@pytest.mark.parametrize(("side", "value"), [("ours", 0), ("theirs", 1), ("base", 0)])
def test_a_side_that_is_typed_counts_on_a_fast_forward(repo: GitRepo, side: str, value: float) -> None:
    grown(repo, tuned=model(u=1, w=1))
    repo.theta("merge", "tuned", "-s", side)
    are(repo, u=value, w=value)


def test_a_fast_forward_by_a_branch_with_integers_alone(repo: GitRepo) -> None:
    commit(repo, MODEL, counts(n=1), "base")
    repo.git("checkout", "-q", "-b", "tuned")
    commit(repo, MODEL, counts(n=2), "tuned")
    repo.git("checkout", "-q", "main")
    repo.theta("merge", "tuned", "-s", "average")
    assert (repo.path / MODEL).read_bytes() == counts(n=2)
    assert repo.status() == []


def test_ours_as_one_of_several_models(repo: GitRepo) -> None:
    """LM-Cocktail: ours is the base, and has a weight of its own; the order of the others is that typed."""
    grown(repo, one=model(u=1, w=1), two=model(u=10, w=0))
    repo.theta("merge", "two", "one", "-s", "linear", "-o", "weight=0.2,0.5,0.3")
    are(repo, u=5.3, w=0.3)
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.theta("merge", "two", "one", "-s", "task-arithmetic", "-o", "lambda=0.3", "-o", "one-sided=take")
    are(repo, u=3.3, w=1)


def test_a_strategy_for_two_models_refuses_three(repo: GitRepo) -> None:
    """Also where a tensor was changed by one of them alone: it is not silently taken."""
    grown(repo, one=model(u=1, w=0), two=model(u=0, w=2))
    said = repo.refused("git", "theta", "merge", "one", "two", "-s", "interpolate")
    assert "interpolate cannot merge 3 models (main, one and two)" in said
    repo.theta("merge", "one", "two", "-s", "interpolate", "-o", "one-sided=take")
    are(repo, u=1, w=2)


def woven(repo: GitRepo, merge: str) -> None:
    """Three branches that have each merged the first commits of the two others, and gone on."""
    commit(repo, MODEL, model(w=0), "base")
    names = {"x": (1, 1000), "y": (10, 10000), "z": (100, 100000)}
    for name, (value, _) in names.items():
        repo.git("checkout", "-q", "-b", name, "main")
        commit(repo, MODEL, model(w=value), name)
        repo.git("tag", f"{name}1")
    for name, (_, value) in names.items():
        repo.git("checkout", "-q", name)
        others = [f"{other}1" for other in names if other != name]
        if merge == "octopus":
            repo.theta("merge", *others, "-s", "task-arithmetic")
        else:
            for other in others:
                repo.git("-c", "theta.merge=task-arithmetic", "merge", "-q", "--no-edit", other)
        are(repo, w=111)
        commit(repo, MODEL, model(w=111 + value), f"more of {name}")
    repo.git("checkout", "-q", "x")


@pytest.mark.parametrize("before", ["octopus", "one by one"])
def test_three_common_ancestors(repo: GitRepo, before: str) -> None:
    woven(repo, before)
    repo.theta("merge", "y", "-s", "task-arithmetic")
    are(repo, w=11111)
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("-c", "theta.merge=task-arithmetic", "merge", "-q", "--no-edit", "y")
    are(repo, w=11111)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("merge", "-q", "--no-edit", "y", GIT_THETA_MERGE="task-arithmetic")
    are(repo, w=11111)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    for others in permutations("yz"):
        repo.theta("merge", *others, "-s", "task-arithmetic")
        are(repo, w=111111)
        assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
        repo.git("reset", "-q", "--hard", "HEAD~1")
    # A change that is carried over has one base, whatever the history.
    repo.git("cherry-pick", "y")
    are(repo, w=11111)
