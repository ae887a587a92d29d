"""The skeleton: the bytes of a checkpoint that are no tensor, and how the tensors lie between them.

Its stored form, little-endian: number of spans (u64), for each span in file order the skeleton bytes before
it (u64), for each span in file order its place in the list of names sorted (u64), then the skeleton's bytes.
It is stored like a tensor of bytes, and its digest is part of the manifest's identity.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from git_theta.errors import DamagedManifest
from git_theta.manifest import Manifest, TensorLine


@dataclass(frozen=True)
class Piece:
    """A part of a file, in file order: skeleton bytes [start, stop) or a tensor."""

    start: int = 0
    stop: int = 0
    tensor: TensorLine | None = None


def pack(names: Sequence[str], gaps: Sequence[int], skeleton: bytes) -> bytes:
    """The stored form.

    Args:
        names: of the spans in file order.
        gaps: skeleton bytes before each span.
    """
    places = {name: place for place, name in enumerate(sorted(names))}
    numbers = [len(names), *gaps, *(places[name] for name in names)]
    return struct.pack(f"<{len(numbers)}Q", *numbers) + skeleton


def pieces(manifest: Manifest, stored: bytes) -> tuple[list[Piece], memoryview]:
    """The parts of the file in order, and the skeleton's bytes.

    Raises:
        DamagedManifest: the stored form does not fit the manifest.
    """
    count = len(manifest.tensors)
    start = 8 + 16 * count
    if len(stored) < start or struct.unpack_from("<Q", stored)[0] != count:
        raise DamagedManifest("the skeleton does not fit the manifest: another number of tensors")
    gaps = struct.unpack_from(f"<{count}Q", stored, 8)
    places = struct.unpack_from(f"<{count}Q", stored, 8 + 8 * count)
    skeleton = memoryview(stored)[start:]
    if sorted(places) != list(range(count)) or sum(gaps) > len(skeleton):
        raise DamagedManifest("the skeleton does not fit the manifest: its order is damaged")
    found: list[Piece] = []
    position = 0
    for gap, place in zip(gaps, places, strict=True):
        if gap:
            found.append(Piece(position, position + gap))
        found.append(Piece(tensor=manifest.tensors[place]))
        position += gap
    if position < len(skeleton):
        found.append(Piece(position, len(skeleton)))
    if sum(line.nbytes for line in manifest.tensors) + len(skeleton) != manifest.size:
        raise DamagedManifest("the skeleton does not fit the manifest: the file would have another size")
    return found, skeleton
