"""Compiled and NumPy loops: the same bits, and no access outside of what they are given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import kernels
from git_theta.kernels import portable

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
            module.excess(numbers, field, shift, rest)
        back = np.empty_like(numbers)
        module.read_fields(fields, field, shift, back)
        if escaped:
            module.add_excess(back, field, shift, rest)
        assert np.array_equal(back, numbers)
        with pytest.raises(ValueError):
            module.add_excess(back, field, shift, np.empty(count + 1, numbers.dtype))
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
        lambda: module.excess(two, 8, 0, np.empty(1, "<u2")),
        lambda: module.add_excess(two, 8, 0, np.empty(1, "<u2")),
        lambda: module.classify(two, 7, 8, 0, 17, bytes_[:2]),
        lambda: module.classify(two, 7, 8, 0, 4, bytes_),
        lambda: module.classify(bytes_, 3, 4, 0, 4, bytes_[:2]),
        lambda: module.gather(two, bytes_, b"\0", two.copy()),
        lambda: module.gather(two, bytes_[:2], b"\1", two.copy()),
        lambda: module.scatter(two, bytes_[:2], b"\1\2", two.copy()),
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
