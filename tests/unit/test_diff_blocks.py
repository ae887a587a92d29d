"""Sums over ranges of two tensors, against float64 references."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from diff_examples import all_dtypes
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.diffs import blocks
from git_theta.dtypes import dtype
from git_theta.values import from_float, is_number, to_float

NUMBERS = [kind.name for kind in all_dtypes() if is_number(kind)]
FLOATS = [kind for kind in NUMBERS if dtype(kind).kind == "float"]


def reference(old: np.ndarray, new: np.ndarray, kind: str) -> blocks.Sums:
    """The same sums in float64, or longer, in one go."""
    form = dtype(kind)
    a, b = (to_float(bits, form).astype(np.longdouble) for bits in (old, new))
    if form.itemsize == 8 and form.kind in ("int", "uint"):
        a, b = (bits.view(form.numpy).astype(np.longdouble) for bits in (old, new))
    changed, nans, infinities = old != new, np.isnan(b) & ~np.isnan(a), np.isinf(b) & ~np.isinf(a)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(all="ignore"):
        difference = np.where(finite, b - a, 0)
    a, b = np.where(finite, a, 0), np.where(finite, b, 0)
    size = np.abs(difference)
    if form.components == 2:
        size = np.hypot(difference[::2], difference[1::2])
        changed, nans, infinities = (mask[::2] | mask[1::2] for mask in (changed, nans, infinities))
    return blocks.Sums(
        old.size,
        int(changed.sum()),
        *(float(np.sqrt((side * side).sum())) for side in (a, b, difference)),
        float((a * b).sum()),
        float(size.max(initial=0)),
        int(nans.sum()),
        int(infinities.sum()),
    )


def check(found: blocks.Sums, expected: blocks.Sums, within: float = 1e-6) -> None:
    for name in ("items", "changed", "nans", "infinities"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("old", "new", "difference", "largest"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=within, abs=0), name
    if math.isfinite(expected.product):
        slack = 1e-5 * expected.old * expected.new
        assert found.product == pytest.approx(expected.product, rel=within, abs=slack)
    else:
        assert not math.isfinite(found.product)


def random_bits(kind: str, items: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    form = dtype(kind)
    return np.frombuffer(rng.bytes(items * form.itemsize), form.storage)


@pytest.fixture(params=[4096, blocks.BLOCK])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(blocks, "BLOCK", request.param)
    monkeypatch.setattr(blocks, "WIDE_BLOCK", request.param // 4)
    return request.param


def test_any_bits_of_any_dtype(block: int, subtests: pytest.Subtests) -> None:
    for kind in NUMBERS:
        with subtests.test(kind=kind):
            old = random_bits(kind, 10_000, 1)
            new = old.copy()
            new[::3] = random_bits(kind, new[::3].size, 2)
            with np.errstate(all="ignore"):
                expected = reference(old, new, kind)
            check(blocks.compare_bits(old, dtype(kind), new, dtype(kind)), expected)


def test_weights(block: int, subtests: pytest.Subtests) -> None:
    for kind, items in product(FLOATS, [0, 1, 1023, 1024, 1025, 9001]):
        with subtests.test(kind=kind, items=items):
            rng = np.random.default_rng(items)
            weights = 0.1 * rng.standard_normal(items)
            old = from_float(weights, dtype(kind))
            new = from_float(weights + 0.01 * rng.standard_normal(items), dtype(kind))
            check(blocks.compare_bits(old, dtype(kind), new, dtype(kind)), reference(old, new, kind), 2e-7)


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for name in ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"):
        form = dtype(name)
        kind = getattr(torch, form.torch)
        old, new = (torch.tensor(rng.standard_normal(3000)).to(kind) for _ in range(2))
        bits = [
            torch.frombuffer(bytearray(side.view(torch.uint8).numpy().tobytes()), dtype=torch.uint8)
            for side in (old, new)
        ]
        found = blocks.compare_bits(
            bits[0].numpy().view(form.storage), form, bits[1].numpy().view(form.storage), form
        )
        difference = new.double() - old.double()
        assert found.difference == pytest.approx(float(difference.norm()), rel=1e-6)
        assert found.old == pytest.approx(float(old.double().norm()), rel=1e-6)
        assert found.largest == pytest.approx(float(difference.abs().max()), rel=1e-6)
        assert found.changed == int(
            (bits[0].view(-1, form.itemsize) != bits[1].view(-1, form.itemsize)).any(1).sum()
        )


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-20, 1e-14, 1e15, 1e25, 1e37])
def test_float32_whose_squares_it_cannot_hold(scale: float) -> None:
    rng = np.random.default_rng(3)
    old, new = ((scale * rng.standard_normal(5000)).astype("<f4").view("<u4") for _ in range(2))
    check(blocks.compare_bits(old, dtype("F32"), new, dtype("F32")), reference(old, new, "F32"))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e307])
def test_float64_whose_squares_it_cannot_hold(scale: float) -> None:
    rng = np.random.default_rng(3)
    old, new = ((scale * rng.uniform(-1, 1, 50)).astype("<f8").view("<u8") for _ in range(2))
    found, expected = blocks.compare_bits(old, dtype("F64"), new, dtype("F64")), reference(old, new, "F64")
    for name in ("old", "new", "difference", "largest"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12, abs=0)


def test_a_norm_that_no_float64_holds_is_infinite() -> None:
    huge = np.full(4, 1.7e308).view("<u8")
    zero = np.zeros(4).view("<u8")
    assert blocks.compare_bits(zero, dtype("F64"), huge, dtype("F64")).difference == math.inf


def test_steps_of_large_integers() -> None:
    old = np.array([2**62, -(2**63), 2**63 - 1, 5], "<i8").view("<u8")
    new = np.array([2**62 + 1, 2**63 - 1, -(2**63), 5], "<i8").view("<u8")
    found = blocks.compare_bits(old[:1], dtype("I64"), new[:1], dtype("I64"))
    assert (found.difference, found.largest, found.changed) == (1, 1, 1)
    assert blocks.compare_bits(old, dtype("I64"), new, dtype("I64")).largest == pytest.approx(2.0**64)
    unsigned = blocks.compare_bits(old[:1], dtype("U64"), new[:1], dtype("U64"))
    assert unsigned.largest == 1


def test_bits_decide_what_changed() -> None:
    old = np.array([0.0, 1.0, np.nan, 2.0], "<f4").view("<u4").copy()
    new = old.copy()
    assert blocks.compare_bits(old, dtype("F32"), new, dtype("F32")).changed == 0
    new[0] |= 0x80000000  # -0.0
    new[2] ^= 1  # another NaN
    found = blocks.compare_bits(old, dtype("F32"), new, dtype("F32"))
    assert (found.changed, found.difference, found.nans) == (2, 0.0, 0)


def test_what_became_nan_or_infinite_is_counted_and_left_out() -> None:
    old = np.array([1.0, 2.0, np.nan, np.inf, 3.0], "<f4")
    new = np.array([np.nan, np.inf, np.nan, np.nan, 7.0], "<f4")
    found = blocks.compare_bits(old.view("<u4"), dtype("F32"), new.view("<u4"), dtype("F32"))
    assert (found.nans, found.infinities, found.difference, found.old, found.new) == (2, 1, 4.0, 3.0, 7.0)


def test_a_cast_counts_values_that_changed() -> None:
    values = np.array([1.0, 1.0 + 2**-20, np.nan, -0.0], "<f4")
    rounded = from_float(values, dtype("BF16"))
    found = blocks.compare_bits(values.view("<u4"), dtype("F32"), rounded, dtype("BF16"))
    assert (found.changed, found.nans) == (1, 0)
    assert found.difference == pytest.approx(2**-20)


def test_a_cast_of_ordinary_weights() -> None:
    values = np.random.default_rng(0).standard_normal(5000).astype("<f4")
    rounded = from_float(values, dtype("F16"))
    found = blocks.compare_bits(values.view("<u4"), dtype("F32"), rounded, dtype("F16"))
    difference = rounded.view("<f2").astype("f8") - values
    assert found.changed == np.count_nonzero(difference)
    assert found.difference == pytest.approx(float(np.linalg.norm(difference)), rel=1e-6)


def test_dtypes_without_arithmetic_are_compared_by_their_bits() -> None:
    old, new = np.array([1, 2, 3], "u1"), np.array([1, 7, 3], "u1")
    found = blocks.compare_bits(old, dtype("F4"), new, dtype("F4"))
    assert (found.changed, found.difference) == (1, 0.0)


@pytest.mark.parametrize(("one", "other"), [("F4", "F8_E8M0"), ("F32", "C32"), ("F4", "U8")])
def test_what_cannot_be_compared(one: str, other: str) -> None:
    bits = [np.zeros(4, dtype(kind).storage) for kind in (one, other)]
    with pytest.raises(ValueError, match="cannot be compared"):
        blocks.compare_bits(bits[0], dtype(one), bits[1], dtype(other))


def test_histogram_counts_sign_and_exponent() -> None:
    old = np.zeros(6, "<f4")
    new = np.array([0.0, 1.0, 1.9, 2.0, -0.25, -0.3], "<f4")
    bins = blocks.compare_bits(old.view("<u4"), dtype("F32"), new.view("<u4"), dtype("F32"), True).bins
    assert bins is not None
    assert {place: int(bins[place]) for place in np.flatnonzero(bins)} == {
        0: 1,
        127: 2,
        128: 1,
        256 + 125: 2,
    }
    assert bins.size == blocks.BINS


def test_histogram_of_what_did_not_change() -> None:
    same = np.ones(7, "<f4").view("<u4")
    bins = blocks.compare_bits(same, dtype("F32"), same, dtype("F32"), True).bins
    assert bins is not None
    assert bins[0] == 7 == bins.sum()


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.lists(st.floats(width=32), min_size=1, max_size=40),
)
@settings(max_examples=150, deadline=None)
def test_any_floats(old: list[float], new: list[float]) -> None:
    count = min(len(old), len(new))
    sides = [np.array(side[:count], "<f4").view("<u4") for side in (old, new)]
    with np.errstate(all="ignore"):
        expected = reference(*sides, "F32")
    check(blocks.compare_bits(sides[0], dtype("F32"), sides[1], dtype("F32")), expected)


# The norms of numbers near the smallest one have too few bits to compare.
with_norms = st.floats(-1e3, 1e3).filter(lambda value: not 0 < abs(value) < 1e-100)


@given(st.lists(st.lists(with_norms, min_size=1, max_size=20), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_sums_of_parts_are_the_sums_of_all(parts: list[list[float]]) -> None:
    arrays = [np.array(part, "<f8") for part in parts]
    form = dtype("F64")

    def sums(array: np.ndarray) -> blocks.Sums:
        return blocks.compare_bits(array.view("<u8"), form, (2 * array).view("<u8"), form)

    check(blocks.total([sums(array) for array in arrays]), sums(np.concatenate(arrays)), 1e-12)


def test_norm(subtests: pytest.Subtests) -> None:
    for kind in ("BF16", "F32", "F64", "I64", "C64", "U8"):
        with subtests.test(kind=kind):
            bits = random_bits(kind, 5000, 5)
            values = to_float(bits, dtype(kind))
            values = values[np.isfinite(values)].astype(np.longdouble)
            assert blocks.norm(bits, dtype(kind)) == pytest.approx(
                float(np.sqrt((values * values).sum())), rel=1e-6
            )
            assert blocks.norm(bits[:0], dtype(kind)) == 0
