"""Objects: read by any Zarr library, and never read wrongly when they are damaged."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from git_theta import zstd
from git_theta.dtypes import dtype
from git_theta.errors import DamagedObject, NewerObject
from git_theta.objects import arrays, codec, container
from git_theta.objects.arrays import ArrayInfo, data_array, inner_items, residual_array
from git_theta.objects.container import Container
from git_theta.objects.container_writer import ContainerWriter
from git_theta.objects.members import Member, Slice
from git_theta.objects.store import LocalStore
from git_theta.tensors import CHUNK_BYTES
from git_theta.updates import registry, residual

DIGEST = sha256(b"tensor").hexdigest()


class Memory:
    """A file that lies in memory, and counts how much is read at once."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.most = data, len(data), 0

    def pread(self, count: int, offset: int) -> bytes:
        self.most = max(self.most, count)
        return self.data[offset : offset + count]


def opened(data: bytes) -> Container:
    return Container(Memory(data))  # type: ignore[arg-type]


def member_of(items: NDArray[Any], start: int = 0, **more: Any) -> Member:
    slices = {"values": Slice(items.itemsize, start, items.size)}
    return Member(DIGEST, dtype(f"U{8 * items.itemsize}"), items.shape, "dense", arrays=slices, **more)


def write(*data: NDArray[Any], rows: dict[int, list[bytes | None]] | None = None, **more: Any) -> bytes:
    """An object with one data array for each array, and residual arrays with these frames by width."""
    file = io.BytesIO()
    writer = ContainerWriter(file)
    for items in data:
        inner = inner_items(items.size, items.itemsize)
        writer.begin(data_array(items.itemsize), ArrayInfo(items.size, items.itemsize, inner, True))
        for start in range(0, items.size, inner):
            part = items[start : start + inner]
            writer.chunk(codec.encode(part, inner) if part.any() else None)
        writer.end()
    for width, frames in (rows or {}).items():
        writer.begin(f"residual{width}", ArrayInfo(len(frames), width, 1, False))
        for frame in frames:
            writer.chunk(frame)
        writer.end()
    oid, size = writer.finish([member_of(items, **more).record() for items in data])
    written = file.getvalue()
    assert (oid, size, writer.written) == (sha256(written).hexdigest(), len(written), len(written))
    return written


def read(data: bytes, itemsize: int) -> NDArray[Any]:
    """All items of a data array."""
    found, name = opened(data), data_array(itemsize)
    info = found.arrays[name]
    out = np.full(info.length, 7, f"<u{itemsize}")
    for number in range(info.count):
        part = out[number * info.inner : (number + 1) * info.inner]
        frame = found.frame(name, number)
        if frame is None:
            part[:] = 0
        else:
            codec.decode(frame, info.inner, part)
    return out


def example(itemsize: int = 2, items: int = 1000) -> NDArray[Any]:
    random = np.random.default_rng(itemsize)
    return (random.standard_normal(items) * 100).astype(np.int64).astype(f"<u{itemsize}")


@given(
    st.sampled_from(arrays.ITEM_SIZES),
    st.integers(1, 3000),
    st.integers(0, 1 << 32),
    st.sampled_from(["random", "zeros", "few"]),
)
@settings(max_examples=60)
def test_items_come_back(itemsize: int, items: int, seed: int, kind: str) -> None:
    data = np.zeros(items * itemsize, np.uint8)
    if kind == "random":
        data[:] = np.frombuffer(np.random.default_rng(seed).bytes(data.size), np.uint8)
    elif kind == "few":
        data[seed % data.size] = 1
    wanted = data.view(f"<u{itemsize}")
    assert np.array_equal(read(write(wanted), itemsize), wanted)


