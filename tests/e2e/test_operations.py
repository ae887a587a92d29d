"""What each of Git's operations makes of a checkpoint, computed by hand in float64.

The oracle here knows nothing of the code: it is the formulas of docs/merging.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, commit, has, model, tensors
from operations import APPLYING, Values, cherry_pick, forked, grown, packed, rebase, revert, stash_pop


def applied(base: Values, ours: Values, theirs: Values) -> dict[str, np.ndarray]:
    """ours + theirs - base in float64, rounded once; additions and removals as they are."""
    found = {}
    for name in {**base, **ours, **theirs}:
        sides = [side.get(name) for side in (base, ours, theirs)]
        if all(side is not None for side in sides):
            b, o, t = (np.asarray(side, np.float64) for side in sides)
            found[name] = (o + t - b).astype(np.float32)
        elif sides[0] is None:
            found[name] = sides[1] if sides[1] is not None else sides[2]
    return found


# Every row of the table that ends without a conflict.
BASE = tensors(kept=1, mine=2, yours=3, gone_here=4, gone_there=5, alike=6, both=0.1)
OURS = tensors(kept=1, mine=20, yours=3, gone_there=5, alike=60, both=0.7, new_here=7)
THEIRS = tensors(kept=1, mine=2, yours=30, gone_here=4, alike=60, both=1.3, new_there=8)
ALIKE = {"alike": np.array([60], np.float32)}
WANTED = applied(BASE, OURS, THEIRS) | ALIKE


@pytest.mark.parametrize("operation", APPLYING, ids=lambda one: one.__name__)
def test_a_change_is_applied_whatever_is_configured(
    repo: GitRepo, operation: Callable[[GitRepo, bytes, bytes, bytes], None]
) -> None:
    operation(repo, packed(BASE), packed(OURS), packed(THEIRS))
    has(repo, WANTED)


@pytest.mark.parametrize("operation", APPLYING, ids=lambda one: one.__name__)
def test_what_is_no_tensor_is_carried_over_too(
    repo: GitRepo, operation: Callable[[GitRepo, bytes, bytes, bytes], None]
) -> None:
    operation(repo, *(noted(**notes) for notes in ({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1"})))
    assert notes_of(repo) == {"a": "2"}


@pytest.mark.parametrize("operation", [cherry_pick, rebase, revert, stash_pop], ids=lambda one: one.__name__)
def test_what_is_no_tensor_and_changed_by_both_is_open(
    repo: GitRepo, operation: Callable[[GitRepo, bytes, bytes, bytes], None]
) -> None:
    with pytest.raises(AssertionError, match="no tensor: changed differently"):
        operation(repo, noted(a="1", b="1"), noted(a="2", b="1"), noted(a="3", b="3"))
    said = repo.theta("status").stdout
    assert "__metadata__.a" in said
    assert notes_of(repo) == {"a": "2", "b": "3"}
    assert "is not merged yet" in repo.refused("git", "commit", "-am", "early")
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    assert notes_of(repo) == {"a": "3", "b": "3"}
    assert "Not merged" not in repo.theta("status").stdout


def noted(**metadata: str) -> bytes:
    return safetensors_bytes(tensors(w=1), metadata)


def notes_of(repo: GitRepo) -> object:
    data = (repo.path / MODEL).read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]


def test_revert_takes_a_change_away_and_nothing_else(repo: GitRepo) -> None:
    random = np.random.default_rng(3)
    before, first, later = (random.standard_normal(200).astype(np.float32) for _ in range(3))
    repo.git("config", "theta.merge", "average")
    for weights in (before, first, later):
        repo.write(MODEL, safetensors_bytes({"w": weights}))
        repo.commit()
    repo.git("revert", "--no-edit", "HEAD~1")
    b, o, t = (one.astype(np.float64) for one in (first, later, before))
    taken = (o + t - b).astype(np.float32)
    has(repo, {"w": taken})
    repo.git("cherry-pick", "HEAD~2")  # the same change again
    again = (taken.astype(np.float64) + b - t).astype(np.float32)
    has(repo, {"w": again})
    np.testing.assert_allclose(again, later, rtol=0, atol=1e-6)


def test_half_precision_is_rounded_once(repo: GitRepo) -> None:
    """In float32, 2049 + 2**-14 would be rounded to a tie, and then to the wrong side."""
    base, ours, theirs = (np.array([value], np.float16) for value in (-1, 2048, 2**-14))
    for name, value in (("base", base), ("theirs", theirs), ("ours", ours)):
        if name == "ours":
            repo.git("checkout", "-q", "-b", "other", "HEAD~1")
        repo.write(MODEL, safetensors_bytes({"w": value}))
        repo.commit(name)
    repo.git("cherry-pick", "main")
    wanted = (ours.astype(np.float64) + theirs - base).astype(np.float16)
    assert (repo.path / MODEL).read_bytes() == safetensors_bytes({"w": wanted})


def test_entries_that_one_side_changed_are_taken_bit_by_bit(repo: GitRepo) -> None:
    """A mask of infinities, a NaN, the sign of a zero; and back, as they were."""
    inf, nan = np.inf, np.nan
    base = np.array([1, -inf, -inf, 0.5, -0.0, 0, -0.0, nan, 3], np.float32)
    theirs = np.array([2, -inf, 7, nan, -0.0, -0.0, 0, nan, 4], np.float32)
    ours = np.array([5, 9, -inf, 0.5, 0, 0, -0.0, 1, 3], np.float32)
    forked(repo, *(safetensors_bytes({"w": one}) for one in (base, ours, theirs)))
    said = repo.git("cherry-pick", "theirs").stderr
    assert "1 entry of w is not finite" in said  # theirs made NaN of one
    wanted = np.array([6, 9, 7, nan, 0, -0.0, 0, 1, 4], np.float32)
    assert (repo.path / MODEL).read_bytes() == safetensors_bytes({"w": wanted})
    assert repo.status() == []
    repo.git("revert", "--no-edit", "HEAD")
    assert (repo.path / MODEL).read_bytes() == safetensors_bytes({"w": ours})


@pytest.mark.parametrize("place", ["config", "file", "environment"])
def test_another_way_to_apply_can_be_chosen(repo: GitRepo, place: str) -> None:
    file = "[merge]\n\tstrategy = ours\n" + ("\tapply = average\n" if place == "file" else "")
    forked(repo, model(w=1), model(w=10), model(w=3), file)
    if place == "config":
        repo.git("config", "theta.apply", "average")
    repo.git("cherry-pick", "theirs", **({"GIT_THETA_APPLY": "average"} if place == "environment" else {}))
    has(repo, {"w": np.float32(6.5)})


def test_as_merges_do(repo: GitRepo) -> None:
    forked(repo, model(w=1), model(w=10), model(w=3), "[merge]\n\trule = w: average\n\tapply = merge\n")
    repo.git("cherry-pick", "theirs")
    has(repo, {"w": np.float32(6.5)})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    assert "average" in repo.git("-c", "theta.apply=nonsense", "cherry-pick", "theirs", check=False).stderr


def test_a_merge_that_a_rebase_makes_again_is_a_merge(repo: GitRepo) -> None:
    commit(repo, MODEL, model(w=0), "base")
    repo.git("branch", "side")
    commit(repo, MODEL, model(w=2), "work")
    repo.git("checkout", "-q", "side")
    commit(repo, MODEL, model(w=10), "side")
    repo.git("checkout", "-q", "main")
    repo.git("config", "theta.merge", "average")
    repo.git("merge", "-q", "--no-edit", "side")
    has(repo, {"w": np.float32(6)})
    repo.git("rebase", "-q", "--rebase-merges", "--force-rebase", "HEAD~1~1")
    has(repo, {"w": np.float32(6)})


def test_what_cannot_be_applied_advises_no_average(repo: GitRepo) -> None:
    forked(repo, model(w=1, v=1), model(w=2, v=1), model(v=1))
    said = repo.refused("git", "cherry-pick", "theirs")
    assert "average" not in said
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    repo.git("cherry-pick", "--continue", GIT_EDITOR=":")
    has(repo, {"v": np.float32(1)})


# What a strategy that was typed means: its formula, for all sides.


def test_a_strategy_is_heeded_on_a_fast_forward(repo: GitRepo) -> None:
    grown(repo, tuned=model(u=1, w=1))
    said = repo.theta("merge", "tuned", "-s", "interpolate", "-o", "alpha=0.5", "--ff").stdout
    assert "2 changed on some sides only, combined (interpolate)" in said
    has(repo, {"u": np.float32(0.5), "w": np.float32(0.5)})
    assert "Theta-One-sided: combine" in repo.git("log", "-1", "--format=%B").stdout
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
    assert repo.status() == []
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.theta("merge", "tuned", "-s", "task-arithmetic", "-o", "weight=1,-1")
    has(repo, {"u": np.float32(-1), "w": np.float32(-1)})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    before = repo.head()
    assert "fast-forward" not in repo.theta("merge", "-n", "tuned", "-s", "average").stdout.lower()
    refused = repo.theta("merge", "tuned", "-s", "average", "--ff-only", check=False)
    assert refused.returncode
    assert repo.head() == before
    repo.theta("merge", "tuned", "-s", "average", "-o", "one-sided=take")
    assert repo.head() == repo.head("tuned")


def test_fast_forwards_as_git_does(repo: GitRepo) -> None:
    grown(repo, tuned=model(u=1, w=1))
    repo.theta("merge", "tuned", "--no-ff", "-m", "no ff")
    assert len(repo.git("log", "-1", "--format=%P").stdout.split()) == 2
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("config", "merge.ff", "false")
    repo.theta("merge", "tuned")
    assert len(repo.git("log", "-1", "--format=%P").stdout.split()) == 2
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.theta("merge", "tuned", "--ff-only")
    assert repo.head() == repo.head("tuned")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    commit(repo, "notes.txt", b"text", "diverge")
    said = repo.refused("git", "theta", "merge", "tuned", "--ff-only")
    assert "cannot be merged by a fast-forward" in said
    repo.remedy(said, "git theta merge --no-ff tuned")
    has(repo, {"u": np.float32(1), "w": np.float32(1)})


@pytest.mark.parametrize(("options", "wanted"), [((), (0.3, 1.5)), (("-o", "one-sided=take"), (1, 1.5))])
def test_lambda_is_for_all_tensors(
    repo: GitRepo, options: tuple[str, ...], wanted: tuple[float, float]
) -> None:
    """u is changed by theirs alone, w by both."""
    grown(repo, theirs=model(u=1, w=2))
    commit(repo, MODEL, model(u=0, w=3), "ours")
    repo.theta("merge", "theirs", "-s", "task-arithmetic", "-o", "lambda=0.3", *options)
    u, w = wanted
    has(repo, {"u": np.float32(u), "w": np.float32(w)})
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_a_rule_in_a_file_combines_and_a_strategy_there_takes(repo: GitRepo) -> None:
    repo.write(".thetaconfig", "[merge]\n\tstrategy = average\n\trule = u: average\n")
    commit(repo, MODEL, model(u=0, v=0, w=0), "base")
    repo.git("checkout", "-q", "-b", "theirs")
    commit(repo, MODEL, model(u=1, v=1, w=2), "theirs")
    repo.git("checkout", "-q", "main")
    commit(repo, MODEL, model(u=0, v=0, w=4), "ours")
    repo.git("merge", "-q", "--no-edit", "theirs")
    has(repo, {"u": np.float32(0.5), "v": np.float32(1), "w": np.float32(3)})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("-c", "theta.merge.one-sided=take", "merge", "-q", "--no-edit", "theirs")
    has(repo, {"u": np.float32(1), "v": np.float32(1), "w": np.float32(3)})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("-c", "theta.merge.one-sided=combine", "merge", "-q", "--no-edit", "theirs")
    has(repo, {"u": np.float32(0.5), "v": np.float32(0.5), "w": np.float32(3)})


def test_weights_of_an_octopus_are_those_of_all_models(repo: GitRepo) -> None:
    grown(repo, one=model(u=1, w=1), two=model(u=0, w=2))
    repo.theta("merge", "one", "two", "-s", "linear", "-o", "weight=0.2,0.5,0.3")
    has(repo, {"u": np.float32(0.5), "w": np.float32(0.5 * 1 + 0.3 * 2)})
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_a_checkpoint_that_was_moved_too(repo: GitRepo) -> None:
    random = np.random.default_rng(0)
    values = {f"layer.{n}": random.standard_normal(64).astype(np.float32) for n in range(12)}
    tuned = values | {"layer.0": values["layer.0"] + np.float32(1)}
    commit(repo, MODEL, safetensors_bytes(values), "base")
    repo.git("checkout", "-q", "-b", "moved")
    repo.git("mv", MODEL, "new.safetensors")
    commit(repo, "new.safetensors", safetensors_bytes(tuned), "moved")
    repo.git("checkout", "-q", "main")
    commit(repo, "notes.txt", b"text", "ours")
    repo.theta("merge", "moved", "-s", "average")
    both = values["layer.0"].astype(np.float64), tuned["layer.0"].astype(np.float64)
    has(repo, values | {"layer.0": ((both[0] + both[1]) / 2).astype(np.float32)}, "new.safetensors")
    assert not (repo.path / MODEL).exists()


def crossed(repo: GitRepo, merge: Callable[[str], object]) -> None:
    """x and y grow by 1 and 10 from 0, are merged into each other, and grow by 1000 and 100."""
    commit(repo, MODEL, model(w=0), "base")
    for name, value in (("x", 1), ("y", 10)):
        repo.git("checkout", "-q", "-b", name, "main")
        commit(repo, MODEL, model(w=value), name)
        repo.git("tag", f"{name}1")
    for name, other, value in (("x", "y1", 1000), ("y", "x1", 100)):
        repo.git("checkout", "-q", name)
        merge(other)
        has(repo, {"w": np.float32(11)})
        commit(repo, MODEL, model(w=11 + value), f"more of {name}")
    repo.git("checkout", "-q", "x")


@pytest.mark.parametrize("further", ["", "z"])
def test_criss_cross_counts_each_change_once(repo: GitRepo, further: str) -> None:
    crossed(repo, lambda name: repo.theta("merge", name, "-s", "task-arithmetic"))
    if further:
        repo.git("checkout", "-q", "-b", "z", "x~1")
        commit(repo, MODEL, model(w=11 + 5000), "z")
        repo.git("checkout", "-q", "x")
    repo.theta("merge", "y", *filter(None, [further]), "-s", "task-arithmetic")
    has(repo, {"w": np.float32(6111 if further else 1111)})
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_criss_cross_with_options(repo: GitRepo) -> None:
    crossed(repo, lambda name: repo.theta("merge", name, "-s", "task-arithmetic"))
    repo.git("reset", "-q", "--hard", "x~1")
    commit(repo, "notes.txt", b"text", "no change of the model")
    repo.theta("merge", "y", "-s", "task-arithmetic", "-o", "lambda=0.5")
    has(repo, {"w": np.float32(61)})  # the inner ancestors give 5.5 with it; 5.5 + 0.5 (5.5 + 105.5)
