"""LoRA's factors: what counts is their product, and the mean of products is no product of means."""

from __future__ import annotations

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import diverge, written

from git_theta.terminal.units import percent

A, B, ALPHA = "layer.lora_A.weight", "layer.lora_B.weight", "layer.alpha"
RANDOM = np.random.default_rng(5)


def factors(rank: int = 4, inner: int = 4) -> dict[str, np.ndarray]:
    """B A of this inner rank, so that a mean of two of them may fit in `rank`."""
    a, b = RANDOM.standard_normal((inner, 6)), RANDOM.standard_normal((5, inner))
    wide, tall = np.zeros((rank, 6)), np.zeros((5, rank))
    wide[:inner], tall[:, :inner] = a, b
    return {A: wide.astype(np.float32), B: tall.astype(np.float32)}


def product(found: dict[str, np.ndarray], scale: float = 1.0) -> np.ndarray:
    return scale * (found[B].astype(np.float64) @ found[A].astype(np.float64))


def off(one: np.ndarray, other: np.ndarray) -> float:
    """How far it is from the other one, as a share of that."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


SMALL = [factors(4, 2) for _ in range(3)]
FULL = [factors(4, 4) for _ in range(3)]


def test_apart_is_warned_about(repo: GitRepo) -> None:
    diverge(repo, *(safetensors_bytes(one) for one in FULL))
    said = repo.git("merge", "theirs", GIT_THETA_MERGE="average").stderr
    assert f"warning: model.safetensors: 1 pair of LoRA factors ({A}, ...) merged apart" in said
    assert "lora=product" in said
    assert off(product(written(repo)), (product(FULL[1]) + product(FULL[2])) / 2) > 0.3


def test_resolving_warns_too(repo: GitRepo) -> None:
    diverge(repo, *(safetensors_bytes(one) for one in FULL))
    assert "LoRA" not in repo.refused("git", "merge", "theirs")
    assert "merged apart" in repo.theta("resolve", "model.safetensors", "--strategy", "average").stdout
    repo.git("checkout", "-q", "-m", "model.safetensors")
    said = repo.theta("resolve", "model.safetensors", "--strategy", "average", "-o", "lora=product").stdout
    assert "of them is lost" in said
    mean = (product(FULL[1]) + product(FULL[2])) / 2
    assert off(product(written(repo)), mean) < 0.3


def test_products_are_averaged_exactly_where_they_fit(repo: GitRepo) -> None:
    diverge(repo, *(safetensors_bytes(one) for one in SMALL))
    said = repo.git("merge", "theirs", GIT_THETA_MERGE="average lora=product").stderr
    assert "warning" not in said
    assert off(product(written(repo)), (product(SMALL[1]) + product(SMALL[2])) / 2) < 1e-6
    assert repo.theta("fsck").returncode == 0


def test_weights(repo: GitRepo) -> None:
    diverge(repo, *(safetensors_bytes(one) for one in SMALL))
    repo.theta("merge", "theirs", "-s", "linear", "-o", "weight=0.25", "-o", "lora=product")
    assert off(product(written(repo)), 0.25 * product(SMALL[1]) + 0.75 * product(SMALL[2])) < 1e-6
    repo.theta("merge", "--redo", "HEAD")


def test_what_our_rank_cannot_hold_is_said(repo: GitRepo) -> None:
    diverge(repo, *(safetensors_bytes(one) for one in FULL))
    said = repo.git("merge", "theirs", GIT_THETA_MERGE="average lora=product").stderr
    mean = (product(FULL[1]) + product(FULL[2])) / 2
    values = np.linalg.svd(mean, compute_uv=False)
    lost = np.linalg.norm(values[4:]) / np.linalg.norm(values)
    assert f"up to {percent(lost)} of them is lost ({A})" in said
    assert abs(off(product(written(repo)), mean) - lost) < 1e-6


def test_alpha_and_ranks_that_differ(repo: GitRepo) -> None:
    """Each product counts alpha / rank; ours gives rank and alpha of the result."""
    base, ours = (one | {ALPHA: np.array([8], np.float32)} for one in SMALL[:2])
    theirs = factors(2, 2) | {ALPHA: np.array([16], np.float32)}
    diverge(repo, *(safetensors_bytes(one) for one in (base, ours, theirs)))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average lora=product")
    found = written(repo)
    assert found[ALPHA] == 8
    assert off(product(found, 8 / 4), (product(ours, 8 / 4) + product(theirs, 16 / 2)) / 2) < 1e-6


def test_ranks_that_differ_without_alpha_are_a_conflict(repo: GitRepo) -> None:
    diverge(repo, *(safetensors_bytes(one) for one in (SMALL[0], SMALL[1], factors(2, 2))))
    said = repo.refused("git", "merge", "theirs", GIT_THETA_MERGE="average lora=product")
    assert "ranks differ (main 4 and theirs 2), and no alpha in the file says how" in said
    repo.remedy(said, "git theta resolve model.safetensors --ours")
    np.testing.assert_array_equal(written(repo)[A], SMALL[1][A])


def test_ranks_that_differ_apart(repo: GitRepo) -> None:
    """The hint does not advise more rows for A, which would not fit B."""
    base, ours, theirs = (
        one | {ALPHA: np.array([8], np.float32)} for one in (SMALL[0], SMALL[1], factors(2, 2))
    )
    diverge(repo, *(safetensors_bytes(one) for one in (base, ours, theirs)))
    said = repo.refused("git", "merge", "theirs")
    assert "average and linear merge products of LoRA with lora=product" in said
    assert "rows=" not in said
    repo.theta("resolve", "model.safetensors", "--strategy", "average", "-o", "lora=product")
    assert off(product(written(repo), 2), (product(ours, 2) + product(theirs, 4)) / 2) < 1e-6


def test_one_factor_that_differs_is_merged_as_ever(repo: GitRepo) -> None:
    """A is frozen, as in LoRA-FA: the mean of the products is the product with the mean of B."""
    ours, theirs = ({A: FULL[0][A], B: one[B]} for one in FULL[1:])
    diverge(repo, *(safetensors_bytes(one) for one in (FULL[0], ours, theirs)))
    said = repo.git("merge", "theirs", GIT_THETA_MERGE="average").stderr
    assert "warning" not in said
    mean = ((ours[B].astype(np.float64) + theirs[B]) / 2).astype(np.float32)
    np.testing.assert_array_equal(written(repo)[B], mean)


def test_each_side_has_changed_another_factor(repo: GitRepo) -> None:
    """Both changes taken, as for tensors of their own, give a product that neither side has."""
    ours, theirs = {A: SMALL[1][A], B: SMALL[0][B]}, {A: SMALL[0][A], B: SMALL[2][B]}
    diverge(repo, *(safetensors_bytes(one) for one in (SMALL[0], ours, theirs)))
    assert "merged apart" in repo.git("merge", "theirs").stderr
    repo.git("reset", "-q", "--hard", "ORIG_HEAD")
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average lora=product")
    assert off(product(written(repo)), (product(ours) + product(theirs)) / 2) < 1e-6


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("l.lora_down.weight", "l.lora_up.weight"),
        ("l.to_q_lora.down.weight", "l.to_q_lora.up.weight"),
        ("m.l.lora_A.default.weight", "m.l.lora_B.default.weight"),
        ("l.lora_embedding_A", "l.lora_embedding_B"),
        ("l.lora_a.weight", "l.lora_b.weight"),
    ],
)
def test_names(repo: GitRepo, first: str, second: str) -> None:
    diverge(repo, *(safetensors_bytes({first: one[A], second: one[B]}) for one in SMALL))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average lora=product")
    found = written(repo)
    mean = (product(SMALL[1]) + product(SMALL[2])) / 2
    assert off(product({A: found[first], B: found[second]}), mean) < 1e-6


def test_factors_of_convolutions_and_turned_ones(repo: GitRepo) -> None:
    """Of a convolution, A has the kernel; MLX has [in, rank] and [rank, out]."""

    def file(one: dict[str, np.ndarray]) -> bytes:
        return safetensors_bytes(
            {
                "c.lora_down.weight": one[A].reshape(4, 1, 2, 3),
                "c.lora_up.weight": one[B].reshape(5, 4, 1, 1),
                "m.lora_a": np.ascontiguousarray(one[A].T),
                "m.lora_b": np.ascontiguousarray(one[B].T),
            }
        )

    diverge(repo, *map(file, SMALL))
    repo.git("merge", "-q", "theirs", GIT_THETA_MERGE="average lora=product")
    found = written(repo)
    mean = (product(SMALL[1]) + product(SMALL[2])) / 2
    down, up = found["c.lora_down.weight"].reshape(4, 6), found["c.lora_up.weight"].reshape(5, 4)
    assert off(product({A: down, B: up}), mean) < 1e-6
    assert off(product({A: found["m.lora_a"].T, B: found["m.lora_b"].T}), mean) < 1e-6


def test_not_a_number(repo: GitRepo) -> None:
    spoilt = {name: values.copy() for name, values in SMALL[2].items()}
    spoilt[B][0, 0] = np.nan
    diverge(repo, *(safetensors_bytes(one) for one in (SMALL[0], SMALL[1], spoilt)))
    said = repo.git("merge", "theirs", GIT_THETA_MERGE="average lora=product").stderr
    assert f"24 entries of {A} are not finite in the result" in said


def test_alpha_of_0(repo: GitRepo) -> None:
    base, ours, theirs = (one | {ALPHA: np.array([8], np.float32)} for one in SMALL)
    theirs[ALPHA] = np.zeros(1, np.float32)
    diverge(repo, *(safetensors_bytes(one) for one in (base, ours, theirs)))
    said = repo.refused("git", "merge", "theirs", GIT_THETA_MERGE="average lora=product")
    assert "alpha is 0" in said


def test_factors_of_other_updates_are_warned_about(repo: GitRepo) -> None:
    names = ("l.hada_w1_a", "l.hada_w1_b", "l.hada_w2_a", "l.hada_w2_b")
    sides = [dict.fromkeys(names, one[B]) for one in SMALL]
    diverge(repo, *(safetensors_bytes(one) for one in sides))
    said = repo.git("merge", "theirs", GIT_THETA_MERGE="average").stderr
    assert "factors of 1 update (l.hada_w1_a, ...) merged apart" in said