@pytest.mark.parametrize("itemsize", arrays.ITEM_SIZES)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_items_come_back_around_the_size_of_a_chunk(itemsize: int, more: int) -> None:
    wanted = np.zeros(CHUNK_BYTES // itemsize + more, f"<u{itemsize}")
    wanted[::1000] = 5
    wanted[-1] = 9
    data = write(wanted)
    assert opened(data).arrays[data_array(itemsize)].count == 1 + (more > 0)
    assert np.array_equal(read(data, itemsize), wanted)


def frame_of(row: NDArray[Any], width: int) -> bytes:
    """The frame that restores these bytes where nothing was predicted."""
    frame = residual.encode(np.zeros_like(row), row, dtype("U8"), width, "off")
    assert frame is not None
    return frame


def many_arrays() -> bytes:
    """An object with an array of every kind; chunks of zeros and several inner chunks among them."""
    wide = np.zeros(2 * CHUNK_BYTES // 8 + 3, "<u8")
    wide[-2:] = 1 << 60, 3
    rows = {width: [frame_of(example(1, 500), width), None] for width in arrays.ROW_WIDTHS}
    return write(example(1), example(2), example(4, 1), wide, rows=rows)


def test_stock_zarr_reads_objects(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    path = tmp_path / "object.zip"
    path.write_bytes(many_arrays())
    with zarr.storage.ZipStore(path, mode="r") as store:
        check_with_zarr(zarr.open_group(store, mode="r"))


def test_zarrs_reads_objects_as_strictly_as_it_can(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    pytest.importorskip("zarrs")
    zipfile.ZipFile(io.BytesIO(many_arrays())).extractall(tmp_path)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}):
        check_with_zarr(zarr.open_group(zarr.storage.LocalStore(tmp_path, read_only=True), mode="r"))


def check_with_zarr(group: Any) -> None:
    mine = many_arrays()
    attributes = group.attrs["git-theta"]
    assert attributes["version"] == 1
    assert [Member.read(row) for row in attributes["members"]] == opened(mine).members
    for itemsize in arrays.ITEM_SIZES:
        values = group[data_array(itemsize)][:]
        assert np.array_equal(values.reshape(-1).view(f"<u{itemsize}"), read(mine, itemsize))
    for width in arrays.ROW_WIDTHS:
        rows = group[f"residual{width}"][:]
        assert rows.shape == (2, width)
        assert rows[0].any()
        assert not rows[1].any()


def test_the_zip_is_one_that_anything_reads() -> None:
    with zipfile.ZipFile(io.BytesIO(many_arrays())) as archive:
        assert archive.testzip() is None
        entries = archive.infolist()
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert many_arrays() == many_arrays(), "the same data give the same object"


def test_absent_chunks_are_absent() -> None:
    found = opened(many_arrays())
    assert found.frame("data8", 0) is None
    assert found.frame_size("data8", 0) == 0
    assert found.frame_size("data8", 2) == len(found.frame("data8", 2) or b"") > 0


def test_every_flipped_bit_is_noticed_or_harmless() -> None:
    """Whatever is damaged, a member that is read without complaint has the right data."""
    wanted = example(2, 60)
    row = example(1, 40)
    width = residual_array(row.size)[1]
    whole = write(wanted, rows={width: [frame_of(row, width)]})
    noticed = 0
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        try:
            found = opened(bytes(damaged))
            values = read(bytes(damaged), 2)
            restored = np.zeros_like(row)
            frame = found.frame(f"residual{width}", 0)
            assert frame is not None
            residual.decode(frame, width, restored, dtype("U8"))
        except (DamagedObject, KeyError):  # KeyError: the array has another name now
            noticed += 1
            continue
        assert found.members == opened(whole).members
        assert np.array_equal(values, wanted)
        assert np.array_equal(restored, row)
    assert noticed > len(whole) // 2


def test_every_truncation_is_noticed() -> None:
    whole = write(example(2, 60))
    for length in range(len(whole)):
        with pytest.raises(DamagedObject):
            opened(whole[:length])


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 500, b"\0" * 500])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(DamagedObject):
        opened(data)


