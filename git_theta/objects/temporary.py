"""Temporary files of a store: what is being written, before it has a name that anything would find."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

from git_theta.errors import cannot_write
from git_theta.objects.folders import make_folder
from git_theta.regular import open_regular

_STALE_SECONDS = 24 * 3600
_OF, _SECOND = "of-", ".second"
_NAME = re.compile(r"(of-[A-Za-z0-9]*-[0-9a-f]+|[0-9]+-[A-Za-z0-9.]*-[0-9a-f]+)(\.second)?")
"""Of files in the folder, those of older versions included: all else there is not ours to remove."""


class WholeFile(FileIO):
    """An unbuffered file whose `write` writes everything or raises.

    The system call may write a part only, on a disk that is nearly full for one.

    Raises:
        ThetaError: on every failing write; names the place.
    """

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        try:
            while done < len(view):
                done += os.write(self.fileno(), view[done:])
        except OSError as error:
            raise cannot_write(Path(str(self.name)).parent, error) from None
        return done


class TemporaryFolder:
    """A folder for temporary files of many processes.

    Who writes a file holds a lock on it, which ends with the process, however that ends. So a leftover is a
    file whose lock can be had: that is known at once, and also where processes cannot see each other, as in
    two containers. Other machines may share the folder, too, whose locks are not seen everywhere, and some
    file systems know no locks: there, a file is a leftover after a day.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def file(self) -> Iterator[WholeFile]:
        """A new file, open for writing and reading; its name is gone after the `with` block.

        Raises:
            ThetaError: it cannot be made.
        """
        try:
            make_folder(self.path)
            file = self._new()
        except OSError as error:
            raise cannot_write(self.path, error) from None
        path = Path(str(file.name))
        try:
            with file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def clean_up(self) -> int:
        """Remove what processes which died have left behind. Returns how many files that were."""
        removed = 0
        for path in self._dead():
            with suppress(OSError):
                path.unlink()
                removed += 1
        return removed

    def _new(self) -> WholeFile:
        """A file that is locked, and that nobody has taken for a leftover before it was."""
        while True:
            path = self.path / f"{_OF}{_machine()}-{os.urandom(8).hex()}"
            file = WholeFile(str(path), "x+", opener=_private)
            if _lock(file.fileno()) is not False and path.exists():
                return file
            file.close()
            path.unlink(missing_ok=True)

    def _dead(self) -> Iterator[Path]:
        """The leftovers; each is locked by us while it is looked at."""
        try:
            paths = list(self.path.iterdir())
        except OSError:
            return
        for path in filter(lambda path: _NAME.fullmatch(path.name), paths):
            with suppress(OSError), _locked(path.with_suffix("")) as ours:
                of_here = bool(_machine()) and path.name.startswith(f"{_OF}{_machine()}-")
                foreign = path.name.startswith(_OF) and not of_here
                old = time.time() - path.lstat().st_mtime > _STALE_SECONDS
                proof = old if foreign or ours is None else True
                if proof and ours is not False:
                    yield path


def beside(path: Path) -> Path:
    """A second name that the writer of a temporary file may use and removes while it has that file open."""
    return path.with_suffix(_SECOND)


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Whether the lock of a file can be had, for the `with` block; None where nothing can be locked."""
    try:
        descriptor = open_regular(path, os.O_RDWR)  # some file systems lock only what can be written
    except FileNotFoundError:
        yield True  # the first name went last, so nobody uses the second one any more
        return
    except OSError:
        yield None
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed: whether it is locked now; None where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@cache
def _machine() -> str:
    """Tells machines apart whose processes do not see each other's locks; containers on one are the same.

    "" where that is not known: a host's name says nothing, for two can have the same.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""
