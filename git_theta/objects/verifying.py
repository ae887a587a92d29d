"""Comparing objects with their names."""

from __future__ import annotations

import os
import shlex
from hashlib import sha256
from pathlib import Path
from typing import IO

from git_theta.errors import DamagedObject
from git_theta.files import WholeFile
from git_theta.regular import open_regular


def verify(path: Path, oid: str, size: int | None = None) -> None:
    """Check a file against its oid.

    Raises:
        DamagedObject: the bytes or the size are others.
        OSError: it cannot be read, or is no file.
    """
    with open(open_regular(path), "rb", buffering=0) as file:
        check(file, path, oid, size)


def opened(path: Path, oid: str) -> IO[bytes]:
    """An object of another store. Raises DamagedObject."""
    try:
        return open(open_regular(path), "rb", buffering=0)
    except OSError as error:
        raise unreadable(path, oid, error) from None


def unreadable(path: Path, oid: str, error: OSError) -> DamagedObject:
    """The error for an object of another store that cannot be read."""
    return DamagedObject(f"object {oid[:12]} cannot be read: {error.strerror} ({path})")


def check(file: IO[bytes] | WholeFile, path: Path, oid: str, size: int | None) -> None:
    """Check an open file against its oid. Raises DamagedObject, which names a path for it."""
    found = sha256()
    buffer = memoryview(bytearray(1 << 20))
    file.seek(0)
    while count := file.readinto(buffer):  # type: ignore[union-attr]
        found.update(buffer[:count])
    if found.hexdigest() != oid or (size is not None and os.fstat(file.fileno()).st_size != size):
        raise damaged(path, oid)


def damaged(path: Path, oid: str) -> DamagedObject:
    """The error for an object that has other bytes, or another size."""
    return DamagedObject(
        f"object {oid[:12]} is damaged: its bytes are not what its name says ({path})",
        f"rm -f {shlex.quote(str(path.absolute()))}; git theta fetch --all",
    )
