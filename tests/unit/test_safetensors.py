"""The safetensors format, against the reference implementation and against hostile files."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import dtypes
from git_theta.checkpoints.safetensors import MAX_HEADER, Safetensors
from git_theta.errors import DamagedCheckpoint, ThetaError
from git_theta.tensors import ArrayTensor
from git_theta.testing.formats import (
    FormatContract,
    MemorySource,
    join,
    read_layout,
    split,
    tensors,
)


def entry(dtype: str, shape: list[Any], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def packed(header: Any, data: bytes = b"", padding: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += padding
    return len(text).to_bytes(8, "little") + text + data


def written(named: dict[str, ArrayTensor], like: bytes | None = None) -> bytes:
    target = io.BytesIO()
    Safetensors().write(target, list(named.items()), like)
    return target.getvalue()


ALL = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


def every_dtype() -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "über": "ß"}}
    data = b""
    for name, size in ALL.items():
        start = len(data)
        data += bytes(range(6 * size))
        header[name.lower()] = entry(name, [2, 3], start, len(data))
    for name, shape, size in (("F4", [3, 2], 3), ("F6_E2M3", [4], 3), ("F6_E3M2", [2, 4], 6)):
        start = len(data)
        data += bytes(range(size))
        header[name.lower()] = entry(name, shape, start, len(data))
    end = len(data)
    header["scalar"] = entry("F32", [], end, end + 4)
    header["empty"] = entry("F32", [0, 5], end, end)
    header["nothing"] = entry("BF16", [0], end + 4, end + 4)
    return packed(header, data + b"1234", b"   ")


class TestSafetensors(FormatContract):
    def format(self) -> Safetensors:
        return Safetensors()

    def files(self) -> dict[str, bytes]:
        two = {"a": entry("F32", [2], 0, 8), "b": entry("U8", [3], 8, 11)}
        return {
            "every dtype": every_dtype(),
            "no tensors": packed({}),
            "null metadata": packed({"__metadata__": None, **two}, bytes(11), b"\n\n"),
            "spaces before the header": packed(b"  " + json.dumps(two).encode(), bytes(11)),
            "odd names": packed(
                {"": entry("U8", [1], 0, 1), "a\nb\0": entry("U8", [1], 1, 2), "層": entry("U8", [1], 2, 3)},
                b"abc",
            ),
        }


def test_reads_what_the_reference_implementation_writes() -> None:
    arrays = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "s": np.array(3, np.int64),
        "e": np.zeros((0, 4), np.float16),
        "c": np.array([1 + 2j], np.complex64),
    }
    data = safetensors.numpy.save(arrays, {"k": "v"})
    layout = read_layout(Safetensors(), data)
    spans, skeleton = split(layout, data)
    assert {name: array.tobytes() for name, array in arrays.items()} == spans
    assert {s.name: s.shape for s in layout.spans} == {name: array.shape for name, array in arrays.items()}
    assert skeleton == data[: len(skeleton)]


def test_reference_implementation_reads_what_is_written() -> None:
    data = every_dtype()
    layout = read_layout(Safetensors(), data)
    spans, skeleton = split(layout, data)
    again = written(tensors(layout, spans), skeleton)
    read = dict(safetensors.deserialize(again))
    assert {name: bytes(info["data"]) for name, info in read.items()} == spans
    with_metadata = json.loads(again[8 : 8 + int.from_bytes(again[:8], "little")])
    assert with_metadata["__metadata__"] == {"format": "pt", "über": "ß"}


def test_writes_as_the_reference_implementation_does() -> None:
    arrays = {"b": np.ones(2, np.float32), "a": np.ones(3, np.int8), "c": np.ones(1, np.int64)}
    data = safetensors.numpy.save(arrays)
    layout = read_layout(Safetensors(), data)
    spans, _ = split(layout, data)
    assert written(tensors(layout, spans)) == data


def test_written_tensors_are_aligned() -> None:
    named = {
        "bytes": ArrayTensor(dtypes.dtype("U8"), (3,), b"abc"),
        "double": ArrayTensor(dtypes.dtype("F64"), (1,), bytes(8)),
        "half": ArrayTensor(dtypes.dtype("F16"), (1,), bytes(2)),
    }
    layout = read_layout(Safetensors(), written(named))
    assert [span.name for span in layout.spans] == ["double", "half", "bytes"]
    assert all(span.offset % span.dtype.itemsize == 0 for span in layout.spans)


@pytest.mark.parametrize(
    ("name", "tensor", "why"),
    [
        ("__metadata__", ArrayTensor(dtypes.BYTES, (1,), b"a"), "taken"),
        ("w", ArrayTensor(dtypes.dtype("C128"), (1,), bytes(16)), "C128"),
        ("w", ArrayTensor(dtypes.dtype("F4"), (3,), bytes(2)), "whole byte"),
    ],
)
def test_refuses_to_write_what_nobody_could_read(name: str, tensor: ArrayTensor, why: str) -> None:
    with pytest.raises(ThetaError, match=why):
        written({name: tensor})


def test_refuses_to_write_two_tensors_of_one_name() -> None:
    tensor = ArrayTensor(dtypes.BYTES, (1,), b"a")
    with pytest.raises(ThetaError, match="taken"):
        Safetensors().write(io.BytesIO(), [("w", tensor), ("w", tensor)], None)


def test_unknown_dtype_is_kept_as_bytes() -> None:
    data = packed({"w": entry("F3_E1M1", [8], 0, 3), "v": entry("F32", [1], 3, 7)}, b"abc1234")
    layout = read_layout(Safetensors(), data)
    assert [(s.name, s.dtype.name, s.shape) for s in layout.spans] == [("w", "U8", (3,)), ("v", "F32", (1,))]


GOOD = entry("U8", [4], 0, 4)
BAD = {
    "gap": (packed({"a": GOOD, "b": entry("U8", [4], 6, 10)}, bytes(10)), "'b' leaves a gap"),
    "late start": (packed({"a": entry("U8", [4], 1, 5)}, bytes(5)), "'a' leaves a gap"),
    "overlap": (packed({"a": GOOD, "b": entry("U8", [4], 2, 6)}, bytes(6)), "'b' overlaps"),
    "same place": (packed({"a": GOOD, "b": GOOD}, bytes(4)), "'b' overlaps"),
    "empty inside": (packed({"a": entry("U8", [0], 2, 2), "b": GOOD}, bytes(4)), "'a' overlaps"),
    "past the end": (packed({"a": GOOD}, bytes(3)), "bytes"),
    "too long": (packed({"a": GOOD}, bytes(5)), "bytes"),
    "nothing but a tail": (packed({}, b"1"), "bytes"),
    "twice": (packed(b'{"a":%b,"a":%b}' % ((json.dumps(GOOD).encode(),) * 2), bytes(4)), "'a' stands twice"),
    "two metadata": (packed(b'{"__metadata__":{},"__metadata__":{}}'), "twice"),
    "twice a field": (packed(b'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'), "'a'"),
    "shape and bytes": (packed({"a": entry("F32", [2], 0, 4)}, bytes(4)), "'a' has 4 bytes"),
    "backwards": (packed({"a": entry("U8", [0], 1, 0)}, b"1"), "'a' ends"),
    "no offsets": (packed({"a": {"dtype": "U8", "shape": [4]}}, bytes(4)), "'a' is not described"),
    "three offsets": (packed({"a": {**GOOD, "data_offsets": [0, 4, 4]}}, bytes(4)), "'a' is not described"),
    "negative": (packed({"a": entry("U8", [-4], 0, 4)}, bytes(4)), "'a' is not described"),
    "boolean": (packed({"a": entry("U8", [True], 0, 1)}, b"1"), "'a' is not described"),
    "fraction": (packed({"a": entry("U8", [1.0], 0, 1)}, b"1"), "'a' is not described"),
    "list for an object": (packed({"a": [["dtype", "U8"], ["shape", [0]], ["data_offsets", [0, 0]]]}), "'a'"),
    "number for an object": (packed({"a": 1}), "'a' is not described"),
    "sub-byte rest": (packed({"a": entry("F4", [3], 0, 2)}, bytes(2)), "'a' has 2 bytes"),
    "metadata of numbers": (packed({"__metadata__": {"a": 1}}), "strings"),
    "metadata list": (packed({"__metadata__": []}), "strings"),
    "header is a list": (packed(b"[]"), "object"),
    "no JSON": (packed(b'{"a":'), "JSON"),
    "not a number": (packed(b'{"a":NaN}'), "JSON"),
    "something behind": (packed({}, padding=b"\0"), "JSON"),
    "nested": (packed(b'{"a":' + b"[" * 200_000), "JSON"),
    "not UTF-8": (packed(b'{"\xff":{}}'), "UTF-8"),
    "half a surrogate": (packed({"\ud800": GOOD}, bytes(4)), "Unicode"),
    "a shape too large": (packed({"a": entry("U8", [1 << 40, 1 << 40, 0], 0, 0)}), "less than"),
    "many dimensions": (packed({"a": entry("U8", [1] * 65, 0, 1)}, b"1"), "dimensions"),
    "an endless product": (packed({"a": entry("U8", [2**53] * 200_000, 0, 1)}, b"1"), "200000 dimensions"),
    "long header": ((1 << 60).to_bytes(8, "little") + b'{"a":', "claims"),
    "header over the limit": ((MAX_HEADER + 1).to_bytes(8, "little") + b"{}", "claims"),
    "cut header": (packed({"a": GOOD})[:-1], "cut off"),
    "cut length": (b"\x10\0\0", "before its header"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses(case: str) -> None:
    data, why = BAD[case]
    with pytest.raises(DamagedCheckpoint, match=why):
        read_layout(Safetensors(), data)


# What git-theta refuses and the reference implementation reads: duplicates of equal entries, and shapes
# that nothing can hold. And the tests above whose point is another one.
STRICTER = {"twice", "many dimensions"}


@pytest.mark.parametrize("case", sorted(set(BAD) - STRICTER))
def test_reference_implementation_refuses_the_same(case: str) -> None:
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(BAD[case][0])


@pytest.mark.parametrize("case", TestSafetensors().files())
def test_reference_implementation_reads_the_same(case: str) -> None:
    data = TestSafetensors().files()[case]
    spans, _ = split(read_layout(Safetensors(), data), data)
    assert {name: bytes(info["data"]) for name, info in safetensors.deserialize(data)} == spans


def test_size_is_checked_at_once_where_it_is_known() -> None:
    with pytest.raises(DamagedCheckpoint, match="its header says"):
        Safetensors().layout(MemorySource(packed({"a": GOOD}, bytes(3))))


def test_a_header_of_2_to_the_60_bytes_is_recognised_but_text_is_not() -> None:
    assert Safetensors().recognises((1 << 60).to_bytes(8, "little") + b'{"a":')
    assert Safetensors().recognises((5).to_bytes(8, "little") + b"{")
    assert not Safetensors().recognises(b"function{ }")
    assert not Safetensors().recognises(b'12345678{"a": 1}')
    assert not Safetensors().recognises((5).to_bytes(8, "little") + b"[1,2]")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda n: n != "__metadata__")
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_files_round_trip(data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, max_size=6, unique=True))
    metadata = data.draw(st.none() | st.dictionaries(NAMES, NAMES, max_size=2))
    values: dict[str, ArrayTensor] = {}
    for name in names:
        dtype = dtypes.dtype(data.draw(st.sampled_from(sorted(ALL))))
        shape = data.draw(SHAPES)
        size = dtype.nbytes(shape)
        values[name] = ArrayTensor(dtype, shape, data.draw(st.binary(min_size=size, max_size=size)))
    like = None if metadata is None else packed({"__metadata__": metadata})
    file = written(values, like)
    layout = read_layout(Safetensors(), file)
    spans, skeleton = split(layout, file)
    assert join(layout, spans, skeleton) == file
    assert spans == {name: tensor.bits.tobytes() for name, tensor in values.items()}
    assert {name: bytes(i["data"]) for name, i in safetensors.deserialize(file)} == spans


def test_a_header_that_takes_much_more_memory_than_it_is_long() -> None:
    data = packed(b'{"a":[' + b"{}," * (1 << 20) + b"{}]}")
    with pytest.raises(DamagedCheckpoint, match="lists of lists or of objects"):
        read_layout(Safetensors(), data)
    metadata = {"settings": json.dumps([[{}]] * (1 << 19))}  # what strings hold is nobody's business
    nested = packed({"__metadata__": metadata, "a": entry("U8", [1], 0, 1)}, b"x")
    assert [span.name for span in read_layout(Safetensors(), nested).spans] == ["a"]
