"""Copies an object's file so that writing to one of the two never changes the other."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from git_theta.files import WholeFile

_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_STEP = 1 << 20


def copy(source: int, size: int, target: WholeFile) -> None:
    """Put the first bytes of a file into an empty one: cloned where the file system can, else copied.

    A clone shares blocks until one of the two is written to. A source that is shorter is no error.

    Raises:
        ThetaError: the target cannot be written.
        OSError: the source cannot be read.
    """
    if _clone(source, target.fileno()):
        return
    done = _copied_by_system(source, size, target.fileno())
    target.seek(done)
    while done < size and (part := os.pread(source, min(_STEP, size - done), done)):
        done += target.write(part)


def _clone(source: int, target: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copied_by_system(source: int, size: int, target: int) -> int:
    """How many bytes the system has copied by itself; why it went no further shows when the rest is."""
    done = 0
    with suppress(OSError, AttributeError):  # only Linux knows it, and not for all pairs of file systems
        while done < size and (count := os.copy_file_range(source, target, size - done, done, done)):
            done += count
    return done
