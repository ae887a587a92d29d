"""git-theta's own update kinds pass what those of other packages must."""

from __future__ import annotations

import numpy as np
import pytest

from git_theta.dtypes import dtype
from git_theta.errors import DamagedObject
from git_theta.testing import UpdateContract
from git_theta.testing.updates import Case, tensor_of
from git_theta.updates import registry
from git_theta.updates.interface import Proposal, Update
from git_theta.values import from_float

RANDOM = np.random.default_rng(0)
WEIGHTS = (RANDOM.standard_normal((96, 64)) * 0.02).astype("f4")
OTHER = (RANDOM.standard_normal((96, 64)) * 0.02).astype("f4")
NOISE = (RANDOM.standard_normal((96, 64)) * 1e-5).astype("f4")
LOW_RANK = (RANDOM.standard_normal((96, 4)) @ RANDOM.standard_normal((4, 64)) * 0.01).astype("f4")
ROW = RANDOM.standard_normal(64).astype("f4")


def bf16(array: np.ndarray) -> np.ndarray:
    return from_float(array.ravel(), dtype("BF16")).reshape(array.shape)


class OfKind(UpdateContract):
    name: str
    target: np.ndarray
    bases: tuple[np.ndarray, ...]

    def kind(self) -> Update:
        return type(registry.by_name(self.name))()

    def cases(self) -> dict[str, Case]:
        return {"float32": (tensor_of(self.target), [tensor_of(one) for one in self.bases])}


class TestDelta(OfKind):
    name, target, bases = "delta", WEIGHTS + NOISE, (WEIGHTS, OTHER)


class TestScale(OfKind):
    name, target, bases = "scale", WEIGHTS * ROW, (WEIGHTS,)


class TestRows(OfKind):
    name, target, bases = "rows", np.vstack([WEIGHTS, OTHER[:3]]), (WEIGHTS,)


class TestLowRank(OfKind):
    name, target, bases = "low-rank", WEIGHTS + LOW_RANK, (WEIGHTS,)


class TestCombine(OfKind):
    name, target, bases = "combine", (WEIGHTS + OTHER) / 2, (WEIGHTS, OTHER)


class TestCast(OfKind):
    name = "cast"

    def cases(self) -> dict[str, Case]:
        return {"bfloat16": (tensor_of(bf16(WEIGHTS), "BF16"), [tensor_of(WEIGHTS)])}


def test_all_kinds_but_dense_which_predicts_nothing_are_tested() -> None:
    tested = {one.name for one in OfKind.__subclasses__()}
    assert {*tested, "dense"} == {name for name in registry.names() if name in registry._registry._own}


# The tests find the mistakes that kinds make.


class Unstable(type(registry.by_name("delta"))):  # type: ignore[misc]
    """Predicts something else each time."""

    def predictor(self, dtype, shape, bases, parameters):  # type: ignore[no-untyped-def]
        return self

    def predict(self, start, stop, out):  # type: ignore[no-untyped-def]
        out[:] = RANDOM.integers(0, 255, stop - start)


class Trusting(type(registry.by_name("scale"))):  # type: ignore[misc]
    """Takes the parameters as they come."""

    def predictor(self, dtype, shape, bases, parameters):  # type: ignore[no-untyped-def]
        parameters.values["axis"] + 1
        return super().predictor(dtype, shape, bases, parameters)


class Eager(type(registry.by_name("delta"))):  # type: ignore[misc]
    """Thinks that it is for everything."""

    def propose(self, target, bases):  # type: ignore[no-untyped-def]
        return [Proposal(self.name, tuple(bases[:1]))]


class Useless(type(registry.by_name("delta"))):  # type: ignore[misc]
    """Proposes nothing."""

    def propose(self, target, bases):  # type: ignore[no-untyped-def]
        return ()


@pytest.mark.parametrize(
    ("wrong", "right", "check"),
    [
        (Unstable, TestDelta, UpdateContract.test_tensors_come_back_bit_by_bit),
        (Unstable, TestDelta, UpdateContract.test_ranges_are_parts_of_the_whole),
        (Trusting, TestScale, UpdateContract.test_parameters_that_do_not_fit_are_refused),
        (Eager, TestDelta, UpdateContract.test_any_tensors_may_be_asked_about),
        (Useless, TestDelta, UpdateContract.test_makes_small_what_it_is_for),
    ],
)
def test_finds_the_mistake(wrong, right, check) -> None:  # type: ignore[no-untyped-def]
    class Of(right):  # type: ignore[misc, valid-type]
        def kind(self) -> Update:
            return wrong()

    with pytest.raises((AssertionError, TypeError, KeyError, DamagedObject)):
        check(Of())
