"""values.py against torch where torch defines the answer, and against exact arithmetic elsewhere."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from git_theta import values
from git_theta.dtypes import _ALL, DType, dtype
from git_theta.errors import ThetaError

FLOATS = [d for d in _ALL if d.kind in ("float", "complex")]
NARROW = ["F16", "BF16", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"]
WHOLE = ["U8", "I8", "U16", "I16", "U32", "I32"]


def every_item(d: DType) -> np.ndarray:
    return np.arange(1 << (8 * d.itemsize)).astype(d.storage)


def test_values_and_rounding_equal_torch(subtests: pytest.Subtests) -> None:
    torch = pytest.importorskip("torch")
    for name in NARROW:
        with subtests.test(kind=name):
            d = dtype(name)
            kind = getattr(torch, d.torch)
            items = every_item(d)
            expected = torch.from_numpy(items).view(kind).float().numpy()
            assert np.array_equal(values.to_float(items, d), expected, equal_nan=True)

            random = np.random.default_rng(0)
            numbers = random.integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32)
            scales = np.float32(10) ** random.integers(-45, 8, 200_000).astype(np.float32)
            real = expected[np.isfinite(expected)].astype(np.float64)
            between = (real[1:] + real[:-1]) / 2
            normal = random.standard_normal(200_000, np.float32) * scales
            numbers = np.concatenate([numbers, normal, between.astype(np.float32)])
            saturates = name == "F8_E4M3" and torch.full((), 1e9).to(kind).float().isfinite()
            ours = values.from_float(numbers, d, overflow="saturate" if saturates else "nan")
            theirs = torch.from_numpy(numbers).to(kind).view(torch.uint8 if d.itemsize == 1 else torch.uint16)
            number = ~np.isnan(numbers)
            assert np.array_equal(ours[number], theirs.numpy()[number])


def test_floats_come_back(subtests: pytest.Subtests) -> None:
    for d in FLOATS:
        with subtests.test(kind=d.name):
            items = every_item(d) if d.itemsize <= 2 else np.random.default_rng(1).bytes(80_000)
            items = np.frombuffer(bytes(items), d.storage)
            numbers = values.to_float(items, d)
            real = ~np.isnan(numbers)
            assert np.array_equal(values.from_float(numbers, d)[real], items[real])
            filled = np.empty(items.size, values.carrier(d))
            assert values.to_float(items, d, filled) is filled
            assert np.array_equal(filled, numbers, equal_nan=True)


def test_nan_becomes_quiet_and_keeps_its_sign(subtests: pytest.Subtests) -> None:
    for name in NARROW:
        with subtests.test(kind=name):
            d = dtype(name)
            patterns = np.array([0x7F800001, 0x7FC12345, 0xFF800001, 0xFFFFFFFF], np.uint32)
            items = values.from_float(patterns.view(np.float32), d)
            assert np.isnan(values.to_float(items, d)).all()
            assert items[0] == items[1]
            assert items[2] == items[3]
            if not name.endswith("FNUZ"):
                assert items[2] == items[0] | 1 << (8 * d.itemsize - 1)


@pytest.mark.parametrize(
    ("name", "largest", "past"),
    [
        ("F8_E4M3", 448.0, 0x7F),
        ("F8_E4M3FNUZ", 240.0, 0x80),
        ("F8_E5M2", 57344.0, 0x7C),
        ("F8_E5M2FNUZ", 57344.0, 0x80),
    ],
)
def test_overflow_of_8_bit_floats(name: str, largest: float, past: int) -> None:
    d = dtype(name)
    numbers = np.array([1e30, -1e30, np.inf, largest], np.float32)
    saturated = values.to_float(values.from_float(numbers, d, overflow="saturate"), d)
    assert saturated.tolist() == [largest, -largest, largest, largest]
    items = values.from_float(numbers, d)
    assert items[0] == items[2] == past
    assert values.to_float(items[3:], d) == largest


@given(st.sampled_from(WHOLE), st.floats(width=64))
def test_integers_round_to_even_and_saturate(name: str, number: float) -> None:
    d = dtype(name)
    limits = np.iinfo(d.numpy)
    item = values.from_float(np.array([number]), d).view(d.numpy)[0]
    if np.isnan(number):
        assert item == 0
    elif np.isinf(number):
        assert item == (limits.max if number > 0 else limits.min)
    else:
        assert item == min(max(round(Fraction(number)), limits.min), limits.max)


def test_wide_integers_saturate_to_what_float64_holds() -> None:
    items = values.from_float(np.array([1e300, -1e300, 3.0]), dtype("I64")).view(np.int64)
    assert items.tolist() == [2**63 - 1024, -(2**63), 3]
    assert values.from_float(np.array([1e300]), dtype("U64"))[0] == 2**64 - 2048


def test_bool_and_raw() -> None:
    assert values.from_float(np.array([0.0, -0.0, 0.5, np.nan]), dtype("BOOL")).tolist() == [0, 0, 1, 1]
    assert not values.is_number(dtype("F8_E8M0"))
    with pytest.raises(ValueError, match="no arithmetic"):
        values.to_float(np.zeros(1, np.uint8), dtype("F4"))
    with pytest.raises(ValueError, match="no arithmetic"):
        values.from_float(np.zeros(1), dtype("F4"))


def test_ordered_is_its_own_inverse_and_keeps_the_order(subtests: pytest.Subtests) -> None:
    for d in _ALL:
        with subtests.test(kind=d.name):
            items = every_item(d) if d.itemsize <= 2 else np.random.default_rng(2).bytes(80_000)
            items = np.frombuffer(bytes(items), d.storage)
            integers = values.ordered(items, d)
            assert np.array_equal(values.ordered(integers, d), items)
            in_place = items.copy()
            assert values.ordered(in_place, d, in_place) is in_place
            assert np.array_equal(in_place, integers)
            if d.kind in ("float", "complex"):
                numbers = values.to_float(items, d)
                real = np.isfinite(numbers)
                by_integer = np.argsort(integers.view(f"<i{d.itemsize}")[real])
                assert (np.diff(numbers[real][by_integer]) >= 0).all()
                assert np.unique(integers[real]).size == np.unique(items[real]).size


@given(arrays(np.float64, 20, elements=st.floats(width=64)))
def test_float64_is_rounded_by_way_of_float32(numbers: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    for name in NARROW:
        d = dtype(name)
        assert np.array_equal(values.from_float(numbers, d), values.from_float(single, d))


def test_denormals() -> None:
    values.check_denormals()
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot switch them off")
    try:
        with pytest.raises(ThetaError, match="denormal"):
            values.check_denormals()
    finally:
        torch.set_flush_denormal(False)
    values.check_denormals()
