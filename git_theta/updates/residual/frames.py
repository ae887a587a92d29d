"""A residual as one row of a Zarr array: streams, compressed one by one, in one zstd frame.

The row is as long as every row of its array, zeros behind the streams; a stock reader decompresses it whole.
git-theta's reader stops where the streams end, and its writer appends the zeros as the run-length blocks of
the zstd format (RFC 8878, 3.1.1.2) without compressing them. Each stream ends its block, which gives it
entropy tables of its own. The last four bytes of a row are a CRC-32 of the frame in front of them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zstandard

from git_theta import scratch, zstd
from git_theta.errors import DamagedObject
from git_theta.updates.residual.streams import Reader, Writer

OVERHEAD = 10
"""Bytes of a row that are neither streams nor their description."""
_BLOCK = 128 << 10  # the largest block of a zstd frame; also keeps the compressor's output buffers small
_HEAD = struct.Struct("<HI")


def compress(writer: Writer, width: int) -> bytes:
    """The row of these streams: a zstd frame of `width` bytes."""
    used = sum(map(len, writer.streams))
    head = _HEAD.pack(len(writer.description), used) + writer.description
    compressor = zstd.compressor(checksum=False).compressobj(size=width)
    parts = []
    for stream in (memoryview(head), *(stream.data for stream in writer.streams)):
        for start in range(0, len(stream), _BLOCK):
            parts.append(compressor.compress(stream[start : start + _BLOCK]))
        parts.append(compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    zeros = width - len(head) - used - 4
    while zeros > 0:
        block = min(zeros, _BLOCK)
        parts.append((block << 3 | 1 << 1).to_bytes(3, "little") + b"\0")
        zeros -= block
    parts.append((4 << 3 | 1).to_bytes(3, "little"))
    frame = b"".join(parts)
    return frame + struct.pack("<I", zlib.crc32(frame))


@contextmanager
def decompress(frame: bytes | memoryview, width: int) -> Iterator[Reader]:
    """The streams of a row.

    Raises:
        DamagedObject: the frame is not what was written.
    """
    view = memoryview(frame)
    if len(view) < 4 or zlib.crc32(view[:-4]) != int.from_bytes(view[-4:], "little"):
        raise DamagedObject("a residual's checksum is wrong")
    try:
        if zstandard.frame_content_size(view[:18]) != width:
            raise DamagedObject("a residual is for chunks of another size")
        with zstd.decompressor().stream_reader(view) as source:
            head = bytearray(_HEAD.size)
            _fill(memoryview(head), source)
            length, used = _HEAD.unpack(head)
            if length + used + OVERHEAD > width:
                raise DamagedObject("a residual is longer than its row")
            description = bytearray(length)
            _fill(memoryview(description), source)
            with scratch.borrow(used) as room:
                _fill(room.data, source)
                yield Reader(bytes(description), room)
    except zstandard.ZstdError as error:
        raise DamagedObject(f"a residual is damaged ({error})") from None


def _fill(view: memoryview, source: Any) -> None:
    done = 0
    while done < len(view):
        got = source.readinto(view[done:])
        if not got:
            raise DamagedObject("a residual is cut off")
        done += got
