"""Tensors in memory, and bytes read as other dtypes than they were stored as."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.dtypes import _ALL, dtype
from git_theta.tensors import CHUNK_BYTES, ArrayTensor, chunks, retyped


def test_ranges_of_items(subtests: pytest.Subtests) -> None:
    for kind, shape in product(_ALL, [(), (0,), (4, 0), (8,), (2, 4, 8)]):
        with subtests.test(kind=kind.name, shape=shape):
            data = np.random.default_rng(0).bytes(kind.nbytes(shape))
            tensor = ArrayTensor(kind, shape, data)
            whole = np.frombuffer(data, kind.storage)
            assert tensor.items == whole.size == len(data) // kind.itemsize
            for start in range(0, tensor.items + 1, 5):
                for stop in range(start, tensor.items + 1, 3):
                    assert np.array_equal(tensor.read(start, stop), whole[start:stop])
                    out = np.empty(stop - start, kind.storage)
                    assert tensor.read(start, stop, out) is out
                    assert np.array_equal(out, whole[start:stop])


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_buffer_will_do(buffer: type) -> None:
    tensor = ArrayTensor(dtype("U16"), (2,), buffer(b"\1\0\2\0"))
    assert tensor.read(0, 2).tolist() == [1, 2]
    assert ArrayTensor(dtype("U16"), (0,), buffer(b"")).items == 0


def test_chunks_cover_a_tensor_once(subtests: pytest.Subtests) -> None:
    for name in ("U8", "BF16", "F32", "F64", "C128", "F4"):
        with subtests.test(kind=name):
            kind = dtype(name)
            for nbytes in (0, 16, CHUNK_BYTES - 16, CHUNK_BYTES, CHUNK_BYTES + 16, 3 * CHUNK_BYTES):
                tensor = ArrayTensor(kind, (nbytes * 8 // kind.bits,), np.zeros(nbytes, np.uint8))
                ranges = chunks(tensor)
                assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])][
                    : len(ranges)
                ]
                assert sum(stop - start for start, stop in ranges) == tensor.items
                assert all((stop - start) * kind.itemsize <= CHUNK_BYTES for start, stop in ranges)
                assert len(ranges) == -(-nbytes // CHUNK_BYTES)


SAME_BYTES = [("F64", 6), ("C64", 6), ("F32", 12), ("BF16", 24), ("U8", 48), ("F4", 96), ("C128", 3)]


@pytest.mark.slow
@given(st.sampled_from(SAME_BYTES), st.sampled_from(SAME_BYTES), st.data())
def test_bytes_read_as_another_dtype(
    stored: tuple[str, int], wanted: tuple[str, int], data: st.DataObject
) -> None:
    raw = bytes(range(48))
    tensor = ArrayTensor(dtype(stored[0]), (stored[1],), raw)
    other = retyped(tensor, dtype(wanted[0]), (wanted[1],))
    whole = np.frombuffer(raw, dtype(wanted[0]).storage)
    assert other.items == whole.size
    start = data.draw(st.integers(0, other.items))
    stop = data.draw(st.integers(start, other.items))
    assert np.array_equal(other.read(start, stop), whole[start:stop])
    out = np.zeros(stop - start, whole.dtype)
    assert other.read(start, stop, out) is out
    assert np.array_equal(out, whole[start:stop])


def test_only_as_many_bytes_fit() -> None:
    tensor = ArrayTensor(dtype("F32"), (3,), bytes(12))
    assert retyped(tensor, dtype("F32"), (3,)) is tensor
    for shape in ((2,), (4,), (), (3, 0)):
        with pytest.raises(ValueError, match="number of bytes"):
            retyped(tensor, dtype("F32"), shape)
