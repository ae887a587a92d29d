"""Objects: members, and the inner chunks of arrays."""

from __future__ import annotations

import json
import struct
import zipfile
from hashlib import sha256
from io import BytesIO

import numpy as np
import zstandard

from format_reader.dtypes import CHUNK, need


def unzstd(frame: bytes, size: int) -> bytes:
    need(zstandard.frame_content_size(frame) == size, "a frame of another size")
    return zstandard.ZstdDecompressor(max_window_size=8 << 20).decompress(frame, size)


class Object:
    """One object: its members, and the inner chunks of its arrays."""

    def __init__(self, data: bytes, oid: str) -> None:
        need(sha256(data).hexdigest() == oid, "an object that is not what its name says")
        self._zip = zipfile.ZipFile(BytesIO(data))
        entries = self._zip.infolist()
        for entry in entries:
            start = entry.header_offset + 30 + len(entry.filename) + 20
            need(data[start : start + entry.file_size] == self._zip.read(entry), "data elsewhere")
        need(entries[-1].filename == "zarr.json", "the group stands last")
        group = json.loads(self._zip.read("zarr.json"))
        attributes = group["attributes"]["git-theta"]
        need((group["zarr_format"], group["node_type"]) == (3, "group"), "a group")
        need(attributes["version"] in (1, 2), "another version")
        self._version = attributes["version"]
        self.members = attributes["members"]

    def rows(self, name: str) -> tuple[int, int, list[bytes | None]]:
        """The length of an array, and of its inner chunks; these, compressed; None for what is not there."""
        meta = json.loads(self._zip.read(f"{name}/zarr.json"))
        length, width = meta["shape"]
        sharding = meta["codecs"][0]["configuration"]
        inner = sharding["chunk_shape"][0]
        small = self._version == 2 and inner == min(length, 262144 // width)
        wanted = min(length, CHUNK // width) if name.startswith("data") else 1
        need(inner == wanted or (small and name.startswith("data")), "the inner chunks of an array")
        count = -(-length // inner)
        grid = meta["chunk_grid"]["configuration"]["chunk_shape"]
        need(grid == [count * inner, width] and meta["fill_value"] == 0, "the grid of an array")
        names = [codec["name"] for codec in sharding["codecs"]]
        need(names == ["transpose", "bytes", "zstd"][name.startswith("residual") :], "codecs")
        need(sharding["chunk_shape"] == [inner, width] and name.endswith(str(width)), "an array")
        shard = self._zip.read(f"{name}/c/0/0")
        ranges = struct.iter_unpack("<QQ", shard[len(shard) - 16 * count :])
        return (
            length,
            inner,
            [None if start == (1 << 64) - 1 else shard[start : start + n] for start, n in ranges],
        )

    def items(self, width: int, start: int, count: int) -> np.ndarray:
        """Items of a data array."""
        if not count:
            return np.empty(0, f"<u{width}")
        length, inner, frames = self.rows(f"data{width}")
        found = []
        need(start + count <= length, "items outside")
        for frame in frames:
            planes = unzstd(frame, width * inner) if frame else bytes(width * inner)
            found.append(np.frombuffer(planes, np.uint8).reshape(width, inner).T)
        flat = np.ascontiguousarray(np.concatenate(found)[start : start + count])
        return flat.view(f"<u{width}").ravel()
