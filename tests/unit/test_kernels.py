"""Compiled and NumPy loops: the same bits, and no access outside of what they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import kernels
from git_theta.dtypes import dtype
from git_theta.kernels import portable
from git_theta.values import from_float, to_float

native = pytest.importorskip("git_theta.kernels.native", reason="installed without a C compiler")

BOTH = [pytest.param(native, id="native"), pytest.param(portable, id="portable")]
WIDTHS = [1, 2, 4, 8]
COUNTS = st.one_of(st.integers(0, 70), st.integers(0, 3000), st.integers(20_000, 40_000))
SEEDS = st.integers(0, 2**32 - 1)


def bits(width: int, count: int, seed: int) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(seed).bytes(count * width), f"<u{width}").copy()


def small(width: int, count: int, seed: int) -> np.ndarray:
    """Numbers of every size, mostly small ones."""
    random = np.random.default_rng(seed)
    return bits(width, count, seed) >> random.integers(0, 8 * width, count).astype(f"<u{width}")


def test_what_runs_is_compiled() -> None:
    assert kernels.NATIVE
    assert kernels.gather is native.gather


@pytest.mark.slow
def test_what_was_stored_is_read_the_same_without_a_compiler() -> None:
    program = """
import sys
sys.modules["git_theta.kernels.native"] = None
from git_theta import kernels
assert not kernels.NATIVE
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""
    here = Path(__file__).parent
    files = [str(here / name) for name in ("test_reproducible.py", "test_residual.py")]
    done = subprocess.run(
        [sys.executable, "-c", program, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=40, deadline=None)
@given(COUNTS, SEEDS, st.booleans(), st.sampled_from([0.001, 0.1, 1]))
def test_differences(width: int, count: int, seed: int, floats: bool, share: float) -> None:
    predicted = bits(width, count, seed)
    other = bits(width, count, seed + 1)
    target = np.where(np.random.default_rng(seed).random(count) < share, other, predicted)
    results = []
    for module in (native, portable):
        out = np.empty_like(predicted)
        module.difference(predicted, target, floats, out)
        back = out.copy()
        module.add(predicted, back, floats, back)
        assert np.array_equal(back, target)
        changed = module.changed(predicted, target)
        where = np.empty(changed, np.int64)
        module.positions(predicted, target, where)
        results.append((out.tolist(), where.tolist()))
    assert results[0] == results[1]
    assert results[0][1] == np.flatnonzero(predicted != target).tolist()


@pytest.mark.parametrize("module", BOTH)
def test_differences_follow_the_order_of_the_values(module) -> None:
    predicted = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x3F80, 0xBF80], np.uint16)
    target = np.array([0x8000, 0x0000, 0x8001, 0x0001, 0x3F81, 0xBF81], np.uint16)
    out = np.empty(6, np.uint16)
    module.difference(predicted, target, True, out)
    assert out.tolist() == [1, 1, 5, 5, 2, 2]


@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=40, deadline=None)
@given(COUNTS, SEEDS, st.integers(0, 100))
def test_planes(width: int, count: int, seed: int, more: int) -> None:
    items = bits(width, count, seed)
    results = []
    for module in (native, portable):
        planes = np.full(width * (count + more), 7, np.uint8)
        module.split_planes(items, planes)
        back = np.empty_like(items)
        module.join_planes(planes, back)
        assert np.array_equal(back, items)
        results.append(planes)
    assert np.array_equal(*results)
    rows = results[0].reshape(width, -1)
    assert np.array_equal(rows[:, :count].T.copy().reshape(-1), items.view(np.uint8))
    assert not rows[:, count:].any()


