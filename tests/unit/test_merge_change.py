"""Applying changes: entries of one side bit by bit, all others as the sum in float64, rounded once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.dtypes import DType
from git_theta.dtypes import dtype as dtype_of
from git_theta.merges.engine import merge
from git_theta.merges.inputs import Job
from git_theta.merges.options import NoOptions
from git_theta.merges.registry import by_name
from git_theta.tensors import ArrayTensor
from git_theta.values import to_float

APPLY = by_name("apply")
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


def tensor(dtype: DType, bits: list[int]) -> ArrayTensor:
    stored = np.array(bits, np.uint64).astype(dtype.storage)
    return ArrayTensor(dtype, (len(bits),), stored.data.cast("B"))


def applied(dtype: DType, base: list[int], *models: list[int]) -> tuple[list[int], int]:
    """The bits of the result, and how many entries are no numbers that were so not on all sides."""
    job = Job("w", APPLY, NoOptions(), tensor(dtype, base), tuple(tensor(dtype, m) for m in models), dtype)
    (found,) = [(one.tensor.bits.tolist(), one.not_finite) for one in merge([job], threads=1)]
    return found


def numbers(dtype: DType, bits: list[int]) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return to_float(np.array(bits, np.uint64).astype(dtype.storage), dtype).astype(np.float64)


def nearest(dtype: DType, wanted: float) -> set[int]:
    """The finite numbers of a dtype of 8 or 16 bits that are nearest to a number, found by looking at all."""
    codes = np.arange(1 << (8 * dtype.itemsize))
    values = numbers(dtype, codes.tolist())
    codes, values = codes[np.isfinite(values)], values[np.isfinite(values)]
    distance = np.abs(values - wanted)
    best = codes[distance == distance.min()]
    even = [code for code in best.tolist() if code % 2 == 0]
    return set(even or best.tolist()) | {code for code in best.tolist() if values[codes == code][0] == wanted}


@st.composite
def three(draw: st.DrawFn, names: tuple[str, ...] = FLOATS) -> tuple[DType, list[int], list[int], list[int]]:
    """A dtype, and any bits at all of base, ours and theirs; often those of the base."""
    dtype = dtype_of(draw(st.sampled_from(names)))
    codes = st.integers(0, (1 << (8 * dtype.itemsize)) - 1)
    base = draw(st.lists(codes, min_size=1, max_size=12))
    ours, theirs = ([draw(st.one_of(st.just(one), codes)) for one in base] for _ in range(2))
    return dtype, base, ours, theirs


@given(three())
def test_what_one_side_changed_is_taken_bit_by_bit(
    given: tuple[DType, list[int], list[int], list[int]],
) -> None:
    dtype, base, ours, theirs = given
    result, _ = applied(dtype, base, ours, theirs)
    for b, o, t, found in zip(base, ours, theirs, result, strict=True):
        if t == b:
            assert found == o
        elif o == b:
            assert found == t


@given(three())
def test_taking_part_is_symmetric(given: tuple[DType, list[int], list[int], list[int]]) -> None:
    dtype, base, ours, theirs = given
    one, bad = applied(dtype, base, ours, theirs)
    other, also_bad = applied(dtype, base, theirs, ours)
    assert bad == also_bad
    np.testing.assert_array_equal(numbers(dtype, one), numbers(dtype, other))


@pytest.mark.slow
@given(three(("F16", "BF16", "F8_E4M3", "F8_E5M2")))
def test_what_both_changed_is_rounded_once(given: tuple[DType, list[int], list[int], list[int]]) -> None:
    dtype, base, ours, theirs = given
    result, _ = applied(dtype, base, ours, theirs)
    b, o, t = (numbers(dtype, one) for one in (base, ours, theirs))
    with np.errstate(all="ignore"):
        wanted = o + t - b
    codes = numbers(dtype, list(range(1 << (8 * dtype.itemsize))))
    largest = codes[np.isfinite(codes)].max()
    for place, found in enumerate(result):
        both = base[place] not in (ours[place], theirs[place])
        if both and abs(wanted[place]) <= largest:
            assert found in nearest(dtype, wanted[place])
        if both and not np.isfinite([b[place], o[place], t[place]]).all():
            same = o[place] == t[place] or (np.isnan(o[place]) and np.isnan(t[place]))
            assert found == ours[place] if same else np.isnan(numbers(dtype, [found])[0])


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=1, max_size=30))
def test_a_change_and_its_revert_are_the_identity_up_to_rounding_once(
    rows: list[tuple[float, float, float]],
) -> None:
    """ours, to which a change from before to after is applied, and then the change back."""
    ours, before, after = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    dtype = dtype_of("F32")
    bits = [one.view(np.uint32).tolist() for one in (ours, before, after)]
    there, _ = applied(dtype, bits[1], bits[0], bits[2])
    back, _ = applied(dtype, bits[2], there, bits[1])
    moved, returned = numbers(dtype, there), numbers(dtype, back)
    # Rounding moved by half a unit in its last place at most, and what returns again.
    units = (np.spacing(np.abs(one).astype(np.float32)).astype(np.float64) for one in (moved, returned))
    allowed = sum(unit / 2 for unit in units)
    assert (np.abs(returned - ours.astype(np.float64)) <= allowed).all()


def test_signs_of_zero_and_infinities(subtests: pytest.Subtests) -> None:
    for dtype in FLOATS:
        with subtests.test(dtype=dtype):
            kind = dtype_of(dtype)
            minus = 1 << (8 * kind.itemsize - 1)
            base, ours, theirs = [minus, minus, 0, 0, 3], [minus, 0, minus, 0, 3], [minus, minus, 0, minus, 3]
            assert applied(kind, base, ours, theirs) == ([minus, 0, minus, minus, 3], 0)


def test_three_models() -> None:
    """base + all changes; an infinity that one alone has is kept, and so is what nobody changed."""
    inf, dtype = np.inf, dtype_of("F32")
    rows = [[1, -inf, 1, 1, inf], [2, -inf, inf, 1, inf], [4, -inf, 1, 1, 0], [8, -inf, 1, -0.0, 1]]
    base, *models = [np.array(row, np.float32).view(np.uint32).tolist() for row in rows]
    found, bad = applied(dtype, base, *models)
    np.testing.assert_array_equal(numbers(dtype, found), [12, -inf, inf, -0.0, np.nan])
    assert bad == 2
