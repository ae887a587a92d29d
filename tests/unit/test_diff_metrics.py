"""How far a tensor moved, whatever its dtype and shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from diff_examples import Content, all_dtypes, opened, tensor, values
from hypothesis import given
from hypothesis import strategies as st

from git_theta.diffs import metrics
from git_theta.diffs.change import Change, comparable, cosine
from git_theta.diffs.metrics import Question, TwoTensors, compare, compare_all
from git_theta.dtypes import dtype
from git_theta.errors import MissingObject
from git_theta.tensors import ArrayTensor


def change_of(old: Content, new: Content, **options: bool) -> Change:
    return compare(TwoTensors(opened(old), opened(new)), **options)


def test_against_numpy(subtests: pytest.Subtests) -> None:
    for kind in ("BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2"):
        with subtests.test(kind=kind):
            rng = np.random.default_rng(0)
            old = tensor(kind, rng.standard_normal((70, 90)))
            new = tensor(kind, values(old) + 0.1 * rng.standard_normal((70, 90)))
            a, b = values(old), values(new)
            found = change_of(old, new)
            assert found.elements == 6300
            assert found.changed == np.count_nonzero(a != b)
            assert found.norm == pytest.approx(np.linalg.norm(b - a), rel=1e-6)
            assert found.old_norm == pytest.approx(np.linalg.norm(a), rel=1e-6)
            assert found.new_norm == pytest.approx(np.linalg.norm(b), rel=1e-6)
            assert found.relative_norm == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-6)
            assert found.rms == pytest.approx(np.sqrt(((b - a) ** 2).mean()), rel=1e-6)
            assert found.max_abs == pytest.approx(np.abs(b - a).max(), rel=1e-6)
            assert found.changed_fraction == pytest.approx((a != b).mean())
            assert found.cosine == pytest.approx(
                float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-7
            )


def test_a_tensor_of_many_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CHUNK_BYTES", 1000)
    rng = np.random.default_rng(0)
    old = tensor("BF16", rng.standard_normal((100, 77)))
    new = tensor("BF16", values(old) * 1.5)
    found = change_of(old, new, binned=True)
    assert found.norm == pytest.approx(np.linalg.norm(values(new) - values(old)), rel=1e-6)
    assert found.bins is not None
    assert found.bins.sum() == 7700


def test_scalars_and_empty_tensors() -> None:
    scalar = change_of(tensor("F32", np.array(3.0)), tensor("F32", np.array(5.0)))
    assert (scalar.elements, scalar.norm, scalar.max_abs, scalar.cosine) == (1, 2.0, 2.0, 1.0)
    empty = change_of(tensor("F32", np.zeros((0, 5))), tensor("F32", np.zeros((0, 5))))
    assert (empty.elements, empty.changed, empty.norm, empty.rms) == (0, 0, 0.0, 0.0)
    assert (empty.relative_norm, empty.changed_fraction, empty.cosine) == (0.0, 0.0, None)


def test_integers_and_bools() -> None:
    found = change_of(tensor("I8", np.array([-128, 5])), tensor("I8", np.array([127, 5])))
    assert (found.norm, found.changed, found.max_abs) == (255.0, 1, 255.0)
    found = change_of(tensor("BOOL", np.array([True, False])), tensor("BOOL", np.array([False, False])))
    assert (found.norm, found.changed) == (1.0, 1)


def test_complex_numbers_count_as_one_element() -> None:
    old, new = np.array([1 + 1j, 2]), np.array([1 + 5j, 2])
    contents = [("C64", (2,), side.astype("<c8").tobytes()) for side in (old, new)]
    found = change_of(*contents)
    assert (found.elements, found.changed, found.norm, found.max_abs) == (2, 1, 4.0, 4.0)
    assert found.cosine == pytest.approx((np.vdot(old, new) / np.linalg.norm(old) / np.linalg.norm(new)).real)


def test_dtypes_without_arithmetic_have_no_norms() -> None:
    found = change_of(("F8_E8M0", (3,), b"\1\2\3"), ("F8_E8M0", (3,), b"\1\2\4"))
    assert (found.changed, found.norm, found.rms, found.relative_norm) == (1, None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1, 0], [0, 1], 0),
        ([1, 0], [-1, 0], -1),
        ([1, 0], [2, 0], 1),
        ([1, 0], [1e-6, 0], 1),
        ([1e-6, 1e-6], [1, 0], math.sqrt(0.5)),
        ([0, 0], [1, 0], None),
        ([1, 0], [0, 0], None),
    ],
)
def test_cosines(old: list[float], new: list[float], expected: float | None) -> None:
    found = change_of(tensor("F32", np.array(old, "f8")), tensor("F32", np.array(new, "f8")))
    assert found.cosine == (None if expected is None else pytest.approx(expected, abs=1e-7))


def test_cosines_close_to_one_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    old = rng.standard_normal(20000).astype("f4").astype("f8")
    new = (old + 1e-4 * rng.standard_normal(20000)).astype("f4").astype("f8")
    a, b = old.astype(np.longdouble), new.astype(np.longdouble)
    expected = 1 - float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))
    found = change_of(tensor("F32", old), tensor("F32", new)).cosine
    assert found is not None
    assert 1 - found == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=20))
def test_cosines_stay_in_bounds(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    found = cosine(*(float(np.linalg.norm(side)) for side in (a, b, b - a)), float(a @ b))
    assert found is None or -1 <= found <= 1


def test_from_zero_to_something_has_no_relative_norm() -> None:
    found = change_of(tensor("F32", np.zeros(3)), tensor("F32", np.ones(3)))
    assert (found.relative_norm, found.cosine, found.rms) == (None, None, 1.0)


def test_a_longer_tensor_is_compared_as_far_as_the_other_goes() -> None:
    old, new = tensor("F32", np.ones((4, 3))), tensor("F32", np.ones((6, 3)))
    found = change_of(old, new)
    assert (found.elements, found.changed) == (12, 0)
    assert change_of(new, old).elements == 12


def test_a_cast_is_compared_by_values() -> None:
    weights = np.random.default_rng(0).standard_normal((100, 100)).astype("f4").astype("f8")
    old, new = tensor("F32", weights), tensor("BF16", weights)
    found = change_of(old, new)
    assert found.norm == pytest.approx(np.linalg.norm(values(new) - weights), rel=1e-6)
    assert found.rank is None


def test_ranges_hold_whole_chunks_of_both_dtypes() -> None:
    assert list(metrics.Ranges(3 << 20, dtype("F32"), dtype("BF16"))) == [(0, 2 << 20), (2 << 20, 3 << 20)]


def test_a_lora_has_its_rank() -> None:
    rng = np.random.default_rng(0)
    old = tensor("BF16", 0.02 * rng.standard_normal((192, 8, 16)))
    low = 0.005 * rng.standard_normal((192, 3)) @ rng.standard_normal((3, 128))
    new = tensor("BF16", values(old) + low.reshape(192, 8, 16))
    assert change_of(old, new).rank == 3


def test_errors_are_answers() -> None:
    def missing() -> TwoTensors:
        raise MissingObject("gone")

    form = dtype("F32")
    pair = TwoTensors(opened(tensor("F32", np.ones(2))), opened(tensor("F32", np.zeros(2))))
    questions = [
        Question("a", form, form, (2,), 2, missing),
        Question("b", form, form, (2,), 2, lambda: pair),
    ]
    (first, error), (second, found) = compare_all(questions)
    assert (first, second) == ("a", "b")
    assert isinstance(error, MissingObject)
    assert isinstance(found, Change)
    assert found.changed == 2


def test_compare_raises_what_reading_raises() -> None:
    class Broken(ArrayTensor):
        def read(self, *_: object) -> np.ndarray:
            raise MissingObject("gone")

    broken = Broken(dtype("F32"), (1,), bytes(4))
    with pytest.raises(MissingObject):
        compare(TwoTensors(broken, broken))


def test_what_does_not_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        change_of(("F4", (2,), b"\0"), tensor("F32", np.ones(1)))


def test_comparable_is_symmetric_and_reflexive() -> None:
    kinds = all_dtypes()
    for one in kinds:
        assert comparable(one, one)
        for other in kinds:
            assert comparable(one, other) == comparable(other, one)
    assert not comparable(dtype("F32"), dtype("F4"))
    assert not comparable(dtype("F32"), dtype("C64"))
    assert comparable(dtype("F32"), dtype("BOOL"))
