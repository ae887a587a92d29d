"""Temporary files of a store: what is being written, before it has a name that anything would find."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from git_theta.errors import cannot_write
from git_theta.objects.folders import make_folder

_STALE_SECONDS = 24 * 3600


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
    """A folder for temporary files of many processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def file(self) -> Iterator[WholeFile]:
        """A new file, open for writing and reading; its name is gone after the `with` block.

        Raises:
            ThetaError: it cannot be made.
        """
        name = self.path / f"{os.getpid()}-{_host()}-{os.urandom(8).hex()}"
        try:
            make_folder(self.path)
            file = WholeFile(str(name), "x+", opener=_private)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            with file:
                yield file
        finally:
            name.unlink(missing_ok=True)

    def leftovers(self) -> list[Path]:
        """Files that processes which died have left behind.

        Other machines and containers may share the folder; whether their processes live cannot be known.
        """
        found = []
        with suppress(OSError):
            for path in self.path.iterdir():
                process, _, rest = path.name.partition("-")
                ours = rest.rpartition("-")[0] == _host() and process.isdigit()
                with suppress(OSError):
                    old = time.time() - path.stat().st_mtime > _STALE_SECONDS
                    if old or (ours and not _runs(int(process))):
                        found.append(path)
        return found

    def clean_up(self) -> None:
        """Remove the leftovers."""
        for path in self.leftovers():
            with suppress(OSError):
                path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "", os.uname().nodename)[:64]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return process > 0
