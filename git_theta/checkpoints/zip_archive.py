"""The places of the files inside a ZIP, read without trusting any of them.

Stricter than a ZIP reader needs to be: the end record must be the last thing in the file (a file that is
still being written has none), entries must not overlap, and a name must mean the same to every reader.

Source: PKWARE APPNOTE 6.3.10; section numbers in comments are its.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from git_theta.checkpoints.zip_local import LOCAL, SIGNATURE, STORED
from git_theta.errors import DamagedCheckpoint

Read = Callable[[int, int], bytes]
"""`read(offset, count)`: exactly `count` bytes of the file from `offset` on, or DamagedCheckpoint."""

_MAX_ENTRIES = 1 << 20
_MAX_DIRECTORY = 1 << 28
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LOCATOR64 = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_MASK16, _MASK32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 1 << 0, 1 << 3, 1 << 11
_NEVER_IN_NAMES = re.compile(r"[\\\0-\x1f]")
_CRC_IN_CENTRAL, _CRC_IN_LOCAL = 16, 14


@dataclass(frozen=True)
class Entry:
    """A file in a ZIP.

    Attributes:
        size: bytes that lie in the archive, compressed or not.
        header, data: where its local header and its data start; `data` is 0 until it is located.
        central: where its record in the central directory starts.
    """

    name: str
    flags: int
    method: int
    crc: int
    size: int
    header: int
    central: int
    data: int = 0

    @property
    def end(self) -> int:
        return self.data + self.size


@dataclass(frozen=True)
class Directory:
    """The central directory of a ZIP.

    Attributes:
        start: where it starts.
        size: bytes of the whole file, as its records have it.
        entries: in the directory's order; their data are not located yet.
    """

    start: int
    size: int
    entries: tuple[Entry, ...]


def read_directory(tail: Read, length: int) -> Directory:
    """The central directory, from the end of a file.

    Args:
        tail: reads at offsets counted from the start of what there is: the file, or only its skeleton,
            which ends in the same bytes.
        length: how much there is.

    Raises:
        DamagedCheckpoint: there is no whole, well-formed directory that ends where the file ends.
    """
    end = length - _END.size
    if end < 0:
        raise _cut_off()
    signature, disk, start_disk, here, total, size, start, comment = _END.unpack(tail(end, _END.size))
    if signature != b"PK\x05\x06" or comment:
        raise _cut_off()
    records = end
    if end >= _LOCATOR64.size:
        locator = _LOCATOR64.unpack(tail(end - _LOCATOR64.size, _LOCATOR64.size))
        if locator[0] == b"PK\x06\x07":
            # 4.3.14: torch writes these records whatever the size; zero-length extensible data.
            records = end - _LOCATOR64.size - _END64.size
            if records < 0:
                raise _cut_off()
            fields = _END64.unpack(tail(records, _END64.size))
            wide = fields[4:]
            narrow = (disk, start_disk, here, total, size, start)
            masks = (_MASK16, _MASK16, _MASK16, _MASK16, _MASK32, _MASK32)
            agree = all(n in (w, m) for n, w, m in zip(narrow, wide, masks, strict=True))
            if fields[0] != b"PK\x06\x06" or not agree or locator[2] != wide[5] + wide[4]:
                raise DamagedCheckpoint("the end records of the ZIP contradict each other")
            disk, start_disk, here, total, size, start = wide
    if disk or start_disk or here != total:
        raise DamagedCheckpoint("the ZIP claims to be one of several disks")
    if total > _MAX_ENTRIES:
        raise DamagedCheckpoint(f"the ZIP claims {total} entries, and {_MAX_ENTRIES} at most are allowed")
    if not total * _CENTRAL.size <= size <= min(records, _MAX_DIRECTORY):
        raise DamagedCheckpoint(f"the ZIP claims {total} entries in a directory of {size} bytes")
    entries = _entries(tail(records - size, size), start, total)
    return Directory(start, start + size + length - records, entries)


def locate(read: Read, directory: Directory, size: int) -> tuple[Entry, ...]:
    """The entries in file order, with their data located, after comparing them with their local headers.

    Raises:
        DamagedCheckpoint: an entry is not where the directory says, or overlaps with another one.
    """
    if directory.size != size:
        raise DamagedCheckpoint(f"the file has {size} bytes; its ZIP records say {directory.size}")
    found: list[Entry] = []
    end = 0
    for entry in sorted(directory.entries, key=lambda entry: entry.header):
        if entry.header < end:
            raise DamagedCheckpoint(f"the ZIP entry {entry.name!r} overlaps with the one before it")
        located = replace(entry, data=_data_start(read, entry))
        end = located.end
        if end > directory.start:
            raise DamagedCheckpoint(f"the ZIP entry {entry.name!r} reaches past the end of the data")
        found.append(located)
    return tuple(found)


def checksum_places(read: Read, entry: Entry) -> list[int]:
    """Where in the file the CRC-32 of a located entry is written."""
    places = [entry.central + _CRC_IN_CENTRAL]
    crc = entry.crc.to_bytes(4, "little")
    if not entry.flags & _DESCRIPTOR:
        places.append(entry.header + _CRC_IN_LOCAL)
    elif entry.size:  # torch writes no data descriptor after an empty entry
        # 4.3.9.3: the signature is optional. No reader needs the descriptor, so a damaged one may stay.
        descriptor = read(entry.end, 8)
        if descriptor == b"PK\x07\x08" + crc:
            places.append(entry.end + 4)
        elif descriptor.startswith(crc):
            places.append(entry.end)
    return places


def _cut_off() -> DamagedCheckpoint:
    return DamagedCheckpoint(
        "the ZIP has no directory at its end: the file is cut off, or something was appended to it"
    )


def _entries(directory: bytes, start: int, total: int) -> tuple[Entry, ...]:
    found: list[Entry] = []
    names: set[str] = set()
    at = 0
    for _ in range(total):
        if at + _CENTRAL.size > len(directory):
            raise DamagedCheckpoint("the directory of the ZIP ends within an entry")
        fields = _CENTRAL.unpack_from(directory, at)
        signature, _, _, flags, method, _, _, crc, stored, size = fields[:10]
        name_length, extra_length, comment_length, disk, _, _, header = fields[10:]
        name_end = at + _CENTRAL.size + name_length
        stop = name_end + extra_length + comment_length
        if signature != b"PK\x01\x02" or stop > len(directory):
            raise DamagedCheckpoint("the directory of the ZIP is damaged")
        name = _name(directory[at + _CENTRAL.size : name_end], flags)
        extra = directory[name_end : name_end + extra_length]
        size, stored, header, disk = _widened(extra, name, (size, stored, header), disk)
        if name in names:
            raise DamagedCheckpoint(f"the ZIP entry {name!r} stands twice in the directory")
        if flags & _ENCRYPTED or disk or (method == STORED and stored != size):
            raise DamagedCheckpoint(f"the ZIP entry {name!r} is not one that torch could have written")
        names.add(name)
        found.append(Entry(name, flags, method, crc, stored, header, start + at))
        at = stop
    if at != len(directory):
        raise DamagedCheckpoint("the directory of the ZIP holds more than its entries")
    return tuple(found)


def _name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise DamagedCheckpoint(f"the name of a ZIP entry is not valid UTF-8: {raw[:80]!r}") from None
    parts = name.removesuffix("/").split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or _NEVER_IN_NAMES.search(name):
        raise DamagedCheckpoint(f"the name of a ZIP entry is a path that leads elsewhere: {name[:80]!r}")
    return name


def _widened(extra: bytes, name: str, numbers: Iterable[int], disk: int) -> tuple[int, int, int, int]:
    # 4.5.3: the numbers that do not fit are in an extra field, in this order, and only these.
    wide = _zip64_field(extra, name)
    at = 0
    values: list[int] = []
    for number in numbers:
        if number == _MASK32 and wide is not None:
            if at + 8 > len(wide):
                raise DamagedCheckpoint(f"the ZIP entry {name!r} has a damaged 64-bit size")
            number = int.from_bytes(wide[at : at + 8], "little")
            at += 8
        values.append(number)
    if disk == _MASK16 and wide is not None:
        disk = int.from_bytes(wide[at : at + 4], "little")
    return values[0], values[1], values[2], disk


def _zip64_field(extra: bytes, name: str) -> bytes | None:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if at + 4 + length > len(extra):
            raise DamagedCheckpoint(f"the ZIP entry {name!r} has a damaged extra field")
        if kind == 1:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return None


def _data_start(read: Read, entry: Entry) -> int:
    fields = LOCAL.unpack(read(entry.header, LOCAL.size))
    signature, _, flags, method, _, _, crc, stored, size = fields[:9]
    name_length: int = fields[9]
    extra_length: int = fields[10]
    rest = read(entry.header + LOCAL.size, name_length + extra_length)
    good = signature == SIGNATURE and method == entry.method
    good = good and not (flags ^ entry.flags) & (_ENCRYPTED | _DESCRIPTOR | _UTF8)
    good = good and _name(rest[:name_length], flags) == entry.name
    if good and not flags & _DESCRIPTOR:
        _, stored, _, _ = _widened(rest[name_length:], entry.name, (size, stored, 0), 0)
        good = stored == entry.size and crc == entry.crc
    if not good:
        raise DamagedCheckpoint(
            f"the ZIP entry {entry.name!r} is described otherwise in the directory than where it lies"
        )
    return entry.header + LOCAL.size + name_length + extra_length
