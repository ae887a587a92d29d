"""What is left of a checkpoint where a write did not end, or something emptied the file.

Files that begin like a checkpoint are refused by its format. These have lost even that, or are of no known
format: they are compared with what Git has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from git_theta.errors import DamagedCheckpoint, ThetaError
from git_theta.filters import skeleton
from git_theta.filters.source import Content
from git_theta.manifest import Manifest
from git_theta.objects.reader import Objects
from git_theta.tensors import chunks

_FEW = 64  # bytes: of a file that is as short nothing can be told by its contents
_PIECE = 1 << 20
_REMEDY = "to bring it back: git restore PATH; to store it as it is: git -c theta.allowDamaged=true add PATH"


def check(content: Content, versions: Sequence[Manifest], objects: Objects, stack: ExitStack) -> None:
    """Refuse a file of no known format that can only be a part of one of these versions.

    Args:
        versions: of the same path, that Git has.
        stack: where the contents are spooled.

    Raises:
        DamagedCheckpoint: it is.
    """
    larger = [manifest for manifest in versions if manifest.size]
    if not larger or any(not manifest.size for manifest in versions):
        return
    if not content.head(1):
        raise DamagedCheckpoint("the file is empty now; Git has a checkpoint there", _REMEDY)
    if content.size is None:
        content.spool(stack.enter_context(objects.store.spool()))
    assert content.size is not None
    for manifest in larger:
        if content.size < manifest.size and _begins(content, manifest, objects):
            raise DamagedCheckpoint(
                f"the file is cut off: it has {content.size} bytes, of the {manifest.size} that Git has",
                _REMEDY,
            )


def _begins(content: Content, manifest: Manifest, objects: Objects) -> bool:
    """Whether a version begins with these contents; of a few bytes that is assumed if there is no telling."""
    assert content.size is not None
    content.seek(0)
    left = content.size
    try:
        for piece in _pieces(manifest, objects):
            wanted = piece[:left]
            buffer = memoryview(bytearray(len(wanted)))
            if content.readinto(buffer) != len(wanted) or buffer != wanted:
                return False
            left -= len(wanted)
            if not left:
                return True
    except ThetaError:  # its data are not here, or damaged
        return content.size < _FEW
    return False


def _pieces(manifest: Manifest, objects: Objects) -> Iterator[memoryview]:
    """The bytes of a version, from its first on, decoded only as far as they are asked for."""
    pieces, between = skeleton.pieces(manifest, skeleton.read(manifest, objects))
    for piece in pieces:
        if piece.tensor is None:
            for start in range(piece.start, piece.stop, _PIECE):
                yield between[start : min(start + _PIECE, piece.stop)]
            continue
        line = piece.tensor
        tensor = objects.tensor(line.digest, manifest.storage, line.dtype, line.shape)
        for start, stop in chunks(tensor):
            yield memoryview(tensor.read(start, stop).tobytes())
