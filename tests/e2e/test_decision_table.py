"""Every row of the decision table of docs/merging.md, over each of Git's ways to bring two versions together.

One model has a tensor for each row. What comes of it is worked out here by hand, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from git_repo import GitRepo
from merge_cases import MODEL, tensors_of, written
from operations import APPLYING, checkout_merge, forked, packed

Model = dict[str, np.ndarray]


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def half(value: float) -> np.ndarray:
    return np.array([value], np.float16)


def whole(value: int) -> np.ndarray:
    return np.array([value], np.int64)


BASE: Model = {
    "kept": floats(1),
    "mine": floats(2),
    "yours": floats(3),
    "gone_here": floats(4),
    "gone_there": floats(5),
    "alike": floats(6),
    "both": floats(0.1, 1),
}
OURS: Model = {
    "kept": floats(1),
    "mine": floats(20),
    "yours": floats(3),
    "gone_there": floats(5),
    "alike": floats(60),
    "both": floats(0.7, 1),
    "new_here": floats(7),
}
THEIRS: Model = {
    "kept": floats(1),
    "mine": floats(2),
    "yours": floats(30),
    "gone_here": floats(4),
    "alike": floats(60),
    "both": floats(1.3, -4),
    "new_there": floats(8),
}
# Tensors that somebody has to decide on, and words of the reason.
OPEN: dict[str, tuple[str, np.ndarray | None, np.ndarray | None, np.ndarray | None]] = {
    "x_added": ("added differently", None, floats(1), floats(2)),
    "x_dtype": ("dtypes differ", half(1), half(2), floats(3)),
    "x_int": ("not merged by arithmetic", whole(1), whole(2), whole(3)),
    "x_removed": ("removed by", floats(1), floats(2), None),
    "x_shape": ("shapes differ", floats(1, 2), floats(1), floats(1, 2, 3)),
}
MERGING = "[merge]\n\tstrategy = average\n"


def at(names: Iterable[str], side: int) -> Model:
    """What a side (1 base, 2 ours, 3 theirs) has of these."""
    found: Model = {}
    for name in names:
        _, *versions = OPEN[name]
        value = versions[side - 1]
        if value is not None:
            found[name] = value
    return found


def with_open(model: Model, side: int, names: list[str]) -> bytes:
    found = at(names, side)
    return packed(model | found)


def sides(names: list[str]) -> tuple[bytes, bytes, bytes]:
    return with_open(BASE, 1, names), with_open(OURS, 2, names), with_open(THEIRS, 3, names)


def settled(both: np.ndarray) -> Model:
    """What the table says about all others: a change that one side has made, and `both` as given."""
    return {
        "kept": floats(1),
        "mine": floats(20),
        "yours": floats(30),
        "alike": floats(60),
        "both": both,
        "new_here": floats(7),
        "new_there": floats(8),
    }


def exact(*models: str) -> np.ndarray:
    """Of the models' values of `both` in float64: their mean, rounded once."""
    values = [{"o": OURS, "t": THEIRS, "b": BASE}[one]["both"].astype(np.float64) for one in models]
    return np.array(sum(values) / len(values), np.float64).astype(np.float32)


ADDED = sum((m["both"].astype(np.float64) for m in (OURS, THEIRS)), -BASE["both"].astype(np.float64))
APPLIED = settled(ADDED.astype(np.float32))
MEAN = settled(exact("o", "t"))


def same(repo: GitRepo, wanted: Model) -> None:
    found = written(repo)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name].dtype, found[name].tobytes()) == (value.dtype, value.tobytes()), name