@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=60, deadline=None)
@given(COUNTS, SEEDS, st.data())
def test_fields(width: int, count: int, seed: int, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([1, 2, 4, 8]))
    shift = 4 * data.draw(st.integers(0, 2 * width - 2)) if field == 8 else 0
    numbers = small(width, count, seed)
    size = shift // 8 * count + (shift % 8 > 0) * -(-count // 2) + -(-count * field // 8)
    results = []
    for module in (native, portable):
        fields = np.empty(size, np.uint8)
        escaped = module.write_fields(numbers, field, shift, fields)
        rest = np.empty(escaped, numbers.dtype)
        if escaped:
            module.excess(numbers, fields, field, shift, rest)
        back = np.empty_like(numbers)
        module.read_fields(fields, field, shift, back)
        if escaped:
            module.add_excess(back, fields, field, shift, rest)
        assert np.array_equal(back, numbers)
        with pytest.raises(ValueError):
            module.add_excess(back, fields, field, shift, np.empty(count + 1, numbers.dtype))
        results.append((fields.tolist(), rest.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("width", [2, 4])
@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.integers(0, 50), st.integers(0, 3000), st.sampled_from([131_072, 140_001, 262_145])),
    SEEDS,
    st.integers(1, 16),
    st.integers(0, 255),
    st.booleans(),
)
def test_grouping(width: int, pairs: int, seed: int, count: int, top: int, normal: bool) -> None:
    random = np.random.default_rng(seed)
    items = bits(width, 2 * pairs, seed)
    if normal:
        items = (random.standard_normal(2 * pairs, np.float32).view("<u4") >> (32 - 8 * width)).astype(
            f"<u{width}"
        )
    differences = bits(width, 2 * pairs, seed + 1)
    mantissa, exponent = (7, 8) if width == 2 else (23, 8)
    if seed % 2 and width == 2:
        mantissa, exponent = 10, 5
    results = []
    for module in (native, portable):
        codes = np.empty(pairs, np.uint8)
        counts = module.classify(items, mantissa, exponent, top, count, codes)
        assert sum(counts) == 2 * pairs
        order = bytes(random.permutation(count).tolist()) if not results else results[0][1]
        out = np.empty_like(differences)
        module.gather(differences, codes, order, out)
        back = np.empty_like(differences)
        module.scatter(out, codes, order, back)
        assert np.array_equal(back, differences)
        results.append((codes.tolist(), order, counts, out.tolist()))
    assert results[0] == results[1]


def floats(width: int, count: int, seed: int, wild: bool) -> np.ndarray:
    """Items as kernels take them: bfloat16 or float32, like weights, or of any bits."""
    if wild:
        return bits(width, count, seed)
    values = 0.02 * np.random.default_rng(seed).standard_normal(count, np.float32)
    return (values.view("<u4") >> (32 - 8 * width)).astype(f"<u{width}")


def values(items: np.ndarray) -> np.ndarray:
    return (items.astype("<u4") << (32 - 8 * items.itemsize)).view("<f4").astype(np.float64)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("width", [2, 4])
@settings(max_examples=40, deadline=None)
@given(COUNTS, SEEDS, st.lists(st.floats(-3, 3), min_size=1, max_size=5), st.booleans())
def test_weighted_sums(
    width: int, wide: bool, count: int, seed: int, coefficients: list[float], wild: bool
) -> None:
    inputs = tuple(floats(width, count, seed + i, wild) for i in range(len(coefficients)))
    results = []
    for module in (native, portable):
        out = inputs[0].copy()
        counts = module.weighted_sum((out, *inputs[1:]), tuple(coefficients), wide, out)
        results.append((counts, out.tolist()))
    assert results[0] == results[1]
    form = dtype("BF16" if width == 2 else "F32")
    kind = np.float64 if wide else np.float32
    total = np.zeros(count, kind)
    with np.errstate(all="ignore"):
        for place, (items, coefficient) in enumerate(zip(inputs, coefficients, strict=True)):
            product = kind(coefficient) * values(items).astype(kind)
            total = total + product if place else product
        rounded = from_float(total, form)
    finite = np.isfinite(total)
    found = np.array(results[0][1], f"<u{width}")
    assert np.array_equal(found, np.where(finite, rounded, inputs[0]))
    with np.errstate(all="ignore"):
        lost = finite & ~np.isfinite(to_float(rounded, form))
    assert results[0][0] == (np.count_nonzero(~finite), np.count_nonzero(lost))


