"""Writes objects: a Zarr v3 group inside an uncompressed ZIP.

Written here directly, because opening an object through zarr takes longer than decoding it; any Zarr v3
library reads the files (`zarr.storage.ZipStore`, or any store over the extracted ZIP). The group's attribute
`git-theta` lists the members: whose data lies where (see members).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import IO, Any

from git_theta.objects.arrays import ArrayInfo
from git_theta.objects.zip64 import (
    CENTRAL,
    DESCRIPTOR,
    DOS_DATE,
    END,
    END64,
    LOCAL,
    LOCAL_EXTRA,
    LOCATOR64,
    MASK32,
    ZIP64_EXTRA,
    Entry,
)

FORMAT_VERSION = 2
"""The newest; an object says the first one that has all that is in it."""
ABSENT = (1 << 64) - 1
"""How a shard's index marks an inner chunk that is all fill value."""


def version_for(arrays: Iterable[ArrayInfo]) -> int:
    """The version of an object with these arrays."""
    return max((info.version for info in arrays), default=1)


class ContainerWriter:
    """Writes an object front to back, so that its name is known when its last byte is written.

    Args:
        file: opened for writing; nothing is ever rewritten.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha = sha256()
        self._offset = 0
        self._entries: list[Entry] = []
        self._arrays: dict[str, ArrayInfo] = {}
        self._index: list[int] = []
        self._start = self._crc = 0
        self._open: str | None = None

    @property
    def written(self) -> int:
        return self._offset

    def begin(self, name: str, info: ArrayInfo) -> None:
        """Start an array; its inner chunks follow in order."""
        self._arrays[name] = info
        self._open = name
        self._index = []
        self._begin_entry(f"{name}/c/0/0".encode())

    def chunk(self, frame: bytes | None) -> None:
        """The next inner chunk, compressed; None for one that is all zeros."""
        if frame is None:
            self._index += (ABSENT, ABSENT)
        else:
            self._index += (self._offset - self._start, len(frame))
            self._write(frame)

    def end(self) -> None:
        """Finish the array that was begun."""
        assert self._open is not None
        if len(self._index) != 2 * self._arrays[self._open].count:
            raise ValueError(f"array {self._open} has another number of chunks than its shape says")
        self._write(struct.pack(f"<{len(self._index)}Q", *self._index))
        self._end_entry(f"{self._open}/c/0/0".encode())
        self._open = None

    def finish(self, members: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
        """Write the metadata and the ZIP's directory; returns the object's oid and size."""
        for name, info in self._arrays.items():
            self._whole(f"{name}/zarr.json", info.metadata())
        attributes = {"git-theta": {"version": version_for(self._arrays.values()), "members": list(members)}}
        self._whole("zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
        self._directory()
        return self._sha.hexdigest(), self._offset

    def _whole(self, name: str, value: Mapping[str, Any]) -> None:
        self._begin_entry(name.encode())
        self._write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        self._end_entry(name.encode())

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha.update(data)
        self._crc = zlib.crc32(data, self._crc)
        self._offset += len(data)

    def _begin_entry(self, name: bytes) -> None:
        # Flag 8: size and CRC follow the data, as 64-bit numbers because of the (empty) ZIP64 extra.
        extra = LOCAL_EXTRA.pack(1, 16, 0, 0)
        header = (0x04034B50, 45, 0x0808, 0, 0, DOS_DATE, 0, MASK32, MASK32, len(name), len(extra))
        self._write(LOCAL.pack(*header) + name + extra)
        self._start, self._crc = self._offset, 0

    def _end_entry(self, name: bytes) -> None:
        size, crc = self._offset - self._start, self._crc
        self._write(DESCRIPTOR.pack(0x08074B50, crc, size, size))
        header = self._start - LOCAL.size - len(name) - LOCAL_EXTRA.size
        self._entries.append(Entry(name, header, size, crc))

    def _directory(self) -> None:
        start = self._offset
        for entry in self._entries:
            extra = ZIP64_EXTRA.pack(1, 24, entry.size, entry.size, entry.offset)
            head = (0x02014B50, 45, 45, 0x0808, 0, 0, DOS_DATE, entry.crc, MASK32, MASK32)
            tail = (len(entry.name), len(extra), 0, 0, 0, 0, MASK32)
            self._write(CENTRAL.pack(*head, *tail) + entry.name + extra)
        size, count, end = self._offset - start, len(self._entries), self._offset
        self._write(
            END64.pack(0x06064B50, 44, 45, 45, 0, 0, count, count, size, start)
            + LOCATOR64.pack(0x07064B50, 0, end, 1)
            + END.pack(0x06054B50, 0, 0, count, count, min(size, MASK32), min(start, MASK32), 0)
        )
