"""The local index: which digest is stored where. A cache; losing it loses nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from blake3 import blake3

from git_theta.chains import closure
from git_theta.errors import DamagedManifest
from git_theta.manifest import StorageLine, parse_storage, write_storage

Lines = Mapping[str, StorageLine]
"""A digest's storage line and those of all its bases."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stored (
    digest TEXT NOT NULL, mark BLOB NOT NULL, lines BLOB NOT NULL, UNIQUE (digest, mark)
);
CREATE TABLE IF NOT EXISTS norms (
    digest TEXT, dtype TEXT, norm REAL NOT NULL, PRIMARY KEY (digest, dtype)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    old TEXT, new TEXT, change TEXT NOT NULL, PRIMARY KEY (old, new)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS others (blob BLOB PRIMARY KEY) WITHOUT ROWID;
"""


_VERSION = 1
"""Of the tables. Another number than this, or 0, which older ones have, is of a newer git-theta."""


class _Newer(Exception):
    """A newer git-theta keeps the index."""


class Index:
    """The index of a local store. Thread-safe.

    A digest has the lines that this repository has stored it by, or restored it from: they are known to give
    the right bytes, as long as their objects are there. The lines of one record belong together.
    Processes share the index. In a repository that cannot be written, after damage, and where another
    git-theta keeps it in another way, it is as if it were empty.

    Args:
        path: the database file; its folder is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def find(self, digest: str) -> list[Lines]:
        """Each record of a digest, the first one first."""
        rows = self._read("SELECT lines FROM stored WHERE digest = ? ORDER BY rowid", (digest,))
        found: list[Lines] = []
        for (text,) in rows:
            with suppress(DamagedManifest, TypeError, AttributeError):
                found.append(closure([digest], parse_storage(text)))
        return found

    def record(self, stored: Mapping[str, Lines]) -> None:
        """Remember by which lines digests were stored or restored."""
        rows = []
        for digest, lines in stored.items():
            text = write_storage(lines)
            rows.append((digest, blake3(text).digest(16), text))
        self._write("INSERT OR IGNORE INTO stored VALUES (?, ?, ?)", rows)

    def forget(self, digests: Iterable[str]) -> None:
        """Drop records, of objects that are gone."""
        self._write("DELETE FROM stored WHERE digest = ?", [(digest,) for digest in digests])

    def norms(self, tensors: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """The recorded 2-norms of (digest, dtype name) pairs, as far as known."""
        found: dict[tuple[str, str], float] = {}
        for key in tensors:
            for (norm,) in self._read("SELECT norm FROM norms WHERE digest = ? AND dtype = ?", key):
                if isinstance(norm, float):
                    found[key] = norm
        return found

    def record_norms(self, norms: Mapping[tuple[str, str], float]) -> None:
        """Remember 2-norms by (digest, dtype name); the first one recorded stays."""
        rows = [(*key, norm) for key, norm in norms.items()]
        self._write("INSERT OR IGNORE INTO norms VALUES (?, ?, ?)", rows)

    def change(self, old: str, new: str) -> str | None:
        """What is recorded of how one tensor became another."""
        rows = self._read("SELECT change FROM changes WHERE old = ? AND new = ?", (old, new))
        return next((text for (text,) in rows if isinstance(text, str)), None)

    def record_changes(self, changes: Mapping[tuple[str, str], str]) -> None:
        """Remember texts by pairs of tensors; the last one recorded stays."""
        rows = [(*pair, change) for pair, change in changes.items()]
        self._write("INSERT OR REPLACE INTO changes VALUES (?, ?, ?)", rows)

    def others(self) -> set[bytes]:
        """The blobs of Git's, by binary oid, that are known to be no manifests."""
        return {blob for (blob,) in self._read("SELECT blob FROM others", ())}

    def record_others(self, blobs: Iterable[bytes]) -> None:
        """Remember that these blobs are no manifests, so that no push reads them again."""
        self._write("INSERT OR IGNORE INTO others VALUES (?)", [(blob,) for blob in blobs])

    def close(self) -> None:
        """Let go of the database; it is opened again when it is needed."""
        with self._lock:
            if self._reading is not None:
                self._reading.close()
                self._reading = None

    def _read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._lock, suppress(sqlite3.Error, OSError, _Newer):
            if self._reading is None and self._path.exists():
                self._reading = self._connect()
            if self._reading is not None:  # one connection for all reads of this process
                return self._reading.execute(query, values).fetchall()
        return []

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        for attempt in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._connect()) as database, database:
                    database.executescript(_SCHEMA)
                    database.execute(f"PRAGMA user_version = {_VERSION}")
                    database.executemany(statement, rows)
                return
            except sqlite3.DatabaseError as error:
                if attempt or isinstance(error, sqlite3.OperationalError):
                    return  # locked for long, full, read-only, other tables: a cache may miss an entry
                self._begin_anew()
            except (OSError, _Newer):
                return

    def _begin_anew(self) -> None:
        """Remove a damaged database."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=20, check_same_thread=False)
        try:
            with suppress(sqlite3.OperationalError):
                if database.execute("PRAGMA user_version").fetchone()[0] > _VERSION:
                    raise _Newer
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = OFF")
        except (sqlite3.DatabaseError, _Newer):
            database.close()
            raise
        return database