@pytest.mark.parametrize("module", BOTH)
def test_a_mean_is_rounded_to_nearest_even(module) -> None:
    one, other = np.array([0x3F80, 0x3F81, 0x3F80], "<u2"), np.array([0x3F81, 0x3F82, 0x3F80], "<u2")
    out = np.empty(3, "<u2")
    assert module.weighted_sum((one, other), (0.5, 0.5), False, out) == (0, 0)
    assert out.tolist() == [0x3F80, 0x3F82, 0x3F80]


@pytest.mark.parametrize("module", BOTH)
def test_what_is_too_large_is_counted(module) -> None:
    largest = np.array([0x7F7F, 0x7F7F, 0x7F80, 0x3F80], "<u2")
    out = np.empty(4, "<u2")
    assert module.weighted_sum((largest,), (1.003,), False, out) == (1, 2)
    assert out.tolist() == [0x7F80, 0x7F80, 0x7F80, 0x3F80]
    assert module.weighted_sum((largest,), (3.0,), True, out) == (1, 2)


@pytest.mark.parametrize("width", [2, 4])
@settings(max_examples=40, deadline=None)
@given(COUNTS, SEEDS, st.sampled_from([0.0, 0.01, 1.0]))
def test_sums(width: int, count: int, seed: int, share: float) -> None:
    old = floats(width, count, seed, False)
    other = floats(width, count, seed + 1, False)
    new = np.where(np.random.default_rng(seed).random(count) < share, other, old)
    a, b = values(old), values(new)
    expected = [np.dot(a, a), np.dot(b, b), np.dot(b - a, b - a), np.dot(a, b)]
    for module in (native, portable):
        changed, *sums, largest = module.sums(old, new)
        assert changed == np.count_nonzero(old != new)
        assert largest == pytest.approx(np.abs(b - a).max(initial=0), rel=1e-7)
        assert sums == pytest.approx(expected, rel=1e-6, abs=1e-6 * expected[0])
        assert module.squares(old) == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize("width", [2, 4])
@settings(max_examples=40, deadline=None)
@given(COUNTS, SEEDS, st.booleans())
def test_differences_of_values(width: int, count: int, seed: int, wild: bool) -> None:
    old, new = floats(width, count, seed, wild), floats(width, count, seed + 1, wild)
    with np.errstate(all="ignore"):
        expected = (values(new).astype(np.float32) - values(old).astype(np.float32)).astype(np.float32)
    expected[~np.isfinite(expected)] = 0
    for module in (native, portable):
        out = np.empty(count, np.float32)
        module.subtract(old, new, out)
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("module", BOTH)
def test_sums_of_what_float32_cannot_hold_are_not_finite(module) -> None:
    huge = np.full(2000, 1e30, np.float32).view("<u4")
    assert not np.isfinite(module.sums(huge, huge)[1])
    assert not np.isfinite(module.squares(huge))
    nan = np.full(5, np.nan, np.float32).view("<u4")
    assert not np.isfinite(module.sums(nan, nan)[1])


@pytest.mark.parametrize("module", BOTH)
def test_float32_sums_keep_their_promise(module) -> None:
    """For the worst order of additions there is: one after the other."""
    ones = np.full(1024, np.float32(1 + 2**-12))
    exact = 1024 * (1 + 2**-12) ** 2
    one_by_one = np.cumsum(ones * ones)[-1]
    assert abs(np.sqrt(float(one_by_one)) / np.sqrt(exact) - 1) < 3.1e-5
    assert np.sqrt(module.squares(ones.view("<u4"))) == pytest.approx(np.sqrt(exact), rel=1e-6)


