"""Waiting for another process that has locked the index: not long in silence, and not for ever."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SILENT_SECONDS = 1.0
MOST_SECONDS = 10.0
_LONGEST_NAME = 80


class Waiting:
    """How long this process waits for a database; once that was in vain, it waits no more.

    Args:
        path: the database.
    """

    STEP = 0.1  # seconds that SQLite itself waits, deaf to Ctrl-C

    def __init__(self, path: Path) -> None:
        self._path = path
        self._gave_up = False

    def turns(self) -> Iterator[None]:
        """Yields once for each attempt, until waiting has taken too long; says who is waited for."""
        begun = time.monotonic()
        said = False
        while True:
            yield
            waited = time.monotonic() - begun
            if self._gave_up:
                return
            if waited >= SILENT_SECONDS and not said:
                said = True
                _say(
                    f"waiting for {holder(self._path)}, which has locked {self._path}; "
                    f"in {MOST_SECONDS - waited:.0f} s this goes on without it (Ctrl-C stops it)"
                )
            if waited >= MOST_SECONDS:
                self._gave_up = True
                _say(
                    f"{self._path} is still locked after {waited:.0f} s; going on without it: "
                    "nothing is lost, what it would remember is found out again"
                )
                return
            time.sleep(self.STEP / 5)


def holder(path: Path) -> str:
    """The process that has locked a database, for people; /proc/locks knows, where there is one.

    The files themselves are not opened for that: to close them would end our own locks (fcntl(2)).
    """
    names = []
    for process in dict.fromkeys(_holders(path)):
        with suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")
            shown = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words).strip())
            names.append(f"process {process} ({shown[:_LONGEST_NAME]})")
    return ", ".join(names) or "another process"


def _holders(path: Path) -> Iterator[int]:
    places = set()
    for name in (path, path.with_name(f"{path.name}-shm")):
        with suppress(OSError):
            found = name.stat()
            device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
            places.add(f"{device}:{found.st_ino}")
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "WRITE" in fields and places & set(fields):
                process = int(fields[fields.index("WRITE") + 1])
                if process not in (0, -1, os.getpid()):
                    yield process


def _say(text: str) -> None:
    print(f"git-theta: {text}", file=sys.stderr, flush=True)
