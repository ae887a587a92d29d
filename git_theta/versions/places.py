"""Where a version of a checkpoint is, in Git or in the work tree, and how it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from git_theta.git import blobs
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST
from git_theta.versions import checkpoint
from git_theta.versions.checkpoint import Checkpoint

SYMLINK = "120000"
SUBMODULE = "160000"
_PROBABLY_NO_MANIFEST = 16 << 20  # bytes


@dataclass(frozen=True)
class Place:
    """One side of a comparison.

    Attributes:
        path: of the checkpoint, for people and for its suffix.
        mode: as Git records it; "" where nothing is.
        oid: of the blob; "" for a file that Git does not have.
        file: where the contents lie as a file, if they do. They may be other than those of the blob: Git's
            own drivers smudge what they are given.
        label: what the user calls this version.
    """

    path: str
    mode: str = ""
    oid: str = ""
    file: Path | None = None
    label: str = ""

    @property
    def there(self) -> bool:
        """Whether there is a checkpoint: a regular file."""
        return self.mode not in ("", SYMLINK, SUBMODULE)


NOWHERE = Place("")


def mode_lines(old: str, new: str) -> list[str]:
    """What git says above a difference about the modes of two files."""
    if not old or not new:
        return [f"{'new' if new else 'deleted'} file mode {new or old}"] if old or new else []
    return [] if old == new else [f"old mode {old}", f"new mode {new}"]


def open_place(repository: Repository | None, place: Place) -> Checkpoint | None:
    """The checkpoint at a place; None if there is none.

    Args:
        repository: None outside of one.

    Raises:
        DamagedManifest: what is there begins like a manifest.
        ThetaError: it cannot be read.
    """
    if not place.there:
        return None
    if repository is not None and place.oid and not _only_as_file(repository, place):
        found = checkpoint.from_blob(repository, place.oid, place.path)
        if found is not None:
            return found
    if place.file is None:
        raise blobs.lost(place.path, place.oid)
    return checkpoint.from_file(repository, place.file, place.path)


def link_target(repository: Repository | None, place: Place) -> str:
    """Where a symbolic link points."""
    blob = repository.blob(place.oid) if repository is not None and place.oid else None
    if blob is None and place.file is not None:
        try:
            blob = bytes(place.file.readlink()) if place.file.is_symlink() else place.file.read_bytes()
        except OSError:
            blob = None
    return (blob or b"?").decode(errors="replace")


def _only_as_file(repository: Repository, place: Place) -> bool:
    """Whether the blob is too large for a manifest, so that the file is what to read."""
    if place.file is None or not place.file.is_file() or place.file.stat().st_size < _PROBABLY_NO_MANIFEST:
        return False
    found = blobs.sizes(repository, [(place.oid, place.path)])
    return bool(found) and found[0].size > LARGEST
