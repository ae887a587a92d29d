"""Reading ZIP archives that lie."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from git_theta.checkpoints import zip_archive
from git_theta.checkpoints.zip_archive import Entry, checksum_places, locate, read_directory
from git_theta.checkpoints.zip_local import first_entry
from git_theta.errors import DamagedCheckpoint

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


class Pipe(io.BytesIO):
    """Cannot go back: into such a file zipfile writes data descriptors, as torch does."""

    def tell(self) -> int:
        raise OSError


def archive(*names: str, kind: int = zipfile.ZIP_STORED, seekable: bool = True) -> bytes:
    target = io.BytesIO() if seekable else Pipe()
    with zipfile.ZipFile(target, "w", kind) as file:
        for name in names:
            file.writestr(zipfile.ZipInfo(name), b"some content", kind)
    return target.getvalue()


def reader(data: bytes) -> Callable[[int, int], bytes]:
    def read(offset: int, count: int) -> bytes:
        piece = data[offset : offset + count]
        if len(piece) != count or offset < 0:
            raise DamagedCheckpoint("cut off")
        return piece

    return read


def entries(data: bytes) -> tuple[Entry, ...]:
    read = reader(data)
    return locate(read, read_directory(read, len(data)), len(data))


@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_finds_what_zipfile_wrote(kind: int, seekable: bool) -> None:
    data = archive("a/b", "ü", "a/c/", kind=kind, seekable=seekable)
    expected = zipfile.ZipFile(io.BytesIO(data)).infolist()
    found = entries(data)
    assert [(e.name, e.header, e.size, e.crc) for e in found] == [
        (i.filename, i.header_offset, i.compress_size, i.CRC) for i in expected
    ]
    for entry in found:
        for place in checksum_places(reader(data), entry):
            assert data[place : place + 4] == entry.crc.to_bytes(4, "little")
        assert len(checksum_places(reader(data), entry)) == 2
    if kind == zipfile.ZIP_STORED:
        assert {data[entry.data : entry.end] for entry in found} == {b"some content"}
        assert first_entry(data) == ("a/b", found[0].data)
    else:
        assert first_entry(data) is None


def test_an_empty_archive() -> None:
    assert entries(archive()) == ()


def test_first_entry_needs_its_whole_name() -> None:
    data = archive("abc")
    assert first_entry(data[:32]) is None
    assert first_entry(data[:33]) is not None
    assert first_entry(b"PK") is None


def changed(data: bytes, signature: bytes, at: int, form: str, value: Any, which: int = 0) -> bytes:
    """The archive with one field of a record changed."""
    place = -1
    for _ in range(which + 1):
        place = data.index(signature, place + 1)
    damaged = bytearray(data)
    struct.pack_into("<" + form, damaged, place + at, value)
    return bytes(damaged)


def resized(data: bytes, which: int) -> bytes:
    """The archive with an entry that claims 40 bytes wherever its size stands."""
    for signature, at in ((CENTRAL, 20), (CENTRAL, 24), (LOCAL, 18), (LOCAL, 22)):
        data = changed(data, signature, at, "I", 40, which)
    return data


TWO = archive("aa", "bb")
BAD = {
    "cut off": (TWO[:-1], "cut off"),
    "nothing": (b"", "cut off"),
    "something behind": (TWO + b"\0", "something was appended"),
    "something in front": (b"\0" * 9 + TWO, "the file has"),
    "a comment": (changed(TWO, END, 20, "H", 5), "cut off"),
    "several disks": (changed(TWO, END, 4, "H", 1), "several disks"),
    "other number here": (changed(TWO, END, 8, "H", 1), "several disks"),
    "too many entries": (changed(changed(TWO, END, 8, "H", 900), END, 10, "H", 900), "claims 900 entries"),
    "too few entries": (changed(changed(TWO, END, 8, "H", 1), END, 10, "H", 1), "more than its entries"),
    "directory too long": (changed(TWO, END, 12, "I", 1 << 30), "directory of"),
    "directory elsewhere": (changed(TWO, END, 16, "I", 3), "its ZIP records say"),
    "name too long": (changed(TWO, CENTRAL, 28, "H", 999, which=1), "directory of the ZIP is damaged"),
    "not an entry": (changed(TWO, CENTRAL, 0, "4s", b"PKxx", which=1), "directory of the ZIP is damaged"),
    "encrypted": (changed(TWO, CENTRAL, 8, "H", 1), "could have written"),
    "stored, but of two sizes": (changed(TWO, CENTRAL, 24, "I", 5), "could have written"),
    "other disk": (changed(TWO, CENTRAL, 34, "H", 2), "could have written"),
    "twice": (TWO.replace(b"bb", b"aa"), "stands twice"),
    "other name in place": (changed(TWO, LOCAL, 30, "2s", b"xx"), "described otherwise"),
    "other method in place": (changed(TWO, LOCAL, 8, "H", 8), "described otherwise"),
    "other size in place": (changed(TWO, LOCAL, 18, "I", 5), "described otherwise"),
    "other checksum in place": (changed(TWO, LOCAL, 14, "I", 5), "described otherwise"),
    "descriptor or not": (changed(TWO, LOCAL, 6, "H", 8), "described otherwise"),
    "not where it should be": (changed(TWO, CENTRAL, 42, "I", 46, which=1), "otherwise|cut off"),
    "outside": (changed(TWO, CENTRAL, 42, "I", 1 << 31), "cut off"),
    "same place": (changed(TWO, CENTRAL, 42, "I", 0, which=1).replace(b"bb", b"aa"), "stands twice"),
    "overlap": (resized(TWO, 0), "overlaps"),
    "into the directory": (resized(TWO, 1), "reaches past the end"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(case: str) -> None:
    data, why = BAD[case]
    with pytest.raises(DamagedCheckpoint, match=why):
        entries(data)


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "a//b", "./a", "a\\b", "a\nb", "", "a/."])
def test_refuses_names_that_are_paths_to_elsewhere(name: str) -> None:
    data = archive("x" * len(name)).replace(b"x" * max(1, len(name)), name.encode()) if name else archive("")
    with pytest.raises(DamagedCheckpoint, match="leads elsewhere"):
        entries(data)


def test_refuses_names_that_are_not_utf_8() -> None:
    data = archive("ü").replace("ü".encode(), b"\xff\xff")
    with pytest.raises(DamagedCheckpoint, match="UTF-8"):
        entries(data)


def test_a_damaged_data_descriptor_is_left_alone() -> None:
    data = archive("a", seekable=False).replace(b"PK\x07\x08", b"PKxx")
    (entry,) = entries(data)
    assert checksum_places(reader(data), entry) == [entry.central + 16]


def test_a_data_descriptor_without_signature_is_found() -> None:
    data = archive("a", seekable=False)
    (entry,) = entries(data)
    bare = data[: entry.end] + data[entry.end + 4 :]
    places = checksum_places(reader(bare), entry)
    assert places[1] == entry.end


def sixty_four_bit(size: int, offset: int, *, extra_bytes: int = 16, agree: bool = True) -> tuple[bytes, int]:
    """The end of an archive with one entry of that size at that offset, and where it starts in the file."""
    extra = struct.pack("<HHQQ", 1, extra_bytes, size, size)[: 4 + extra_bytes]
    extra += struct.pack("<Q", offset) if offset > 0xFFFFFFFE else b""
    extra = extra[:2] + (len(extra) - 4).to_bytes(2, "little") + extra[4:]
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        *(CENTRAL, 45, 45, 8, 0, 0, 0, 7, 0xFFFFFFFF, 0xFFFFFFFF),
        *(1, len(extra), 0, 0, 0, 0, min(offset, 0xFFFFFFFF)),
    )
    directory = central + b"a" + extra
    start = offset + 31 + size + 24
    end64 = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(directory), start if agree else start + 1
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(directory), 1)
    end = struct.pack("<4sHHHHIIH", END, 0, 0, 1, 1, len(directory), 0xFFFFFFFF, 0)
    return directory + end64 + locator + end, start


@pytest.mark.parametrize("offset", [0, 5 << 32])
def test_entries_beyond_four_gigabytes(offset: int) -> None:
    size = 5 << 32
    tail, start = sixty_four_bit(size, offset)
    local = struct.pack("<4sHHHHHIIIHH", LOCAL, 45, 8, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"

    def read(at: int, count: int) -> bytes:
        if at >= start:
            return tail[at - start :][:count]
        return local[at - offset :][:count]

    directory = read_directory(read, start + len(tail))
    (entry,) = locate(read, directory, start + len(tail))
    assert (entry.size, entry.header, entry.data) == (size, offset, offset + 31)


def test_end_records_that_contradict_each_other() -> None:
    tail, start = sixty_four_bit(5 << 32, 0, agree=False)
    with pytest.raises(DamagedCheckpoint, match="contradict"):
        read_directory(lambda at, count: tail[at - start :][:count], start + len(tail))


def test_a_64_bit_size_that_is_cut_off() -> None:
    tail, start = sixty_four_bit(5 << 32, 0, extra_bytes=8)
    with pytest.raises(DamagedCheckpoint, match="64-bit"):
        read_directory(lambda at, count: tail[at - start :][:count], start + len(tail))


def test_a_directory_that_claims_more_entries_than_anybody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "_MAX_ENTRIES", 1)
    with pytest.raises(DamagedCheckpoint, match="claims 2 entries"):
        entries(TWO)
