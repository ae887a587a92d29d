"""Reads objects (see container_writer for what they are). Nothing in an object is trusted."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping

from git_theta.errors import DamagedObject, NewerObject
from git_theta.objects.arrays import ArrayInfo
from git_theta.objects.container_writer import ABSENT, FORMAT_VERSION, version_for
from git_theta.objects.members import Member
from git_theta.objects.zip64 import CENTRAL, END, END64, LOCATOR64, ZIP64_EXTRA, Entry
from git_theta.regular import open_regular
from git_theta.tensors import CHUNK_BYTES

_METADATA_LIMIT = 64 << 20
_ARRAY_METADATA_LIMIT = 64 << 10
_DIRECTORY_LIMIT = 64 << 10
_LARGEST_FRAME = 2 * CHUNK_BYTES
_RANGE = struct.Struct("<QQ")  # where in its shard an inner chunk lies, and its size


class PositionedFile:
    """A file that is read at positions, by any number of threads."""

    def __init__(self, path: str) -> None:
        self._descriptor = open_regular(path)
        self.size = os.fstat(self._descriptor).st_size

    def pread(self, count: int, offset: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class Container:
    """An object opened for reading. Nothing in it is trusted: every offset is checked before it is used.

    Args:
        file: something with `size` and `pread(count, offset) -> bytes` that raises nothing but OSError.

    Attributes:
        members: the tensors in it.
        arrays: its Zarr arrays, by name.

    Raises:
        DamagedObject: the file is not an object that git-theta wrote.
    """

    def __init__(self, file: PositionedFile) -> None:
        self._file = file
        entries = self._read_directory()
        try:
            attributes = json.loads(self._entry_bytes(entries, b"zarr.json"))["attributes"]["git-theta"]
            version = attributes["version"]
            if type(version) is int and version > FORMAT_VERSION:
                raise NewerObject(
                    f"made by a newer git-theta (version {version} of objects; "
                    f"this git-theta reads {FORMAT_VERSION})"
                )
            self.members = [Member.read(row) for row in attributes["members"]]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedObject(f"the object's metadata is damaged ({error})") from None
        self.arrays: dict[str, ArrayInfo] = {}
        self._indices: dict[str, tuple[int, bytes]] = {}
        for entry_name in entries:
            name, _, rest = entry_name.decode(errors="replace").partition("/")
            if rest == "zarr.json":
                self._read_array(entries, name, entry_name)
        if type(version) is not int or version != version_for(self.arrays.values()):
            raise DamagedObject(f"the object is of version {version!r}, and should not be")

    def frame(self, array: str, number: int) -> bytes | None:
        """Inner chunk `number` of an array, compressed; None for one that is all zeros."""
        start, table = self._indices[array]
        offset, size = _RANGE.unpack_from(table, _RANGE.size * number)
        return None if offset == ABSENT else self._pread(size, start + offset)

    def frame_size(self, array: str, number: int) -> int:
        """Compressed bytes of an inner chunk."""
        offset, size = _RANGE.unpack_from(self._indices[array][1], _RANGE.size * number)
        return 0 if offset == ABSENT else size

    def _read_array(self, entries: Mapping[bytes, Entry], name: str, entry_name: bytes) -> None:
        info = ArrayInfo.read(self._entry_bytes(entries, entry_name, _ARRAY_METADATA_LIMIT))
        shard, size = entries.get(f"{name}/c/0/0".encode()), _RANGE.size * info.count
        if info.name != name or shard is None or size > min(shard.size, _METADATA_LIMIT):
            raise DamagedObject(f"array {name} lacks its data")
        start = shard.data_start
        table = self._pread(size, start + shard.size - size)
        for offset, length in _RANGE.iter_unpack(table):
            absent = (offset, length) == (ABSENT, ABSENT)
            if not absent and (offset + length > shard.size - size or length > _LARGEST_FRAME):
                raise DamagedObject(f"a chunk of array {name} lies outside of its shard")
        self.arrays[name] = info
        self._indices[name] = start, table

    def _read_directory(self) -> dict[bytes, Entry]:
        size = self._file.size
        fixed = END64.size + LOCATOR64.size + END.size
        if size < fixed:
            raise DamagedObject("the object is cut off")
        tail = self._pread(fixed, size - fixed)
        end = END64.unpack_from(tail)
        locator = LOCATOR64.unpack_from(tail, END64.size)
        if end[0] != 0x06064B50 or locator[0] != 0x07064B50 or locator[2] != size - fixed:
            raise DamagedObject("the object has no ZIP directory: it is cut off, or no object")
        count, directory_size, start = end[7], end[8], end[9]
        if start + directory_size != size - fixed or max(count, directory_size) > _DIRECTORY_LIMIT:
            raise DamagedObject("the object's ZIP directory is damaged")
        raw = self._pread(directory_size, start)
        entries: dict[bytes, Entry] = {}
        position = 0
        for _ in range(count):
            if position + CENTRAL.size > len(raw):
                raise DamagedObject("the object's ZIP directory is cut off")
            fields = CENTRAL.unpack_from(raw, position)
            name_end = position + CENTRAL.size + fields[10]
            if fields[0] != 0x02014B50 or fields[11] != ZIP64_EXTRA.size or name_end + fields[11] > len(raw):
                raise DamagedObject("the object's ZIP directory is damaged")
            name = raw[position + CENTRAL.size : name_end]
            tag, length, entry_size, stored, offset = ZIP64_EXTRA.unpack_from(raw, name_end)
            if tag != 1 or length != 24 or stored != entry_size or offset + entry_size > start:
                raise DamagedObject("the object's ZIP directory is damaged")
            entries[name] = Entry(name, offset, entry_size, fields[7])
            position = name_end + fields[11]
        return entries

    def _entry_bytes(
        self, entries: Mapping[bytes, Entry], name: bytes, limit: int = _METADATA_LIMIT
    ) -> bytes:
        entry = entries.get(name)
        if entry is None or entry.size > limit:
            raise DamagedObject(f"the object lacks {name.decode(errors='replace')}")
        data = self._pread(entry.size, entry.data_start)
        if zlib.crc32(data) != entry.crc:
            raise DamagedObject(f"{name.decode(errors='replace')} in the object is damaged")
        return data

    def _pread(self, count: int, offset: int) -> bytes:
        try:
            data = self._file.pread(count, offset)
        except OSError as error:
            raise DamagedObject(f"the object cannot be read: {error.strerror}") from None
        if len(data) != count:
            raise DamagedObject("the object is cut off")
        return data
