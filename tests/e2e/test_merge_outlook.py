"""What the dry run says of two and more sides before they are merged: what can be told without data."""

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, commit, diverge

APART = "trained apart: an average will not work (cosine of the weights"


def model(values: np.ndarray, count: int = 0) -> bytes:
    """Weights, and a counter, which says nothing of them."""
    return safetensors_bytes({"w": values.astype(np.float32), "steps": np.array([count], np.int64)})


def dry_run(repo: GitRepo, *names: str) -> str:
    """What it prints, in one line."""
    said = repo.theta("merge", "--dry-run", *names, "-s", "average", "--rule", "steps: ours")
    return " ".join(said.stdout.split())


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_models_that_were_trained_apart(repo: GitRepo, random: np.random.Generator) -> None:
    base, ours, theirs = random.standard_normal((3, 3000))
    diverge(repo, model(base), model(ours, 10**9), model(theirs, 10**9 + 1))
    said = dry_run(repo, "theirs")
    cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
    distance = np.linalg.norm(ours - theirs) / np.linalg.norm(base)
    assert f"{APART} {cosine:+.2f}, distance {distance:.2f} of the base's norm)" in said
    assert repo.theta("diff", "--base", "base", "main", "theirs").stdout.count("trained apart") == 1


def test_models_that_both_sides_added(repo: GitRepo, random: np.random.Generator) -> None:
    diverge(repo, None, *(model(values) for values in random.standard_normal((2, 3000))))
    assert APART in dry_run(repo, "theirs", "--rule", "w: average")


def test_changes_in_the_same_direction(repo: GitRepo, random: np.random.Generator) -> None:
    base, change, one, other = random.standard_normal((4, 3000))
    diverge(repo, model(base), model(base + 0.1 * (change + one)), model(base + 0.1 * (change + other)))
    said = dry_run(repo, "theirs")
    assert "an average is safe (cosine of the task vectors +0." in said


def test_every_two_of_three_sides(repo: GitRepo, random: np.random.Generator) -> None:
    """Ours and near change the same fifth of entries most, far other ones; apart is another model."""
    base = random.standard_normal(1000)
    signs = np.where(np.arange(1000) % 2, 0.1, -0.1)
    first, last = (np.where((np.arange(1000) < 200) == flag, signs, 1e-3) for flag in (True, False))
    last[400:] = 1e-3
    near = first * np.where(np.arange(1000) % 4 < 2, 1, -1)
    diverge(repo, model(base), model(base + first), model(base + near))
    for name, values in (("far", base + last), ("apart", random.standard_normal(1000))):
        repo.git("switch", "-q", "-c", name, "base")
        commit(repo, MODEL, model(values), name)
    repo.git("switch", "-q", "main")
    said = dry_run(repo, "theirs", "far", "apart")
    pairs = {pair.split(":")[0]: pair for pair in said.split(" main and ")[1:]}
    lost = "in tests, averages of such pairs lost"
    assert f"the largest 20% of the changes overlap by 100%: {lost} no accuracy" in pairs["theirs"]
    assert f"the largest 20% of the changes overlap by 0%: {lost} 19 points of accuracy" in pairs["far"]
    assert APART in pairs["apart"]
    assert said.count("cosine +") + said.count("cosine -") == 6
    assert said.count(APART) == 3
    assert said.count("only an evaluation tells") == 3
    assert "TIES" not in said
