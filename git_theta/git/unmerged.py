"""What is open in checkpoints with a conflict, as `git theta status` and Git's combined diff show it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from git_theta.git import conflicts
from git_theta.git.recorded import ATTRIBUTED
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest


@dataclass(frozen=True)
class Unmerged:
    """A checkpoint that a merge has left open.

    Attributes:
        tensors: the open ones; none where the file as a whole is open.
        remedy: how to decide on them.
    """

    path: str
    tensors: tuple[str, ...]
    remedy: str


def everything(repository: Repository) -> list[Unmerged]:
    """All checkpoints with a conflict, and those that were staged as a merge had left them, by path."""
    listed = repository.git(
        "-C", str(repository.work_tree.absolute()), "ls-files", "-u", "-z", "--full-name", "--", ATTRIBUTED
    )
    paths = {os.fsdecode(row.partition(b"\t")[2]) for row in listed.split(b"\0")[:-1]}
    paths |= {record.path for record in conflicts.unsettled(repository)}
    return [_unmerged(repository, path) for path in sorted(paths)]


def open_in_file(repository: Repository, file: Path, manifest: Manifest) -> tuple[str, ...] | None:
    """The open tensors of a file in the work tree that is as a merge has left it; None if it is not."""
    top = repository.work_tree.absolute()
    absolute = Path(os.path.abspath(file))
    if not absolute.is_relative_to(top):
        return None
    record = conflicts.find(repository, absolute.relative_to(top).as_posix())
    if record is None or record.root != manifest.root or not conflicts.stages(repository, record.path):
        return None
    return record.tensors


def _unmerged(repository: Repository, path: str) -> Unmerged:
    record = conflicts.find(repository, path)
    if record is None:
        return Unmerged(path, (), conflicts.take_a_side(path))
    return Unmerged(path, record.tensors, conflicts.how_to_resolve(record))