def merge(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    forked(repo, base, ours, theirs, MERGING)
    repo.git("merge", "-q", "--no-edit", "theirs")


def criss_cross(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    """Two common ancestors: each has half of what is new in `base`, which is what both lines have merged."""
    repo.write(".thetaconfig", MERGING)
    older = tensors_of(base)
    for name in ("kept", "both"):
        older[name] = older[name] - np.float32(1)
    steps = {"main": {"kept": BASE["kept"]}, "theirs": {"both": BASE["both"]}}
    repo.write(MODEL, packed(older))
    repo.commit("older")
    repo.git("tag", "older")
    for branch, step in steps.items():
        repo.git("checkout", "-q", "-B", branch, "older")
        repo.write(MODEL, packed(older | step))
        repo.commit(branch)
        repo.git("tag", f"{branch}-1")
    repo.git("merge", "-q", "--no-edit", "main-1")
    repo.write(MODEL, theirs)
    repo.commit("theirs")
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--no-edit", "theirs-1")
    assert (repo.path / MODEL).read_bytes() == base
    repo.write(MODEL, ours)
    repo.commit("ours")
    assert len(repo.git("merge-base", "--all", "main", "theirs").stdout.split()) == 2
    repo.git("merge", "-q", "--no-edit", "theirs")


Way = Callable[[GitRepo, bytes, bytes, bytes], None]
WAYS: list[tuple[Way, Model]] = [(merge, MEAN), (criss_cross, MEAN), *((way, APPLIED) for way in APPLYING)]
STOPPING = [one for one in WAYS if one[0] is not checkout_merge]  # which ends with 0 whatever it leaves


@pytest.mark.parametrize(("way", "wanted"), WAYS, ids=lambda one: getattr(one, "__name__", ""))
def test_rows_that_end_without_a_conflict(repo: GitRepo, way: Way, wanted: Model) -> None:
    way(repo, *sides([]))
    same(repo, wanted)


@pytest.mark.parametrize(("way", "wanted"), STOPPING, ids=lambda one: getattr(one, "__name__", ""))
def test_rows_that_are_conflicts(repo: GitRepo, way: Way, wanted: Model) -> None:
    """Each is named with its reason, all else is merged, and nothing is lost however it is decided."""
    base, ours, theirs = sides(list(OPEN))
    with pytest.raises(AssertionError) as stopped:
        way(repo, base, ours, theirs)
    said = str(stopped.value)
    assert "Traceback" not in said
    for name, (reason, *_) in OPEN.items():
        (line,) = [one for one in said.splitlines() if one.strip().startswith(f"{name}:")]
        assert reason in line
    assert ("average" in said) == (wanted is MEAN)
    kept = at(OPEN, 2)
    assert tensors_of((repo.path / MODEL).read_bytes()).keys() == (wanted | kept).keys()
    repo.theta("resolve", MODEL, "--ours")
    found = tensors_of((repo.path / MODEL).read_bytes())
    assert found.keys() == (wanted | kept).keys()
    for name, value in (wanted | kept).items():
        assert (found[name].dtype, found[name].tobytes()) == (value.dtype, value.tobytes()), name


def test_several_branches(repo: GitRepo) -> None:
    """An octopus of three: two of them in conflict are refused by name, and settled by rules."""
    base, ours, theirs = sides(list(OPEN))
    forked(repo, base, ours, theirs, MERGING)
    repo.git("checkout", "-q", "-b", "third", "main~1")
    third = tensors_of(base) | {"both": floats(5, 6), "third": floats(9)}
    repo.write(MODEL, packed(third))
    repo.commit("third")
    repo.git("checkout", "-q", "main")
    before = repo.head()
    typed = ("theirs", "third", "-s", "average", "-o", "one-sided=take")
    said = repo.refused("git", "theta", "merge", *typed)
    for name, (reason, *_) in OPEN.items():
        assert any(line.strip().startswith(f"{name}:") and reason in line for line in said.splitlines())
    assert repo.head() == before
    assert repo.status() == []
    repo.theta("merge", *typed, "--rule", "x_*: ours")
    mean = (OURS["both"].astype(np.float64) + THEIRS["both"] + third["both"]) / 3
    kept = at(OPEN, 2)
    wanted = settled(mean.astype(np.float32)) | kept | {"third": floats(9)}
    found = tensors_of((repo.path / MODEL).read_bytes())
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
