"""Folders of a store, which are open to those to whom the repository is open."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder and those above it, with the permissions of the first one that was there.

    So a store in a repository that several users share (core.sharedRepository) is shared as well.

    Raises:
        OSError: it cannot be made.
    """
    lacking = []
    while not path.exists():
        lacking.append(path)
        path = path.parent
    mode = stat.S_IMODE(path.stat().st_mode)
    for folder in reversed(lacking):
        with suppress(FileExistsError):
            folder.mkdir()
            _share(folder, mode)


def _share(folder: Path, mode: int) -> None:
    """Give a new folder these permissions, but nothing that somebody has put in its place."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
