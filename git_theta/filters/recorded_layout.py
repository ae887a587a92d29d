"""Whether a file is the one that a manifest describes, by the manifest's own layout.

Formats are not asked: the manifest says where the tensors lie, whichever program found them there.
"""

from __future__ import annotations

from git_theta.checkpoints.layout import Span
from git_theta.errors import ThetaError
from git_theta.filters import skeleton
from git_theta.filters.file_tensors import FileTensor
from git_theta.filters.source import Content
from git_theta.manifest import Manifest
from git_theta.objects.reader import Objects

_PIECE = 1 << 20


def holds(content: Content, manifest: Manifest, objects: Objects) -> bool:
    """Whether these contents are, byte for byte, those that the manifest was made of.

    Args:
        content: spooled.
        objects: where the manifest's skeleton is looked for; without it there is no telling.
    """
    if content.size != manifest.size:
        return False
    try:
        pieces, between = skeleton.pieces(manifest, skeleton.read(manifest, objects))
    except ThetaError:
        return False
    position = 0
    for piece in pieces:
        line = piece.tensor
        if line is None:
            wanted = between[piece.start : piece.stop]
            same, length = _continues(content, position, wanted), len(wanted)
        else:
            span = Span(line.name, line.dtype, line.shape, position)
            same, length = FileTensor(span, content.file()).digest() == line.digest, span.nbytes
        if not same:
            return False
        position += length
    return True


def _continues(content: Content, position: int, wanted: memoryview) -> bool:
    content.seek(position)
    buffer = memoryview(bytearray(min(len(wanted), _PIECE)))
    for start in range(0, len(wanted), _PIECE):
        part = wanted[start : start + _PIECE]
        if content.readinto(buffer[: len(part)]) != len(part) or buffer[: len(part)] != part:
            return False
    return True
