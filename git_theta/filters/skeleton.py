"""The skeleton: the bytes of a checkpoint that are no tensor, and how the tensors lie between them.

Its stored form, little-endian: number of spans (u64), for each span in file order the skeleton bytes before
it (u64), for each span in file order its place in the list of names sorted (u64), then the skeleton's bytes.
It is stored like a tensor of bytes, and its digest is part of the manifest's identity.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from git_theta.dtypes import BYTES
from git_theta.errors import DamagedManifest, DamagedObject
from git_theta.manifest import Manifest, TensorLine
from git_theta.objects.reader import Objects

LARGEST = 256 << 20
"""Bytes of a skeleton, at most: it is held in memory. A file that has more is stored whole."""


@dataclass(frozen=True)
class Piece:
    """A part of a file, in file order: skeleton bytes [start, stop) or a tensor."""

    start: int = 0
    stop: int = 0
    tensor: TensorLine | None = None


def pack(names: Sequence[str], gaps: Sequence[int], skeleton: bytes) -> bytes:
    """Encode a skeleton as it is stored: number of tensors, gaps, order, then the bytes.

    Args:
        names: of the spans in file order.
        gaps: skeleton bytes before each span.
    """
    places = {name: place for place, name in enumerate(sorted(names))}
    numbers = [len(names), *gaps, *(places[name] for name in names)]
    return struct.pack(f"<{len(numbers)}Q", *numbers) + skeleton


def read(manifest: Manifest, objects: Objects) -> bytes:
    """Read the stored skeleton of a manifest, checked against its digest.

    Raises:
        MissingObject, DamagedObject, DamagedManifest: it is not to be had, or not what the manifest says.
    """
    tensors = sum(line.nbytes for line in manifest.tensors)
    if manifest.skeleton_size - _overhead(manifest) + tensors != manifest.size:
        raise DamagedManifest("the skeleton does not fit the manifest: the file would have another size")
    if manifest.skeleton_size - _overhead(manifest) > LARGEST:
        raise DamagedManifest(
            f"the manifest says that {manifest.skeleton_size} bytes are no tensors, "
            f"and {LARGEST} at most are allowed"
        )
    tensor = objects.tensor(manifest.skeleton, manifest.storage, BYTES, (manifest.skeleton_size,))
    stored = tensor.read(0, tensor.items).tobytes()
    if blake3(stored).hexdigest() != manifest.skeleton:
        raise DamagedObject("the skeleton's data are not what the manifest says", "git theta fsck")
    return stored


def _overhead(manifest: Manifest) -> int:
    return 8 + 16 * len(manifest.tensors)


def pieces(manifest: Manifest, stored: bytes) -> tuple[list[Piece], memoryview]:
    """The parts of the file in order, and the skeleton's bytes.

    Args:
        stored: what `read` returned.

    Raises:
        DamagedManifest: the stored form does not fit the manifest.
    """
    count = len(manifest.tensors)
    start = _overhead(manifest)
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
    return found, skeleton