def with_text(data: bytes, name: str, change: Any) -> bytes:
    """The object with the JSON of an entry changed, and its ZIP made anew as git-theta writes it."""
    file = io.BytesIO()
    writer = ContainerWriter(file)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.namelist():
            content = archive.read(entry)
            if entry == name:
                content = change(content)
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
            writer._begin_entry(entry.encode())
            writer._write(content)
            writer._end_entry(entry.encode())
    writer._directory()
    return file.getvalue()


def array_with(**changes: Any) -> Any:
    """Replaces `length`, `width` or `inner` consistently, as an attacker would."""

    def change(text: bytes) -> dict[str, Any]:
        info = ArrayInfo.read(text)
        fields = {"length": info.length, "width": info.width, "inner": info.inner, "planes": info.planes}
        return ArrayInfo(**(fields | changes)).metadata()

    return change


HUGE = 1 << 61


@pytest.mark.parametrize(
    "change",
    [
        array_with(length=HUGE),
        array_with(length=HUGE, inner=HUGE),
        array_with(inner=1 << 33, length=1 << 33),
        array_with(width=1 << 40),
        array_with(width=3),
        array_with(width=0, inner=1),
        array_with(width=0, planes=False),
        array_with(length=0, width=0, inner=1),
        array_with(planes=False),
        array_with(planes=False, width=1 << 40, inner=1),
        array_with(length=2.0),
        array_with(length=True),
        array_with(length=0),
        array_with(length=-1),
        lambda text: text.replace(b"[1000,", b'["1000",'),
        lambda text: b"[" * 60_000,
        lambda text: b" " * (1 << 20) + text,
        lambda text: b"null",
        lambda text: b"\xff",
        lambda text: b'{"shape":' + b"9" * 10_000 + b"}",
    ],
)
def test_arrays_of_impossible_shapes_are_refused(change: Any) -> None:
    with pytest.raises(DamagedObject):
        opened(with_text(write(example()), "data2/zarr.json", change))


def group_with(**changes: Any) -> Any:
    def change(text: bytes) -> dict[str, Any]:
        group: dict[str, Any] = json.loads(text)
        group["attributes"]["git-theta"] |= changes
        return group

    return change


def member_with(**changes: Any) -> Any:
    return group_with(members=[member_of(example()).record() | changes])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"{}",
        lambda text: b"[]",
        lambda text: b"[" * 100_000,
        group_with(members=None),
        group_with(members=7),
        group_with(members=["a", "b"]),
        group_with(members={"a": 1}),
        group_with(version=2),
        group_with(version=None),
        member_with(digest="../" * 20),
        member_with(dtype="object"),
        member_with(shape=[HUGE, HUGE]),
        member_with(shape=[1] * 100),
        member_with(shape={"a": 1}),
        member_with(shape=[1.5]),
        member_with(update=None),
        member_with(bases=["x"]),
        member_with(bases=7),
        member_with(values=7),
        member_with(arrays=7),
        member_with(arrays={"values": [1]}),
        member_with(arrays={"values": [1, -1, 5]}),
        member_with(arrays={"values": [1, 0, HUGE * 4]}),
        member_with(residual=-1),
        member_with(residual="0"),
    ],
)
def test_members_that_make_no_sense_are_refused(change: Any) -> None:
    with pytest.raises(DamagedObject):
        opened(with_text(write(example()), "zarr.json", change))


ODD = (0, -1, 1.5, True, None, "x", "\ud800", [], {}, [[]], [0], {"x": 0}, 1 << 70, 1e400)


def everywhere(document: Any) -> Iterator[Any]:
    """The document, with something odd in each place of it."""
    if isinstance(document, dict | list):
        places = document if isinstance(document, dict) else range(len(document))
        for place in places:
            for changed in [*ODD, *everywhere(document[place])]:
                copy: Any = document.copy()
                copy[place] = changed
                yield copy


@pytest.mark.parametrize("entry", ["zarr.json", "data2/zarr.json"])
def test_odd_values_anywhere_are_damage(entry: str) -> None:
    data = write(example())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        document = json.loads(archive.read(entry))
    for changed in everywhere(document):
        with suppress(DamagedObject):
            found = opened(with_text(data, entry, lambda text, changed=changed: changed))
            for member in found.members:
                assert (member.items, member.chunks, member.most_parameters) >= (0, 0, 0)


