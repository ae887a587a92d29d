"""The rank of a difference: found where it is low, and nowhere else."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from git_theta.diffs import rank
from git_theta.dtypes import dtype
from git_theta.values import from_float

ROWS, COLUMNS = 256, 192


def matrices(kind: str, difference: np.ndarray, scale: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """The bits of a random matrix, and of the same with something added and rounded."""
    weights = scale * np.random.default_rng(0).standard_normal(difference.shape)
    rounded = from_float(weights.ravel(), dtype(kind))
    from git_theta.values import to_float

    moved = to_float(rounded, dtype(kind)).astype(np.float64) + difference.ravel()
    return rounded, from_float(moved, dtype(kind))


def low_rank(number: int, size: float = 0.005, shape: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    rng = np.random.default_rng(number)
    return size * rng.standard_normal((shape[0], number)) @ rng.standard_normal((number, shape[1]))


def found(kind: str, old: np.ndarray, new: np.ndarray, columns: int = COLUMNS, step: int = 0) -> int | None:
    """The rank, looked for in pieces of `step` items, which need not be whole rows."""
    step = step or old.size
    pieces = []
    for start in range(0, old.size, step):
        a, b = old[start : start + step], new[start : start + step]
        share = np.count_nonzero(a != b) / a.size
        pieces.append(rank.sketch(a, b, dtype(kind), start, columns, share))
    return rank.rank([piece for piece in pieces if piece is not None], columns)


def test_a_lora_has_its_rank(subtests: pytest.Subtests) -> None:
    for kind, number in product(("BF16", "F16", "F32"), (1, 4, 16, 33)):
        with subtests.test(kind=kind, number=number):
            old, new = matrices(kind, low_rank(number))
            assert found(kind, old, new) == number


@pytest.mark.parametrize("step", [100 * COLUMNS, 100 * COLUMNS + 57, 90 * COLUMNS - 1])
def test_pieces_of_a_matrix_have_one_rank_together(step: int) -> None:
    old, new = matrices("F32", low_rank(6))
    assert found("F32", old, new, step=step) == 6


def test_pieces_of_rank_two_each_can_be_of_rank_four_together() -> None:
    difference = np.zeros((ROWS, COLUMNS))
    difference[: ROWS // 2] = low_rank(2, shape=(ROWS // 2, COLUMNS))
    difference[ROWS // 2 :] = low_rank(3, shape=(ROWS // 2, COLUMNS))[:, ::-1]
    old, new = matrices("F32", difference)
    assert found("F32", old, new, step=ROWS // 2 * COLUMNS) == 5


@pytest.mark.slow
def test_many_pieces_of_the_same_directions() -> None:
    old, new = matrices("F32", low_rank(8, shape=(1600, 96)))
    assert found("F32", old, new, columns=96, step=40 * 96) == 8


def test_both_sides_can_have_been_rounded(subtests: pytest.Subtests) -> None:
    """From a model in float32 that was rounded before and after."""
    for kind in ("BF16", "F16"):
        with subtests.test(kind=kind):
            weights = 0.02 * np.random.default_rng(0).standard_normal((ROWS, COLUMNS))
            old, new = (from_float(side.ravel(), dtype(kind)) for side in (weights, weights + low_rank(4)))
            assert found(kind, old, new) == 4


def test_noise_has_no_low_rank() -> None:
    old, new = matrices("BF16", 0.002 * np.random.default_rng(1).standard_normal((ROWS, COLUMNS)))
    assert found("BF16", old, new) is None


def test_heavy_tails_have_no_low_rank() -> None:
    old, new = matrices("F32", 0.001 * np.random.default_rng(1).standard_t(2, (ROWS, COLUMNS)))
    assert found("F32", old, new) is None


def test_a_sparse_change_has_no_low_rank() -> None:
    rng = np.random.default_rng(1)
    difference = np.where(rng.random((ROWS, COLUMNS)) < 0.01, rng.standard_normal((ROWS, COLUMNS)), 0)
    old, new = matrices("F32", difference)
    assert found("F32", old, new) is None


def test_a_lora_on_top_of_a_full_fine_tune_has_no_low_rank() -> None:
    noise = 0.002 * np.random.default_rng(1).standard_normal((ROWS, COLUMNS))
    old, new = matrices("BF16", low_rank(4) + noise)
    assert found("BF16", old, new) is None


def test_a_high_rank_is_not_low() -> None:
    old, new = matrices("F32", low_rank(100))
    assert found("F32", old, new) is None


def test_infinities_are_no_reason_to_fail() -> None:
    old, new = matrices("F32", low_rank(4))
    new = new.copy()
    new[1000] = 0x7F800000
    assert found("F32", old, new) is None


def test_too_few_rows_say_nothing() -> None:
    old, new = matrices("F32", low_rank(2))
    assert rank.sketch(old[: 20 * COLUMNS], new[: 20 * COLUMNS], dtype("F32"), 0, COLUMNS, 1.0) is None
    assert rank.rank([], COLUMNS) is None


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((128, 128), "BF16", True),
        ((128, 16, 8), "F32", True),
        ((128,), "F32", False),
        ((4096, 32), "F32", False),
        ((), "F32", False),
        ((128, 128), "I32", False),
        ((128, 128), "F64", False),
        ((128, 128), "C64", False),
        ((0, 128), "F32", False),
    ],
)
def test_applies(shape: tuple[int, ...], kind: str, expected: bool) -> None:
    assert rank.applies(shape, dtype(kind)) is expected
