"""Where the tensors of a torch.save archive lie, and its checksums when their values change."""

from __future__ import annotations

import os
import zlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from git_theta.checkpoints.layout import Layout, Span, View
from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.tensor_bytes import pieces
from git_theta.checkpoints.torch_archive import read_root, storage_entries
from git_theta.checkpoints.torch_storages import Stored, raw_storages, stored_tensors
from git_theta.checkpoints.torch_tensors import named_tensors
from git_theta.checkpoints.zip_archive import Entry, Read, checksum_places, locate, read_directory
from git_theta.checkpoints.zip_local import PICKLE, STORED
from git_theta.errors import DamagedCheckpoint

if TYPE_CHECKING:
    from git_theta.tensors import Tensor


def read_layout(name: str, file: BinaryIO) -> Layout:
    """The layout of a file; see `Format.layout`. `name` is the format's."""
    size = file.seek(0, os.SEEK_END)
    read = _reader(file, size)
    entries = locate(read, read_directory(read, size), size)
    if not entries or not entries[0].name.endswith(PICKLE):
        raise DamagedCheckpoint("the first entry of the ZIP's directory is not the pickle")
    folder = entries[0].name.removesuffix("data.pkl")
    storages = storage_entries(entries, folder)
    spans: list[Span] = []
    views: list[View] = []
    for stored in _stored(read, entries, folder, storages):
        spans.append(Span(stored.name, stored.dtype, stored.shape, storages[stored.key].data))
        views.extend(stored.views())
    return Layout(name, tuple(spans), tuple(sorted(views, key=lambda view: view.name)))


def patched(skeleton: bytes, layout: Layout, tensors: Mapping[str, Tensor]) -> bytes:
    """The skeleton with the CRC-32 of these storages made right; see `Format.patch`."""
    places = Gaps(layout)
    size = len(skeleton) + places.total

    def read(offset: int, count: int) -> bytes:
        start = places.in_skeleton(offset)
        data = skeleton[start : start + count] if start >= 0 else b""
        if len(data) != count:
            raise DamagedCheckpoint("the skeleton does not belong to this layout")
        return data

    result = bytearray(skeleton)
    by_offset = {span.offset: span for span in layout.spans if span.nbytes}
    for entry in locate(read, read_directory(lambda at, n: skeleton[at : at + n], len(skeleton)), size):
        span = by_offset.get(entry.data)
        if span is None or span.nbytes != entry.size or entry.method != STORED or span.name not in tensors:
            continue
        crc = 0
        for piece in pieces(tensors[span.name]):
            crc = zlib.crc32(piece, crc)
        for place in checksum_places(read, entry):
            start = places.in_skeleton(place)
            result[start : start + 4] = crc.to_bytes(4, "little")
    return bytes(result)


class Gaps:
    """Where bytes of a file lie in its skeleton, which is the file without its spans."""

    def __init__(self, layout: Layout) -> None:
        self.starts = [span.offset for span in layout.spans]
        self.before = [0, *accumulate(span.nbytes for span in layout.spans)]

    @property
    def total(self) -> int:
        """Bytes of all spans."""
        return self.before[-1]

    def in_skeleton(self, offset: int) -> int:
        """The place in the skeleton of a byte that is in no span."""
        return offset - self.before[bisect_left(self.starts, offset)]


def _stored(read: Read, entries: Sequence[Entry], folder: str, storages: Mapping[str, Entry]) -> list[Stored]:
    sizes = {key: entry.size for key, entry in storages.items()}
    order = next((entry for entry in entries if entry.name == f"{folder}byteorder"), None)
    if order is not None and read(order.data, min(order.size, 8)) != b"little":
        return raw_storages(sizes)
    try:
        leaves = named_tensors(read_root(read, entries[0]))
    except UnreadPickle:
        return raw_storages(sizes)
    # torch can read entries that another program has compressed, but no tensor lies in these.
    compressed = {key for key, entry in storages.items() if entry.method != STORED}
    return stored_tensors([leaf for leaf in leaves if leaf.storage.key not in compressed], sizes)


def _reader(file: BinaryIO, size: int) -> Read:
    def read(offset: int, count: int) -> bytes:
        data = b""
        if 0 <= offset <= offset + count <= size:
            file.seek(offset)
            data = file.read(count)
        if len(data) != count:
            raise DamagedCheckpoint(f"the file is cut off: it has {size} bytes, and more are referred to")
        return data

    return read