def test_members_come_back() -> None:
    member = Member(
        DIGEST,
        dtype("BF16"),
        (3, 0, 5),
        "low-rank",
        (DIGEST,),
        {"rank": 8},
        {"left": Slice(4, 0, 10), "right": Slice(2, 7, 1)},
        3,
    )
    assert Member.read(json.loads(json.dumps(member.record()))) == member


def test_a_frame_that_claims_more_than_its_chunk_is_not_decoded() -> None:
    bomb = zstd.compressor(checksum=True).compress(bytes(1 << 26))
    assert len(bomb) < 1 << 14
    with pytest.raises(DamagedObject, match="wrong size"):
        codec.decode(bomb, 100, np.empty(100, "<u2"))


def test_a_frame_that_says_nothing_of_its_size_is_not_decoded() -> None:
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(200))
    with pytest.raises(DamagedObject):
        codec.decode(frame, 100, np.empty(100, "<u2"))


@pytest.mark.parametrize("damage", [lambda f: f[:-5], lambda f: f[:10], lambda f: b"", lambda f: b"x" * 50])
def test_damaged_frames(damage: Any) -> None:
    frame = codec.encode(example(2, 100), 100)
    with pytest.raises(DamagedObject):
        codec.decode(damage(frame), 100, np.empty(100, "<u2"))


def test_an_index_that_points_elsewhere_is_refused() -> None:
    data = bytearray(write(example()))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        entry = archive.getinfo("data2/c/0/0")
    frame = len(opened(bytes(data)).frame("data2", 0) or b"")
    index = entry.header_offset + len("data2/c/0/0") + 30 + 20 + frame
    for offset, size in [(frame, frame), (0, frame + 1), (0, HUGE), (HUGE * 4, 1), ((1 << 64) - 1, 1)]:
        data[index : index + 16] = np.array([offset, size], "<u8").tobytes()
        with pytest.raises(DamagedObject, match="outside"):
            opened(bytes(data))


def test_a_directory_of_entries_without_end_is_refused() -> None:
    file = io.BytesIO()
    writer = ContainerWriter(file)
    for number in range(5000):
        writer._begin_entry(b"%d/zarr.json" % number)
        writer._end_entry(b"%d/zarr.json" % number)
    writer.finish([])
    with pytest.raises(DamagedObject, match="directory"):
        opened(file.getvalue())


def test_files_are_closed_when_nobody_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(write(example()))
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("only Linux tells")
    before = len(list(folder.iterdir()))
    found = Container(container.PositionedFile(str(path)))
    assert len(list(folder.iterdir())) == before + 1
    del found
    assert len(list(folder.iterdir())) == before


def test_a_disk_that_cannot_be_read_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(count: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    file = Memory(write(example()))
    found = Container(file)  # type: ignore[arg-type]
    monkeypatch.setattr(file, "pread", broken)
    with pytest.raises(DamagedObject, match="Input/output error"):
        found.frame("data2", 0)


def test_an_object_of_a_newer_version_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArrayInfo, "version", 3)
    data = write(np.arange(9, dtype="<u4"))
    store = LocalStore(tmp_path / "theta")
    oid = sha256(data).hexdigest()
    with store.write() as (file, name):
        file.write(data)
        name(oid)
    with pytest.raises(NewerObject, match=f"object {oid[:12]}: made by a newer git-theta") as raised:
        store.container(oid)
    assert raised.value.remedy == "pip install -U git-theta"


def test_an_update_kind_that_is_not_installed_is_named() -> None:
    with pytest.raises(NewerObject, match="stored by the update kind 'later'") as raised:
        registry.stored_by("later")
    assert "pip install the package that brings 'later'" in raised.value.remedy
    assert registry.stored_by("sparse").name == "delta"
