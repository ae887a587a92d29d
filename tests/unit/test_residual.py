"""The residual coder: whatever the bits are, they come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import kernels
from git_theta.dtypes import _ALL, DType, dtype
from git_theta.errors import DamagedObject, NewerObject
from git_theta.settings import Grouping
from git_theta.updates import residual
from git_theta.updates.residual import frames, gaps, grouping, numbers
from git_theta.updates.residual.streams import NoRoom, Reader, Writer

SPECIAL = {
    "F16": [0, 0x8000, 1, 0x8001, 0x7BFF, 0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF],
    "BF16": [0, 0x8000, 1, 0x8001, 0x7F7F, 0x7F80, 0xFF80, 0x7F81, 0x7FC0, 0xFFFF],
    "F32": [0, 1 << 31, 1, 0x80000001, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF],
}


def random_items(d: DType, count: int, seed: int) -> np.ndarray:
    """Items like weights, with a few of every special kind among them."""
    random = np.random.default_rng(seed)
    if d.kind == "float" and d.numpy and d.itemsize > 1:
        items = (random.standard_normal(count) * 0.02).astype(d.numpy).view(d.storage)
    elif d.name == "BF16":
        items = (random.standard_normal(count, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    else:
        items = np.frombuffer(random.bytes(count * d.itemsize), d.storage).copy()
    for place, item in enumerate(SPECIAL.get(d.name, ())):
        items[place * 7 % max(count, 1) :: 1000] = item
    return items


def changed(items: np.ndarray, share: float, size: int, seed: int) -> np.ndarray:
    """A share of the items changed by at most about `size` units in the last place."""
    random = np.random.default_rng(seed)
    steps = np.rint(random.standard_normal(items.size) * size).astype(np.int64).astype(items.dtype)
    return np.where(random.random(items.size) < share, items + steps, items)


def round_trip(
    predicted: np.ndarray, target: np.ndarray, d: DType, grouping: Grouping = "on"
) -> bytes | None:
    width = target.nbytes + residual.MARGIN
    before = predicted.copy(), target.copy()
    row = residual.encode(predicted, target, d, width, grouping)
    assert np.array_equal(predicted, before[0])
    assert np.array_equal(target, before[1])
    assert row == residual.encode(predicted, target, d, width, grouping)
    if row is None:
        assert np.array_equal(predicted, target)
        return None
    restored = predicted.copy()
    residual.decode(row, width, restored, d)
    assert np.array_equal(restored, target)
    verified = predicted.copy()
    assert residual.encode(verified, target, d, width, grouping, verify=True) == row
    assert np.array_equal(verified, target)
    return row


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(_ALL),
    st.one_of(st.integers(0, 70), st.integers(0, 3000), st.integers(20_000, 40_000)),
    st.sampled_from([0, 0.001, 0.02, 0.3, 1]),
    st.sampled_from([0, 1, 3, 60, 1000, 10**6, 10**15]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["auto", "on", "off"]),
)
def test_every_dtype_comes_back(
    d: DType, count: int, share: float, size: int, seed: int, grouping: Grouping
) -> None:
    predicted = random_items(d, count, seed)
    round_trip(predicted, changed(predicted, share, size, seed), d, grouping)


@given(st.data())
def test_any_bits_come_back(data: st.DataObject) -> None:
    d = data.draw(st.sampled_from(_ALL))
    size = data.draw(st.integers(0, 40)) * d.itemsize
    predicted, target = (
        np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), d.storage) for _ in range(2)
    )
    round_trip(predicted, target, d, data.draw(st.booleans()))


def test_unrelated_tensors_fit_their_row(subtests: pytest.Subtests) -> None:
    for name in ("BF16", "F16", "F32", "F64", "I8", "F8_E4M3"):
        with subtests.test(kind=name):
            d = dtype(name)
            predicted, target = (
                np.frombuffer(np.random.default_rng(seed).bytes(1 << 17), d.storage) for seed in (1, 2)
            )
            row = round_trip(predicted, target, d)
            assert row is not None
            assert len(row) < (1 << 17) * 1.01


def test_more_large_values_than_the_sample_shows_still_fit() -> None:
    d = dtype("U16")
    predicted = np.zeros(1 << 16, np.uint16)
    target = np.full(1 << 16, 0x8000, np.uint16)
    target[:: (1 << 16) // 4096 | 1] = 1
    target[1:] ^= np.arange(1, 1 << 16, dtype=np.uint16) & 0x7F00
    target[:: (1 << 16) // 4096 | 1] = 1
    assert round_trip(predicted, target, d) is not None


def fine_tuned(name: str, step: float, count: int) -> tuple[np.ndarray, np.ndarray, DType]:
    d = dtype(name)
    random = np.random.default_rng(5)
    weights = random.standard_normal(count, np.float32) * np.float32(0.02)
    moved = weights + random.standard_normal(count, np.float32) * np.float32(0.02 * step)
    if name == "BF16":
        pair = [(w.view(np.uint32) >> 16).astype(np.uint16) for w in (weights, moved)]
    else:
        pair = [w.astype(d.numpy).view(d.storage) for w in (weights, moved)]
    return pair[0], pair[1], d


@pytest.mark.parametrize(
    ("name", "grouped", "plain"), [("BF16", 0.125, 0.18), ("F16", 0.31, 0.335), ("F32", 0.56, 0.585)]
)
def test_grouping_makes_a_full_fine_tune_smaller(name: str, grouped: float, plain: float) -> None:
    predicted, target, d = fine_tuned(name, 2e-3, 1 << 18)
    on, off, auto = (round_trip(predicted, target, d, grouping) for grouping in ("on", "off", "auto"))
    assert on
    assert off
    assert len(on) / target.nbytes < grouped
    assert len(on) < len(off) < plain * target.nbytes
    assert auto == (off if name == "F32" else on), "a twentieth is not worth its time, an eighth is"


def test_a_row_that_does_not_give_the_target_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted, target, d = fine_tuned("BF16", 2e-3, 1 << 15)
    monkeypatch.setattr(kernels, "add", lambda bits, numbers, floats, out: None)
    with pytest.raises(residual.NotExact):
        residual.encode(predicted, target, d, target.nbytes + residual.MARGIN, "on", verify=True)


def test_sparse_changes_take_little() -> None:
    predicted, _, d = fine_tuned("BF16", 0, 1 << 18)
    target = changed(predicted, 0.01, 100, 3)
    row = round_trip(predicted, target, d)
    assert row is not None
    assert len(row) < 0.012 * target.nbytes


def test_a_row_is_a_plain_zstd_frame() -> None:
    zstandard = pytest.importorskip("zstandard")
    predicted, target, d = fine_tuned("F32", 2e-3, 1 << 16)
    width = target.nbytes + residual.MARGIN
    row = residual.encode(predicted, target, d, width, "on")
    assert row is not None
    whole = zstandard.ZstdDecompressor().decompress(row)
    assert len(whole) == width
    used = int.from_bytes(whole[:2], "little") + int.from_bytes(whole[2:6], "little") + 6
    assert not any(whole[used:-4])


def test_damage_is_noticed() -> None:
    predicted, target, d = fine_tuned("BF16", 2e-3, 1 << 15)
    width = target.nbytes + residual.MARGIN
    row = residual.encode(predicted, target, d, width, "on")
    assert row is not None
    for place in range(0, len(row), 97):
        damaged = bytearray(row)
        damaged[place] ^= 4
        with pytest.raises(DamagedObject):
            residual.decode(bytes(damaged), width, predicted.copy(), d)
    for wrong in (row[:-1], b"", row[:3], row + b"\0"):
        with pytest.raises(DamagedObject):
            residual.decode(wrong, width, predicted.copy(), d)
    with pytest.raises(DamagedObject, match="another size"):
        residual.decode(row, width + 1, predicted.copy(), d)
    with pytest.raises(DamagedObject):
        residual.decode(row, width, predicted[:-2].copy(), d)
    with pytest.raises(DamagedObject, match="other exponents"):
        residual.decode(row, width, np.roll(predicted, 1) * 3, d)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60),
    st.binary(max_size=200),
    st.sampled_from(["BF16", "F32", "U8", "F64", "C64"]),
    st.integers(0, 60),
)
def test_hostile_rows_are_refused_or_restore_something(
    description: bytes, streams: bytes, name: str, count: int
) -> None:
    d = dtype(name)
    width = 1024
    writer = Writer(np.empty(width, np.uint8))
    writer.description += description
    writer.stream(len(streams))[:] = np.frombuffer(streams, np.uint8)
    row = frames.compress(writer, width)
    bits = np.zeros(count, d.storage)
    try:
        residual.decode(row, width, bits, d)
    except DamagedObject:
        assert bits.size == count


@given(st.lists(st.integers(0, 5000), unique=True, max_size=60))
def test_gaps(positions: list[int]) -> None:
    ascending = np.array(sorted(positions), np.int64)
    coded = gaps.encode(ascending)
    assert gaps.decode(coded, ascending.size, 5001).tolist() == ascending.tolist()
    if positions:
        with pytest.raises(DamagedObject):
            gaps.decode(coded, ascending.size, int(ascending[-1]))
        with pytest.raises(DamagedObject):
            gaps.decode(coded, ascending.size - 1, 5001)
        with pytest.raises(DamagedObject):
            gaps.decode(np.append(coded, np.uint8(255)), ascending.size, 5001)


def test_no_room_is_told() -> None:
    writer = Writer(np.empty(10, np.uint8))
    with pytest.raises(NoRoom):
        numbers.write_planes(np.arange(6, dtype=np.uint16), writer)
    with pytest.raises(DamagedObject, match="cut off"):
        Reader(b"", np.empty(0, np.uint8)).numbers("B")


def test_groups_hold_one_exponent_each(subtests: pytest.Subtests) -> None:
    for name in ("F32", "BF16", "F16"):
        with subtests.test(kind=name):
            d = dtype(name)
            count = 1 << 16
            bits = random_items(d, count, 8)
            exponent = (bits >> d.mantissa) & ((1 << d.exponent) - 1)
            tagged = (1 << (exponent % 14)).astype(d.storage)
            classes = grouping.choose(tagged, bits, d, "on")
            assert classes is not None
            codes = np.empty(count // 2, np.uint8)
            counts = grouping.classify(bits, d, classes, codes)
            sorted_ = np.empty_like(tagged)
            kernels.gather(tagged, codes, grouping.order(counts), sorted_)
            assert sum(counts) == count
            start = 0
            for members in grouping.lists(counts):
                end = start + sum(counts[number] for number in members)
                if len(members) == 1 and members[0] < classes.count - 1:
                    assert np.unique(sorted_[start:end]).size == 1
                start = end
            restored = np.empty_like(tagged)
            kernels.scatter(sorted_, codes, grouping.order(counts), restored)
            assert np.array_equal(restored, tagged)


def test_a_residual_that_is_coded_in_a_later_way_is_not_called_damaged() -> None:
    writer = Writer(np.empty(1000, np.uint8))
    writer.note("B", 0x80)
    row = frames.compress(writer, 1000)
    with pytest.raises(NewerObject, match="made by a newer git-theta"):
        residual.decode(row, 1000, np.zeros(8, np.uint16), dtype("BF16"))
