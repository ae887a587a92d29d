"""Git's objects, read through one `git cat-file` that is kept."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import weakref
from collections.abc import Callable

_FOUND = re.compile(rb"[0-9a-f]{40,64} (blob|tree|commit|tag) ([0-9]+)\n\Z")
_PIECE = 1 << 20


class CatFile:
    """Reads blobs. Thread-safe; a git that died, over a damaged object for one, is started again.

    It ends with the last reference to this.

    Args:
        start: starts `git cat-file --batch` with pipes.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes]], CatFile]
        self._lock = threading.Lock()

    def blob(self, name: str, limit: int | None = None) -> bytes | None:
        """The contents of a blob, by oid or as REV:PATH; None if there is none, or one above `limit` bytes.

        Never for `:PATH`: the process reads the index only once.
        """
        if "\n" in name:
            return None  # it would be two questions
        with self._lock:
            for _ in range(2):
                try:
                    return self._ask(name, limit)
                except (BrokenPipeError, EOFError):
                    self._stop()
        return None

    def close(self) -> None:
        """End the process; it is started again when it is needed."""
        with self._lock:
            self._stop()

    def _ask(self, name: str, limit: int | None) -> bytes | None:
        if self._process is None:
            self._process = self._start()
            self._end = weakref.finalize(self, _end, self._process)
            self._end.atexit = False  # git sees then that its input ends
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(os.fsencode(name) + b"\n")
        self._process.stdin.flush()
        header = self._process.stdout.readline()
        found = _FOUND.match(header)
        if found is None:
            if not header:
                raise EOFError
            return None  # "NAME missing", "NAME ambiguous"
        kind, size = found[1], int(found[2])
        if kind == b"blob" and (limit is None or size <= limit):
            return self._read(size + 1)[:-1]
        for start in range(0, size + 1, _PIECE):
            self._read(min(_PIECE, size + 1 - start))
        return None

    def _read(self, count: int) -> bytes:
        assert self._process
        assert self._process.stdout
        data = self._process.stdout.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _stop(self) -> None:
        if self._process is not None:
            self._process = None
            self._end()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
