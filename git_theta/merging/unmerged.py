"""What is open in checkpoints with a conflict, as `git theta status` and Git's combined diff show it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.merging import conflicts
from git_theta.versions.places import SUBMODULE, SYMLINK
from git_theta.versions.recorded import ATTRIBUTED


@dataclass(frozen=True)
class Unmerged:
    """A checkpoint that a merge has left open.

    Attributes:
        names: of the open tensors, then of what else is open; none where the file as a whole is.
        what: how many there are, in words.
        remedy: how to decide on them.
    """

    path: str
    names: tuple[str, ...]
    what: str
    remedy: str


def everything(repository: Repository) -> list[Unmerged]:
    """All checkpoints that are open: in conflict, or staged as the merge had left them."""
    entries = repository.index_entries(ATTRIBUTED, which="--unmerged")
    others = {entry.path for entry in entries if entry.mode in (SYMLINK, SUBMODULE)}
    paths = {entry.path for entry in entries} - others
    paths |= {record.path for record in conflicts.unsettled(repository)}
    return [_unmerged(repository, path) for path in sorted(paths)]


def open_in_file(repository: Repository, file: Path, manifest: Manifest) -> tuple[str, ...] | None:
    """What is open in a file of the work tree that is as a merge has left it; None if it is not."""
    top = repository.work_tree.absolute()
    absolute = Path(os.path.abspath(file))  # noqa: PTH100 -- a link is not followed
    if not absolute.is_relative_to(top):
        return None
    record = conflicts.find(repository, absolute.relative_to(top).as_posix())
    if record is None or manifest.root not in record.left or not conflicts.stages(repository, record.path):
        return None
    return record.names


def _unmerged(repository: Repository, path: str) -> Unmerged:
    record = conflicts.find(repository, path)
    if record is None:
        return Unmerged(path, (), "the whole file", conflicts.take_a_side(path))
    what = conflicts.open_count(record.tensors, record.parts) if record.names else "the whole file"
    return Unmerged(path, record.names, what, conflicts.how_to_resolve(record))
