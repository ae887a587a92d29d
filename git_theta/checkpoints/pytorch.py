"""PyTorch: the ZIP files of torch.save, with a pickle that says what lies where, and an entry per storage.

The format cannot be read as a stream. The pickle comes first, but torch leaves the sizes in the local headers
zero and writes them behind the data, so that only the directory at the end tells where an entry ends.
Files that torch.save wrote before version 1.6 or with `_use_new_zipfile_serialization=False`, and the
archives of torch.jit, are not of this format.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

from git_theta.checkpoints.layout import Layout, Source, Span, View
from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.tensor_bytes import pieces
from git_theta.checkpoints.torch_archive import PICKLE, read_root, storage_entries
from git_theta.checkpoints.torch_storages import Stored, raw_storages, stored_tensors
from git_theta.checkpoints.torch_tensors import named_tensors
from git_theta.checkpoints.zip_archive import (
    STORED,
    Entry,
    Read,
    checksum_places,
    first_entry,
    locate,
    read_directory,
)
from git_theta.errors import DamagedCheckpoint

if TYPE_CHECKING:
    from git_theta.tensors import Tensor


class PyTorch:
    """The format of torch.save (see `checkpoints.layout.Format`).

    One span for each storage; `torch_storages.stored_tensors` says how they are named. Tied weights and
    slices are views. Where the pickle is too large or of a kind that is not read, and where the file is
    big-endian, the storages are bytes without the tensors' names.
    """

    name = "pytorch"
    suffixes: tuple[str, ...] = (".pt", ".pth", ".bin", ".ckpt")
    streams = False
    probe = 512

    def recognises(self, head: bytes) -> bool:
        first = first_entry(head)
        return first is not None and first[0].endswith(PICKLE) and first[0].count("/") == 1

    def layout(self, source: Source) -> Layout:
        file = source.file()
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
        return Layout(self.name, tuple(spans), tuple(sorted(views, key=lambda view: view.name)))

    def expected_size(self, layout: Layout, head: Callable[[int], bytes]) -> int | None:
        return None  # `layout` has seen the whole file

    def patch(self, skeleton: bytes, layout: Layout, tensors: Mapping[str, Tensor]) -> bytes:
        """The skeleton with the CRC-32 of every storage made right (torch.load does not look at them)."""
        places = Gaps(layout)
        size = len(skeleton) + places.total

        def read(offset: int, count: int) -> bytes:
            start = places.in_skeleton(offset)
            return skeleton[start : start + count]

        patched = bytearray(skeleton)
        by_offset = {span.offset: span for span in layout.spans if span.nbytes}
        for entry in locate(read, read_directory(lambda at, n: skeleton[at : at + n], len(skeleton)), size):
            span = by_offset.get(entry.data)
            if span is None or span.nbytes != entry.size or entry.method != STORED:
                continue
            crc = 0
            for piece in pieces(tensors[span.name]):
                crc = zlib.crc32(piece, crc)
            for place in checksum_places(read, entry):
                start = places.in_skeleton(place)
                patched[start : start + 4] = crc.to_bytes(4, "little")
        return bytes(patched)

    def write(self, target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], like: bytes | None) -> None:
        """Write a file that torch.load reads; see `Format.write`.

        With `like`, the skeleton of a checkpoint, everything in that checkpoint that is no tensor is kept
        (see `torch_writer`). Without it, the file holds a plain state dict.
        """
        from git_theta.checkpoints.torch_writer import write_checkpoint

        write_checkpoint(target, tensors, like)


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
