"""Rows of residuals: the description and the streams, positions, lists, groups."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from format_reader.dtypes import MANTISSA, PARTS, is_float, need
from format_reader.objects import unzstd


class Notes:
    """The description and the streams of a row, read side by side.

    Attributes:
        met: the forms that were met on the way.
    """

    def __init__(self, frame: bytes, width: int, met: set[str]) -> None:
        self.met = met
        check = struct.pack("<I", zlib.crc32(frame[:-4]))
        need(frame[-4:] == check, "a row's checksum")
        row = unzstd(frame, width)
        length, used = struct.unpack_from("<HI", row)
        need(length + used + 10 <= width and row[-4:] == check, "a row's length")
        self._description, self._streams = row[6 : 6 + length], row[6 + length : 6 + length + used]
        need(not any(row[6 + length + used : -4]), "zeros")

    def note(self, layout: str) -> list[int]:
        layout = "<" + layout
        found = struct.unpack_from(layout, self._description)
        self._description = self._description[struct.calcsize(layout) :]
        return list(found)

    def stream(self, size: int) -> np.ndarray:
        need(size <= len(self._streams), "streams are cut off")
        found, self._streams = self._streams[:size], self._streams[size:]
        return np.frombuffer(found, np.uint8)

    def finish(self) -> None:
        need(not self._description and not self._streams, "a row has more than it needs")


def positions(notes: Notes, limit: int) -> list[int]:
    count, size = notes.note("II")
    found, complete = from_gaps(notes.stream(size).tolist())
    need(len(found) == count and complete and (not found or found[-1] < limit), "positions")
    return found


def from_gaps(stream: list[int]) -> tuple[list[int], bool]:
    """Positions, and whether the last gap ends."""
    found, gap, last, byte = [], 0, -1, 0
    for byte in stream:
        gap += byte
        if byte < 255:
            last += gap + 1
            found.append(last)
            gap = 0
    return found, byte < 255


def packed(stream: np.ndarray, bits: int, count: int) -> np.ndarray:
    number = np.arange(count)
    lanes = max(1, stream.size)
    return stream[number % lanes] >> (bits * (number // lanes)).astype(np.uint8) & (1 << bits) - 1


def numbers(notes: Notes, count: int, width: int, depth: int = 1) -> np.ndarray:
    """A list of `count` numbers of `width` bytes."""
    need(depth <= 4, "lists are too deep")
    kind = np.dtype(f"<u{width}").type
    bits, shift = notes.note("BB")
    out = np.zeros(count, kind)
    notes.met |= {f"bits {bits}", f"depth {depth}"}
    if bits == 0:
        if places := positions(notes, count):
            out[places] = numbers(notes, len(places), width, depth + 1) + kind(1)
        return out
    need(bits in (1, 2, 4, 8) and shift % 4 == 0 and (bits == 8 or not shift), "fields")
    need(shift + bits <= 8 * width, "fields")
    (escapes,) = notes.note("I")
    for plane in range(shift // 8):
        out |= notes.stream(count).astype(kind) << kind(8 * plane)
    if shift % 8:
        notes.met.add("half bytes")
        out |= packed(notes.stream(-(-count // 2)), 4, count).astype(kind) << kind(shift - 4)
    fields = packed(notes.stream(-(-count * bits // 8)), bits, count)
    out |= fields.astype(kind) << kind(shift)
    if escapes:
        notes.met.add("escapes")
        large = fields == (1 << bits) - 1
        need(np.count_nonzero(large) == escapes, "escapes")
        out[large] += numbers(notes, escapes, width, depth + 1) << kind(shift)
    return out


def grouped(notes: Notes, predicted: np.ndarray, dtype: str) -> np.ndarray:
    """Differences that are sorted by the exponents of the prediction."""
    width, part = predicted.itemsize, PARTS.get(dtype, dtype)
    top, count = notes.note("BB")
    counts = notes.note(f"{count}I")
    even = predicted.size // 2 * 2
    need(is_float(dtype) and width in (2, 4) and 2 <= count <= 16 and sum(counts) == even, "groups")
    exponents = (predicted[:even] >> MANTISSA[part]).astype(np.int64) % (32 if part == "F16" else 256)
    pairs = np.minimum((top - exponents) % 256, count - 1).reshape(-1, 2)
    need(np.bincount(pairs.ravel(), minlength=count).tolist() == counts, "counts of classes")
    own = [[c] for c in range(count) if counts[c] >= 4096]
    shared = [c for c in range(count) if 0 < counts[c] < 4096]
    out = np.zeros(predicted.size, predicted.dtype)
    notes.met |= {"own list" for _ in own} | {"shared list" for _ in shared[1:]}
    for members in [*own, shared] if shared else own:
        stored = numbers(notes, sum(counts[c] for c in members), width)
        for c in members:
            for start in range(0, len(pairs), 131072):
                block = pairs[start : start + 131072]
                for item, other in ((1, 0), (0, 1)):
                    having = np.flatnonzero(block[:, item] == c)
                    having = having[np.argsort(block[having, other], kind="stable")]
                    out[2 * (start + having) + item] = stored[: having.size]
                    stored = stored[having.size :]
    if even < predicted.size:
        notes.met.add("one apart")
        (out[even],) = notes.note("I")
    return out


def add(predicted: np.ndarray, stored: np.ndarray, dtype: str) -> np.ndarray:
    kind, bits = predicted.dtype.type, 8 * predicted.itemsize
    ones, magnitude = kind((1 << bits) - 1), kind((1 << (bits - 1)) - 1)
    sums = (stored >> kind(1) ^ np.where(stored & kind(1), ones, kind(0))) + predicted
    if is_float(dtype):
        sums = np.where((sums ^ predicted) >> kind(bits - 1), sums ^ magnitude, sums)
    return sums


def corrected(predicted: np.ndarray, frame: bytes, width: int, dtype: str, met: set[str]) -> np.ndarray:
    """A chunk from its prediction and its row; notes the forms that were met."""
    notes, kind = Notes(frame, width, met), predicted.dtype.type
    (flags,) = notes.note("B")
    need(flags < 4, "a newer row")
    met.add(f"flags {flags}")
    places = positions(notes, predicted.size) if flags & 1 else slice(None)
    some = predicted[places]
    read = grouped(notes, some, dtype) if flags & 2 else numbers(notes, some.size, some.itemsize)
    result = predicted.copy()
    result[places] = add(some, read + kind(1) if flags & 1 else read, dtype)
    notes.finish()
    return result