@pytest.mark.parametrize("module", BOTH)
def test_lengths_and_types_that_do_not_fit_are_refused(module) -> None:
    two, four = np.zeros(4, "<u2"), np.zeros(4, "<u4")
    bytes_ = np.zeros(4, np.uint8)
    for call in (
        lambda: module.changed(two, four),
        lambda: module.changed(two, two[:3]),
        lambda: module.positions(two, two, np.empty(1, np.int64)),
        lambda: module.positions(two, two + np.uint16(1), np.empty(1, np.int64)),
        lambda: module.difference(two, two, True, four),
        lambda: module.add(two, two[:2], True, two),
        lambda: module.split_planes(two, bytes_),
        lambda: module.join_planes(bytes_, two),
        lambda: module.write_fields(two, 3, 0, bytes_),
        lambda: module.write_fields(two, 8, 8, bytes_),
        lambda: module.write_fields(two, 4, 4, bytes_),
        lambda: module.read_fields(bytes_, 8, 16, two),
        lambda: module.read_fields(bytes_, 8, -4, two),
        lambda: module.excess(two, bytes_, 8, 0, np.empty(1, "<u2")),
        lambda: module.add_excess(two, bytes_, 8, 0, np.empty(1, "<u2")),
        lambda: module.classify(two, 7, 8, 0, 17, bytes_[:2]),
        lambda: module.classify(two, 7, 8, 0, 4, bytes_),
        lambda: module.classify(bytes_, 3, 4, 0, 4, bytes_[:2]),
        lambda: module.gather(two, bytes_, b"\0", two.copy()),
        lambda: module.gather(two, bytes_[:2], b"\1", two.copy()),
        lambda: module.scatter(two, bytes_[:2], b"\1\2", two.copy()),
        lambda: module.weighted_sum((), (), False, two),
        lambda: module.weighted_sum((two,), (1.0, 1.0), False, two),
        lambda: module.weighted_sum((two, four), (1.0, 1.0), False, two),
        lambda: module.weighted_sum((bytes_,), (1.0,), False, bytes_),
        lambda: module.sums(two, four),
        lambda: module.sums(two, two[:3]),
        lambda: module.squares(bytes_),
        lambda: module.subtract(two, four, np.empty(4, np.float32)),
        lambda: module.subtract(two, two, np.empty(3, np.float32)),
    ):
        with pytest.raises(ValueError):
            call()


def test_only_arrays_that_can_be_written_are_filled() -> None:
    locked = np.zeros(4, "<u2")
    locked.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        native.difference(locked, locked, True, locked)
    with pytest.raises((ValueError, BufferError)):
        native.changed(np.zeros(8, "<u2")[::2], np.zeros(4, "<u2"))
    with pytest.raises(TypeError):
        native.changed(None, locked)


@pytest.mark.parametrize("module", BOTH)
def test_packets_are_read_up_to_what_is_not_contents(module) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"abc0007xyz0005u0000")
        out, header = bytearray(20), bytearray(4)
        filled, left, have = 0, 3, 0
        while left:
            got, left, have = module.read_packets(reading, memoryview(out)[filled:], left, memoryview(header))
            filled += got
            if not left and have == 4 and header != b"0000":
                left, have = int(bytes(header), 16) - 4, 0
        assert (bytes(out[:filled]), have, bytes(header)) == (b"abcxyzu", 4, b"0000")
        os.write(writing, b"0123456789")
        assert module.read_packets(reading, memoryview(out)[:4], 9, memoryview(header)) == (4, 5, 0)
        assert module.read_packets(reading, memoryview(out)[:5], 5, memoryview(header)) == (5, 0, 1)
        assert bytes(out[:5]) == b"45678"
        os.close(writing)
        assert module.read_packets(reading, memoryview(out), 5, memoryview(header)) == (0, 5, 0)
    finally:
        os.close(reading)
    with pytest.raises(OSError):
        module.read_packets(reading, memoryview(out), 5, memoryview(header))
