"""How much a checkout may write: kilobytes of objects can describe terabytes, as one file or as many."""

from __future__ import annotations

import shutil
from pathlib import Path

from git_theta import manifest as manifests
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest
from git_theta.terminal.units import human_size

FREE = 256 << 20
"""Bytes that may be written whatever the objects take."""

_AGAIN = "then the same again (after a clone: git restore --source=HEAD --staged --worktree :/)"
_UNLIMITED = "git config theta.maxExpansion 0"


class Expansion:
    """What one command writes, file by file, against what its objects take.

    Args:
        most: times what its objects take; 0 for no limit.
        folder: where it writes; None where it writes no files.
    """

    def __init__(self, most: float, folder: Path | None) -> None:
        self._most = most
        self._folder = folder
        self._objects: set[str] = set()
        self._stored = 0
        self._written = 0

    def check(self, manifest: Manifest) -> None:
        """Check a file before anything of it is written.

        Raises:
            ThetaError: it, or the command with it, would be larger than that, or than what is free there.
        """
        objects = manifest.oids()
        written = self._written + manifest.size
        stored = self._stored + sum(size for oid, size in objects.items() if oid not in self._objects)
        alone = _excess("it", manifest.size, sum(objects.values()), self._most)
        if why := alone or _excess("what is written with it", written, stored, self._most):
            raise ThetaError(why, f"if you trust who has made it: {_UNLIMITED}, {_AGAIN}")
        if self._folder is not None and written > FREE:
            _check_room(self._folder, manifest.size)
        self._objects.update(objects)
        self._written, self._stored = written, stored


def warning(text: bytes, most: float) -> str:
    """What to say when this manifest is stored and checkouts will refuse it; empty if they will not."""
    size, stored = manifests.find_size(text), sum(manifests.find_objects(text).values())
    if not (why := _excess("it", size, stored, most)):
        return ""
    return f"it is stored, but checkouts will refuse it: {why}; whoever has it types: {_UNLIMITED}"


def _check_room(folder: Path, size: int) -> None:
    if size > (free := shutil.disk_usage(folder).free):
        raise ThetaError(
            f"it takes {human_size(size)}, and {folder} has room for {human_size(free)}",
            f"make room there, {_AGAIN}",
        )


def _excess(what: str, size: int, stored: int, most: float) -> str:
    """Why something is too large to be written unasked, in words; "" if it is not."""
    if not most or size <= max(FREE, most * stored):
        return ""
    return (
        f"{what} would become {human_size(size)}, and its objects take {human_size(stored)}: "
        f"more than {most:g} times as much (theta.maxExpansion)"
    )
