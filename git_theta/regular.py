"""Opening what has to be a file of ours, where others can put something else in its place.

A link would lead out of the repository, a pipe would never end, and a device may do anything when it is read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not every system has all of these
_FLAGS = _NOFOLLOW | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def open_regular(path: Path | str, flags: int = os.O_RDONLY, follow: bool = False) -> int:
    """A descriptor of a regular file, which is at this very path.

    Args:
        flags: of open(2).
        follow: whether a link to one will do as well: where users say which file they mean.

    Raises:
        OSError: there is none, or it cannot be opened.
    """
    try:
        descriptor = os.open(path, (flags | _FLAGS) & ~(_NOFOLLOW if follow else 0), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, where a file should be", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def is_in_the_way(path: Path | str) -> bool:
    """Whether there is something else than a regular file at this very path.

    Asked at once: a file that another process removes meanwhile is not in the way.

    Raises:
        OSError: that cannot be known.
    """
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_regular(path: Path | str, follow: bool = False) -> bytes:
    """The contents of a regular file; see open_regular. Raises OSError."""
    with open(open_regular(path, follow=follow), "rb") as file:
        return file.read()
