"""The PyTorch format, against torch."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from torch_files import saved

from git_theta import dtypes
from git_theta.checkpoints import pickle_data, torch_archive, torch_writer
from git_theta.checkpoints.checks import checked
from git_theta.checkpoints.layout import Layout
from git_theta.checkpoints.pytorch import PyTorch
from git_theta.errors import DamagedCheckpoint, ThetaError
from git_theta.tensors import ArrayTensor
from git_theta.testing import FormatContract
from git_theta.testing.formats import join, read_layout, split, tensors

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def loaded(data: bytes, **options: Any) -> Any:
    return torch.load(io.BytesIO(data), **options)


def laid_out(value: Any, **options: Any) -> tuple[Layout, dict[str, bytes], bytes]:
    data = saved(value, **options)
    layout = read_layout(PyTorch(), data)
    spans, skeleton = split(layout, data)
    assert join(layout, spans, skeleton) == data
    return layout, spans, skeleton


def raw(tensor: Any) -> bytes:
    data: bytes = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


def names(layout: Layout) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(span.name, span.dtype.name, span.shape) for span in layout.spans]


def training_checkpoint() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 5))
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3, 5)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "best": 0.25,
        "arguments": {"name": "ü", "layers": [1, 2], "nothing": None, "big": 1 << 70, "negative": -5},
        "tensors": [torch.zeros(2), (torch.ones(3),)],
    }


def tied() -> OrderedDict[str, Any]:
    weight = torch.arange(12.0).reshape(3, 4)
    return OrderedDict(
        {
            "z.weight": weight,
            "a.weight": weight,
            "row": weight[1],
            "column": weight[:, 1],
            "flat": weight.reshape(12),
            "turned": weight.t(),
        }
    )


class Box:
    def __init__(self) -> None:
        self.weight = torch.ones(4)
        self.names = {"a", "b"}


class TestPyTorch(FormatContract):
    def format(self) -> PyTorch:
        return PyTorch()

    def files(self) -> Mapping[str, bytes]:
        torch.manual_seed(1)
        return {
            "state dict": saved(torch.nn.Linear(3, 4).state_dict()),
            "training": saved(training_checkpoint()),
            "tied": saved(tied()),
            "slices only": saved({"b": torch.arange(10)[2:5], "a": torch.arange(6.0).reshape(2, 3).t()}),
            "no tensors": saved({"epoch": 1}),
            "empty": saved({"e": torch.zeros(0, 5), "s": torch.tensor(3), "z": torch.zeros(2, 0)}),
            "young dtypes": saved(
                {"u": torch.ones(2, dtype=torch.uint16), "f": torch.ones(3).to(torch.float8_e5m2)}
            ),
        }


def test_names_of_a_training_checkpoint_are_its_paths() -> None:
    checkpoint = training_checkpoint()
    layout, spans, _ = laid_out(checkpoint)
    expected = {f"model.{name}": tensor for name, tensor in checkpoint["model"].items()}
    for index, state in checkpoint["optimizer"]["state"].items():
        expected |= {f"optimizer.state.{index}.{name}": tensor for name, tensor in state.items()}
    expected |= {"tensors.0": torch.zeros(2), "tensors.1.0": torch.ones(3)}
    assert {name: raw(tensor) for name, tensor in expected.items()} == spans
    assert {span.name: span.shape for span in layout.spans} == {
        n: tuple(t.shape) for n, t in expected.items()
    }
    assert layout.views == ()


TORCH_DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)


@pytest.mark.parametrize("protocol", [2, 5])
def test_every_dtype(protocol: int, subtests: pytest.Subtests) -> None:
    for name in TORCH_DTYPES:
        with subtests.test(dtype=name):
            dtype = getattr(torch, name)
            tensor = torch.arange(48, dtype=torch.uint8).view(torch.bool if name == "bool" else dtype)
            layout, spans, _ = laid_out({"w": tensor}, pickle_protocol=protocol)
            (span,) = layout.spans
            assert span.dtype.torch == name
            assert span.shape == tuple(tensor.shape)
            assert spans["w"] == bytes(range(48))


def test_tied_and_strided_tensors_are_views_of_one_storage() -> None:
    layout, spans, _ = laid_out(tied())
    assert names(layout) == [("a.weight", "F32", (3, 4))]
    values = np.frombuffer(spans["a.weight"], "<f4")
    views = {view.name: view for view in layout.views}
    assert sorted(views) == ["column", "flat", "row", "turned", "z.weight"]
    for name, view in views.items():
        assert view.of == "a.weight"
        strides = tuple(4 * stride for stride in view.strides)
        array = np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, strides)
        assert np.array_equal(array, tied()[name].numpy()), name


def test_a_storage_that_no_tensor_covers_is_named_for_the_first_in_it() -> None:
    base = torch.arange(20, dtype=torch.bfloat16)
    layout, _, _ = laid_out({"y": base[10:], "x": base[:10:2]})
    assert names(layout) == [("storage:x", "BF16", (20,))]
    assert [(v.name, v.offset, v.strides) for v in layout.views] == [("x", 0, (2,)), ("y", 10, (1,))]


def test_a_contiguous_tensor_over_part_of_its_storage_is_a_view() -> None:
    layout, _, _ = laid_out({"w": torch.arange(20)[:5]})
    assert names(layout) == [("storage:w", "I64", (20,))]
    assert [view.name for view in layout.views] == ["w"]


def test_colliding_names_are_told_apart() -> None:
    value = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, 1: torch.zeros(2), "1": torch.ones(2)}
    layout, _, _ = laid_out(value)
    assert [span.name for span in layout.spans] == ["a.b", "a.b#2", "1", "1#2"]


def test_odd_keys() -> None:
    keys = (None, (1, 2), "\ud800", "", True)
    layout, _, _ = laid_out({key: torch.zeros(1) for key in keys})
    assert [span.name for span in layout.spans] == ["#0", "#1", "\\ud800", "", "True"]


def test_a_tensor_or_a_list_alone() -> None:
    assert names(laid_out(torch.ones(2, 3))[0]) == [("tensor", "F32", (2, 3))]
    assert names(laid_out([torch.ones(2)])[0]) == [("0", "F32", (2,))]


def test_parameters_buffers_and_tensors_with_attributes() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.scale = torch.ones(3)
    noted = torch.zeros(4)
    noted.note = "n"
    value = {
        "plain": torch.nn.Parameter(torch.ones(5)),
        "p": parameter,
        "q": parameter,
        "noted": noted,
        "storage": torch.zeros(3, dtype=torch.int16).untyped_storage(),
    }
    layout, _, _ = laid_out(value)
    assert names(layout) == [
        ("plain", "F32", (5,)),
        ("p", "F32", (2,)),
        ("p.3.scale", "F32", (3,)),
        ("noted", "F32", (4,)),
        ("storage", "U8", (6,)),
    ]
    assert [(view.name, view.of) for view in layout.views] == [("q", "p")]


def test_objects_of_any_class_are_looked_into() -> None:
    layout, _, _ = laid_out({"box": Box(), "model": torch.nn.Linear(2, 1)})
    assert {span.name for span in layout.spans} == {
        "box.weight",
        "model._parameters.weight",
        "model._parameters.bias",
    }


def test_tensors_of_other_kinds_are_bytes() -> None:
    quantized = torch.quantize_per_tensor(torch.ones(4, 5), 0.1, 3, torch.qint8)
    per_channel = torch.quantize_per_channel(
        torch.ones(2, 3), torch.ones(2), torch.zeros(2, dtype=torch.long), 0, torch.qint32
    )
    value = {
        "q": quantized,
        "c": per_channel,
        "conjugate": torch.ones(2, dtype=torch.complex64).conj(),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.ones(3, device="meta"),
    }
    layout, _, _ = laid_out(value)
    assert names(layout) == [
        ("q", "U8", (20,)),
        ("c", "U8", (24,)),
        ("c.4.1", "F64", (2,)),
        ("c.4.2", "I64", (2,)),
        ("conjugate", "U8", (16,)),
        ("sparse.1.0", "I64", (2, 3)),
        ("sparse.1.1", "F32", (3,)),
    ]


def test_archives_without_checksums() -> None:
    torch.serialization.set_crc32_options(False)
    try:
        layout, _, _ = laid_out({"w": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert names(layout) == [("w", "F32", (3,))]


def big_endian(data: bytes) -> bytes:
    # Six letters either way; the record's checksum is not looked at.
    return data.replace(b"little", b"big\0\0\0")


def test_big_endian_storages_keep_their_bytes_and_no_names() -> None:
    data = big_endian(saved({"w": torch.ones(3)}))
    assert names(read_layout(PyTorch(), data)) == [("storage:data/0", "U8", (12,))]


def test_files_of_other_kinds_are_not_recognised(tmp_path: Path) -> None:
    legacy = saved({"w": torch.ones(3)}, _use_new_zipfile_serialization=False)
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("folder/readme.txt", "text")
        archive.writestr("folder/data.pkl", b"\x80\x02}.")
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/data.pkl", b"\x80\x02}q\x00." * 99)
    scripted = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(scripted))
    arrays = io.BytesIO()
    np.savez(arrays, a=np.ones(3))
    for data in (legacy, plain.getvalue(), deflated.getvalue(), scripted.read_bytes(), arrays.getvalue()):
        assert not PyTorch().recognises(data[: PyTorch.probe])


def test_an_archive_that_another_program_wrote_with_compressed_storages() -> None:
    source = zipfile.ZipFile(io.BytesIO(saved({"w": torch.ones(300), "v": torch.zeros(3)})))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for entry in source.infolist():
            kind = zipfile.ZIP_DEFLATED if entry.filename.endswith("data/0") else zipfile.ZIP_STORED
            archive.writestr(entry.filename, source.read(entry), compress_type=kind)
    data = target.getvalue()
    layout = read_layout(PyTorch(), data)
    assert [(span.name, span.dtype.name) for span in layout.spans] == [("storage:data/0", "U8"), ("v", "F32")]
    spans, skeleton = split(layout, data)
    assert PyTorch().patch(skeleton, layout, tensors(layout, spans)) == skeleton


@pytest.mark.slow
def test_patched_checksums_are_right_for_new_values() -> None:
    layout, spans, skeleton = laid_out(training_checkpoint())
    changed = {name: bytes(255 - byte for byte in data) for name, data in spans.items()}
    patched = PyTorch().patch(skeleton, layout, tensors(layout, changed))
    data = join(layout, changed, patched)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    again = loaded(data, weights_only=True)
    assert raw(again["model"]["0.weight"]) == changed["model.0.weight"]
    assert again["arguments"] == training_checkpoint()["arguments"]
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(join(layout, changed, skeleton))).testzip()
        zipfile.ZipFile(io.BytesIO(join(layout, changed, skeleton))).read("archive/data/0")


def test_patching_an_archive_of_the_standard_library() -> None:
    # Sizes and checksums in the local headers, no data descriptors.
    named = {"w": ArrayTensor(dtypes.dtype("F32"), (2,), struct.pack("<2f", 1, 2))}
    data = written(named)
    layout = read_layout(PyTorch(), data)
    _, skeleton = split(layout, data)
    changed = {"w": struct.pack("<2f", 3, 4)}
    patched = join(layout, changed, PyTorch().patch(skeleton, layout, tensors(layout, changed)))
    assert zipfile.ZipFile(io.BytesIO(patched)).testzip() is None
    assert loaded(patched)["w"].tolist() == [3, 4]


def written(named: Mapping[str, ArrayTensor], like: bytes | None = None) -> bytes:
    target = io.BytesIO()
    PyTorch().write(target, list(named.items()), like)
    return target.getvalue()


def in_memory(tensor: Any) -> ArrayTensor:
    dtype = dtypes.from_torch(str(tensor.dtype).removeprefix("torch."))
    assert dtype is not None
    return ArrayTensor(dtype, tuple(tensor.shape), raw(tensor))


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_what_is_written(tmp_path: Path, mmap: bool) -> None:
    values = {
        "layer.weight": torch.arange(6.0).reshape(2, 3),
        "layer.bias": torch.ones(3, dtype=torch.bfloat16),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "young": torch.ones(4, dtype=torch.uint16),
        "eight": torch.ones(5).to(torch.float8_e4m3fn),
        "complex": torch.ones(2, dtype=torch.complex32),
        "flags": torch.tensor([True, False]),
    }
    path = tmp_path / "model.pt"
    path.write_bytes(written({name: in_memory(value) for name, value in values.items()}))
    assert zipfile.ZipFile(path).testzip() is None
    read = torch.load(path, weights_only=True, mmap=mmap)
    assert type(read) is OrderedDict
    assert list(read) == list(values)
    for name, value in values.items():
        assert read[name].dtype == value.dtype
        assert read[name].shape == value.shape
        assert raw(read[name]) == raw(value)
    layout = read_layout(PyTorch(), path.read_bytes())
    assert all(span.offset % 64 == 0 for span in layout.spans)


def test_every_dtype_is_written(subtests: pytest.Subtests) -> None:
    for name in TORCH_DTYPES:
        with subtests.test(dtype=name):
            dtype = dtypes.from_torch(name)
            assert dtype is not None
            data = bytes(16) * 3 if name != "bool" else bytes(3)
            count = len(data) * 8 // dtype.bits
            read = loaded(written({"w": ArrayTensor(dtype, (count,), data)}), weights_only=True)["w"]
            assert read.dtype == getattr(torch, name)
            assert tuple(read.shape) == (count,)


def test_writing_keeps_everything_but_the_tensors() -> None:
    checkpoint = training_checkpoint()
    layout, spans, skeleton = laid_out(checkpoint)
    named = tensors(layout, spans)
    named["model.0.weight"] = in_memory(torch.ones(9, 5, dtype=torch.float16))
    named["model.2.extra"] = in_memory(torch.ones(2))
    del named["model.2.bias"]
    read = loaded(written(named, skeleton), weights_only=True)
    assert read["model"]["0.weight"].shape == (9, 5)
    assert read["model"]["0.weight"].dtype == torch.float16
    assert read["model"]["2.extra"].tolist() == [1, 1]
    assert "2.bias" not in read["model"]
    assert read["model"]._metadata == checkpoint["model"]._metadata
    assert read["arguments"] == checkpoint["arguments"]
    assert read["optimizer"]["param_groups"] == checkpoint["optimizer"]["param_groups"]
    assert raw(read["optimizer"]["state"][0]["exp_avg"]) == spans["optimizer.state.0.exp_avg"]
    assert (read["epoch"], read["best"]) == (3, 0.25)


def test_tied_weights_stay_tied_when_their_shape_changes() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 3))
    layout, spans, skeleton = laid_out({"head": weight, "embedding": weight, "other": torch.ones(1)})
    named = tensors(layout, spans)
    named["embedding"] = in_memory(torch.zeros(6, 3))
    read = loaded(written(named, skeleton), weights_only=True)
    assert read["head"].shape == read["embedding"].shape == (6, 3)
    assert read["head"].data_ptr() == read["embedding"].data_ptr()
    assert read["head"].requires_grad


def test_tied_weights_can_be_untied() -> None:
    weight = torch.ones(4, 3)
    value = {"head": weight.view(4, 3), "embedding": weight}
    layout, spans, skeleton = laid_out(value)
    named = tensors(layout, spans)
    named["head"] = in_memory(torch.zeros(2, 3))
    read = loaded(written(named, skeleton), weights_only=True)
    assert read["head"].tolist() == [[0, 0, 0]] * 2
    assert read["embedding"].tolist() == [[1, 1, 1]] * 4


def test_a_removed_storage_takes_all_its_names_along() -> None:
    layout, spans, skeleton = laid_out({**tied(), "kept": torch.ones(2)})
    named = tensors(layout, spans)
    del named["a.weight"]
    assert list(loaded(written(named, skeleton), weights_only=True)) == ["kept"]


def test_a_tensor_with_attributes_can_be_exchanged() -> None:
    noted = torch.zeros(4)
    noted.note = "n"
    layout, spans, skeleton = laid_out({"noted": noted})
    named = {"noted": in_memory(torch.ones(6))}
    read = loaded(written(named, skeleton), weights_only=True)["noted"]
    assert read.tolist() == [1] * 6
    assert read.note == "n"
    assert list(spans) == ["noted"] == [span.name for span in layout.spans]


def test_pickles_of_protocol_5_are_written_again() -> None:
    value = {"b": b"bytes", "a": bytearray(b"array"), "s": {1, 2}, "f": frozenset((3,)), "w": torch.ones(2)}
    layout, spans, skeleton = laid_out(value, pickle_protocol=5)
    named = {**tensors(layout, spans), "more": in_memory(torch.zeros(1))}
    read = loaded(written(named, skeleton), weights_only=False)
    assert {key: read[key] for key in "basf"} == {key: value[key] for key in "basf"}
    assert read["w"].tolist() == [1, 1]
    assert read["more"].tolist() == [0]


REFUSED: dict[str, tuple[Any, list[str], str]] = {
    "a slice": ({"x": torch.arange(9)[3:]}, ["storage:x"], "part of the storage"),
    "a tensor of another kind": ({"q": (torch.ones(9) * 1j).conj()}, ["q"], "part of the storage"),
    "removed from a list": ({"l": [torch.ones(1), torch.ones(2)]}, ["l.0"], "cannot be removed"),
    "no dict to put it in": ([torch.ones(1)], ["0", "w"], "no place"),
    "a number for a key": ({0: torch.ones(1)}, ["0", "1"], "no place"),
    "a key that is taken": ({"epoch": 3}, ["epoch"], "no place"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_to_write(case: str) -> None:
    value, named, why = REFUSED[case]
    _, _, skeleton = laid_out(value)
    with pytest.raises(ThetaError, match=why):
        written({name: in_memory(torch.ones(1)) for name in named}, skeleton)


def test_refuses_to_write_what_torch_lacks_and_like_what_is_no_checkpoint() -> None:
    with pytest.raises(ThetaError, match="F6_E2M3"):
        written({"w": ArrayTensor(dtypes.dtype("F6_E2M3"), (4,), bytes(3))})
    with pytest.raises(ThetaError, match="in the manner of"):
        written({}, b"no checkpoint")
    with pytest.raises(ThetaError, match="two tensors"):
        PyTorch().write(io.BytesIO(), [("w", in_memory(torch.ones(1)))] * 2, None)
    data = big_endian(saved({"w": torch.ones(3)}))
    with pytest.raises(ThetaError, match="big-endian"):
        written({}, split(read_layout(PyTorch(), data), data)[1])


def edited_pickle(data: bytes, edit: Any) -> bytes:
    """The same archive with another pickle, its checksum made right."""
    source = zipfile.ZipFile(io.BytesIO(data))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for entry in source.infolist():
            content = source.read(entry)
            archive.writestr(
                entry.filename, edit(content) if entry.filename.endswith("data.pkl") else content
            )
    return target.getvalue()


DAMAGE = {
    "storage too small": (lambda p: p.replace(b"K\x0ct", b"K\x0dt"), "should have 52 bytes and has 48"),
    "storage not there": (
        lambda p: p.replace(b"X\x01\0\0\x000", b"X\x01\0\0\x009"),
        "data/9, which is not in",
    ),
    "past the end": (lambda p: p.replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86"), "'w' reaches past the end"),
    "cut off": (lambda p: p[:-20], "cut off"),
    "no pickle": (lambda p: b"\xff" + p[1:], "damaged"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_refuses_a_pickle_that_does_not_fit(case: str) -> None:
    edit, why = DAMAGE[case]
    data = saved({"w": torch.zeros(3, 4)})
    assert edited_pickle(data, lambda p: p) != edited_pickle(data, edit)
    with pytest.raises(DamagedCheckpoint, match=why):
        read_layout(PyTorch(), edited_pickle(data, edit))


def test_refuses_a_pickle_with_a_wrong_checksum() -> None:
    data = saved({"weight": torch.zeros(3)})
    with pytest.raises(DamagedCheckpoint, match="CRC-32"):
        read_layout(PyTorch(), data.replace(b"weight", b"height"))
    assert zlib.crc32(b"weight") != zlib.crc32(b"height")


def test_a_pickle_that_would_create_a_file_is_not_executed(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> Any:
            return (exec, (f"open({str(trap)!r}, 'w').close()",))

    data = saved({"w": torch.ones(2), "trap": Trap()})
    layout = read_layout(PyTorch(), data)
    spans, skeleton = split(layout, data)
    again = written({**tensors(layout, spans), "v": in_memory(torch.ones(1))}, skeleton)
    assert names(layout) == [("w", "F32", (2,))]
    assert not trap.exists()
    loaded(again, weights_only=False)  # torch, asked to, does execute what git-theta carried along
    assert trap.exists()


def test_reading_imports_neither_torch_nor_numpy_nor_pickle(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(saved(training_checkpoint()))
    code = (
        "import io, sys; from git_theta.checkpoints.torch_layout import read_layout;"
        f"assert read_layout('pytorch', open({str(path)!r}, 'rb')).spans;"
        "heavy = {'torch', 'numpy', 'pickle', 'zipfile', 'git_theta.checkpoints.torch_writer'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_an_archive_beyond_four_gigabytes(tmp_path: Path) -> None:
    # A sparse file: torch writes the records and leaves holes for the data.
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    path = tmp_path / "large.pt"
    with fake.FakeTensorMode():
        value = {"large": torch.empty(5 << 28), "small": torch.empty(3)}
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(value, path)
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("the file system knows no sparse files")
    with path.open("rb") as file:
        layout = checked(PyTorch().layout(OnDisk(file)), path.stat().st_size)
    assert names(layout) == [("large", "F32", (5 << 28,)), ("small", "F32", (3,))]
    assert layout.spans[1].offset > 5 << 30


class OnDisk:
    size = None

    def __init__(self, file: BinaryIO) -> None:
        self.opened = file

    def head(self, count: int) -> bytes:
        raise AssertionError(f"the first {count} bytes are not needed")

    def file(self) -> BinaryIO:
        return self.opened


def test_wide_entries_are_written_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_writer, "_WIDE", 1)
    values = {"a": torch.ones(5), "b": torch.zeros(3, dtype=torch.int8), "c": torch.ones(2)}
    path = tmp_path / "model.pt"
    path.write_bytes(written({name: in_memory(value) for name, value in values.items()}))
    layout = read_layout(PyTorch(), path.read_bytes())
    assert [span.offset % 64 for span in layout.spans] == [0, 0, 0]
    read = torch.load(path, mmap=True, weights_only=True)
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        n: t.tolist() for n, t in values.items()
    }


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_OPCODES", "MAX_OBJECTS"])
def test_a_pickle_that_is_too_large_leaves_storages_without_names(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    value = {"w": torch.ones(3), "v": torch.zeros(2, dtype=torch.int8)}
    _, _, skeleton = laid_out(value)
    monkeypatch.setattr(torch_archive if limit == "MAX_BYTES" else pickle_data, limit, 10)
    layout, spans, _ = laid_out(value)
    assert names(layout) == [("storage:data/0", "U8", (12,)), ("storage:data/1", "U8", (2,))]
    assert PyTorch().patch(skeleton, layout, tensors(layout, spans)) == skeleton
    with pytest.raises(ThetaError, match="in the manner of"):
        written(tensors(layout, spans), skeleton)


def test_a_bomb_in_a_checkpoint_costs_nothing() -> None:
    laughs = b"\x80\x02]q\x00"
    for level in range(1, 100):
        laughs += b"](" + (b"h" + bytes((level - 1,))) * 10 + b"eq" + bytes((level,))
    data = edited_pickle(saved({"w": torch.ones(3)}), lambda pickle: laughs + b".")
    assert names(read_layout(PyTorch(), data)) == [("storage:data/0", "U8", (12,))]
    claim = b"\x80\x02X\xff\xff\xff\xff."
    with pytest.raises(DamagedCheckpoint, match="pickle is damaged"):
        read_layout(PyTorch(), edited_pickle(data, lambda pickle: claim))


def test_a_layout_that_does_not_belong_to_the_skeleton_is_noticed() -> None:
    layout, spans, skeleton = laid_out({"w": torch.ones(300)})
    with pytest.raises(DamagedCheckpoint):
        PyTorch().patch(skeleton[:900], layout, tensors(layout, spans))
    with pytest.raises(DamagedCheckpoint):
        PyTorch().patch(b"", layout, tensors(layout, spans))
