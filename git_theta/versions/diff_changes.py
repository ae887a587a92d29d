"""Which checkpoints differ between two sides of `git theta diff`, by what git's plumbing says."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.git import attributes
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST, is_manifest
from git_theta.versions.diff_sides import Side, Sides
from git_theta.versions.places import SYMLINK, Place, mode_lines

_NOTHING = "000000"


@dataclass(frozen=True)
class Change:
    """A path that differs. Both places are empty while it has a conflict."""

    path: str
    old: Place
    new: Place
    header: tuple[str, ...] = ()
    unmerged: bool = False


def changes(repository: Repository, sides: Sides) -> Iterator[Change]:
    """The checkpoints that differ, in the order of their paths."""
    old, new = sides.old, sides.new
    if old.place is not None and new.place is not None:
        yield Change(new.place.path, old.place, new.place)
        return
    found = list(_raw(repository, sides))
    unmerged = {change.path for change in found if change.unmerged}
    names = {place.path for change in found for place in (change.old, change.new)}
    tracked = attributes.filtered(repository, sorted(names))
    named = named_paths(repository, sides.paths)
    for change in found:
        if change.path in unmerged and not change.unmerged:
            continue
        mine = {change.path, change.old.path, change.new.path}
        if (
            mine & (tracked | named)
            or _is_stored(repository, change.old)
            or _is_stored(repository, change.new)
        ):
            yield change


def place_in(repository: Repository, side: Side, path: str) -> Place:
    """Where one path is on a side.

    Args:
        path: from the top of the work tree.
    """
    if side.place is not None:
        return side.place
    if side.kind == "work tree":
        return _in_work_tree(repository, path, side.label)
    if side.kind == "index":
        # While there is a conflict, there is no version of which to say that it is staged.
        staged = repository.index_entries(literally(path))
        found = [(one.mode, one.oid) for one in staged if one.path == path and one.stage == 0]
    else:
        listed = repository.tree_entries(side.name, [path])
        found = [(one.mode, one.oid) for one in listed if one.path == path]
    return Place(path, *(found[0] if found else ("", "")), label=side.label)


def named_paths(repository: Repository, paths: Sequence[str]) -> set[str]:
    """Pathspecs as paths from the top of the work tree."""
    if not paths:
        return set()
    prefix = repository.prefix()
    plain = (path.removeprefix(":(literal)") for path in paths)
    return {posixpath.normpath(posixpath.join(prefix, path)) for path in plain}


def _raw(repository: Repository, sides: Sides) -> Iterator[Change]:
    """What git says. It reads no file of the work tree: those that were only touched are listed too."""
    if sides.old.kind == "index":
        command = ["diff-files", "-M"]
    elif sides.new.kind == "tree":
        command = ["diff-tree", "-r", "-M", sides.old.name, sides.new.name]
    else:
        cached = ["--cached"] if sides.new.kind == "index" else []
        command = ["diff-index", "-M", *cached, sides.old.name]
    top = repository.work_tree if sides.new.kind == "work tree" else None
    for one in repository.raw_changes(*command, "--", *sides.paths):
        if one.status == "U":
            yield Change(one.path, Place(one.path), Place(one.path), unmerged=True)
            continue
        old = _raw_place(one.old_path, one.old_mode, one.before, sides.old, top)
        new = _raw_place(one.path, one.mode, one.after, sides.new, top)
        yield Change(one.path, old, new, _header(old, new, one.status))


def _raw_place(path: str, mode: str, oid: str, side: Side, top: Path | None) -> Place:
    if mode == _NOTHING:
        return Place(path, label=side.label)
    if oid.strip("0"):
        return Place(path, mode, oid, label=side.label)
    return Place(path, mode, file=top / path if top else None, label=side.label)


def _header(old: Place, new: Place, status: str) -> tuple[str, ...]:
    lines = mode_lines(old.mode, new.mode)
    if status[0] in "RC":
        word = "rename" if status[0] == "R" else "copy"
        lines.append(f"similarity index {int(status[1:] or 0)}%")
        lines += [f"{word} from {old.path}", f"{word} to {new.path}"]
    return tuple(lines)


def _is_stored(repository: Repository, place: Place) -> bool:
    """Whether a blob is a manifest: attributes say nothing in a bare repository, or about other commits."""
    if not place.there or not place.oid:
        return False
    blob = repository.blobs([place.oid], LARGEST)[0]
    return blob is not None and is_manifest(blob)


def _in_work_tree(repository: Repository, path: str, label: str) -> Place:
    file = repository.work_tree / path
    try:
        mode = file.lstat().st_mode
    except OSError:
        return Place(path, label=label)
    if stat.S_ISLNK(mode):
        return Place(path, SYMLINK, file=file, label=label)
    return Place(path, "100755" if mode & stat.S_IXUSR else "100644", file=file, label=label)
