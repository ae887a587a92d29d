"""What one tensor's values look like."""

from __future__ import annotations

import numpy as np
import pytest
from diff_examples import all_dtypes, opened, random_model, tensor, values

from git_theta.diffs import blocks, metrics
from git_theta.diffs.statistics import Statistics, corner, histogram, statistics, statistics_of_all
from git_theta.dtypes import dtype
from git_theta.errors import MissingObject
from git_theta.tensors import ArrayTensor, Tensor
from git_theta.values import is_number


@pytest.mark.parametrize("step", [1000, 4 << 20])
def test_against_numpy(step: int, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests) -> None:
    for kind in ("BF16", "F16", "F32", "F64", "F8_E4M3", "I8", "U16", "I64", "BOOL"):
        with subtests.test(kind=kind):
            monkeypatch.setattr(metrics, "CHUNK_BYTES", step)
            monkeypatch.setattr(blocks, "BLOCK", step // 8)
            rng = np.random.default_rng(0)
            content = tensor(kind, rng.integers(0, 2 if kind == "BOOL" else 100, (50, 60)))
            if dtype(kind).kind == "float":
                content = tensor(kind, 5 + rng.standard_normal((50, 60)) * (rng.random((50, 60)) < 0.9))
            found, known = statistics(opened(content)), values(content)
            assert found.elements == 3000
            assert found.zeros == np.count_nonzero(known == 0)
            assert found.norm == pytest.approx(np.linalg.norm(known), rel=1e-12)
            assert found.mean == pytest.approx(known.mean(), rel=1e-12)
            assert found.std == pytest.approx(known.std(), rel=1e-9)
            assert (found.minimum, found.maximum) == (known.min(), known.max())
            assert found.sparsity == found.zeros / 3000


def test_a_large_mean_hides_no_variance() -> None:
    content = tensor("F64", 1e9 + np.random.default_rng(0).standard_normal(100_000))
    assert statistics(opened(content)).std == pytest.approx(values(content).std(), rel=1e-6)


def test_what_is_not_finite_is_counted_apart() -> None:
    found = statistics(opened(tensor("F32", np.array([1.0, np.nan, np.inf, -np.inf, 3.0, 0.0]))))
    assert (found.elements, found.nans, found.infinities, found.zeros) == (6, 1, 2, 1)
    assert (found.mean, found.minimum, found.maximum) == (pytest.approx(4 / 3), 0.0, 3.0)
    nothing = statistics(opened(tensor("F32", np.array([np.nan, np.inf]))))
    assert nothing == Statistics(2, 1, 1, 0, 0.0)


def test_complex_numbers_by_modulus() -> None:
    found = statistics(opened(("C64", (2,), np.array([3 + 4j, 0], "<c8").tobytes())))
    assert (found.elements, found.norm, found.mean, found.zeros) == (2, 5.0, 2.5, 1)


def test_scalars_and_empty_tensors() -> None:
    assert statistics(opened(tensor("F32", np.array(7.0)))).mean == 7.0
    empty = statistics(opened(tensor("F32", np.zeros((0, 3)))))
    assert empty == Statistics(0, norm=0.0)
    assert empty.sparsity == 0


def test_dtypes_without_arithmetic(subtests: pytest.Subtests) -> None:
    for kind in [one.name for one in all_dtypes() if not is_number(one)]:
        with subtests.test(kind=kind):
            assert statistics(opened((kind, (8,), bytes(8)))) == Statistics(8 * 8 // dtype(kind).bits)


def test_many_tensors_in_order() -> None:
    model = random_model()
    asked = [(name, dtype(c[0]), opened(c).items, lambda c=c: opened(c)) for name, c in model.items()]
    found = list(statistics_of_all(asked, threads=3))
    assert [name for name, _ in found] == list(model)
    for name, known in found:
        assert isinstance(known, Statistics)
        assert known.norm == pytest.approx(np.linalg.norm(values(model[name])))


def test_errors() -> None:
    def missing() -> Tensor:
        raise MissingObject("gone")

    ((_, error),) = statistics_of_all([("a", dtype("F32"), 4, missing)])
    assert isinstance(error, MissingObject)

    class Broken(ArrayTensor):
        def read(self, *_: object) -> np.ndarray:
            raise MissingObject("gone")

    with pytest.raises(MissingObject):
        statistics(Broken(dtype("F32"), (1,), bytes(4)))


def test_histogram() -> None:
    content = tensor("F32", np.array([0.0, 1.0, 1.0, 4.0, np.nan]))
    found = histogram(opened(content), statistics(opened(content)), bins=4)
    assert found is not None
    assert found.edges == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert found.counts == (1, 2, 0, 1)


def test_histogram_of_one_value() -> None:
    content = tensor("F32", np.full(9, 2.0))
    found = histogram(opened(content), statistics(opened(content)), bins=2)
    assert found is not None
    assert sum(found.counts) == 9


def test_no_histogram_of_nothing() -> None:
    content = tensor("F32", np.array([np.nan]))
    assert histogram(opened(content), statistics(opened(content))) is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 4), [[0, 1], [4, 5]]),
        ((2, 3, 2), [[0, 1], [2, 3]]),
        ((5,), [[0, 1]]),
        ((1, 1), [[0]]),
        ((), [[0]]),
        ((0, 3), []),
    ],
)
def test_corner(shape: tuple[int, ...], expected: list[list[float]]) -> None:
    content = tensor("F32", np.arange(int(np.prod(shape)), dtype=float).reshape(shape))
    assert corner(opened(content), 2, 2) == expected


def test_corner_of_other_dtypes() -> None:
    assert corner(opened(("C64", (1, 2), np.array([3 + 4j, 1j], "<c8").tobytes()))) == [[5, 1]]
    assert corner(opened(("F4", (4,), bytes(2)))) == []
