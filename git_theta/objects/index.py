"""The local index: which digest is stored where. A cache; losing it loses nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from git_theta.manifest import StorageLine

_SCHEMA = """
CREATE TABLE IF NOT EXISTS storage (
    digest TEXT PRIMARY KEY, oid TEXT NOT NULL, size INTEGER NOT NULL, member INTEGER NOT NULL,
    update_kind TEXT NOT NULL, bases TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS norms (
    digest TEXT, dtype TEXT, norm REAL NOT NULL, PRIMARY KEY (digest, dtype)
) WITHOUT ROWID;
"""
_BATCH = 500  # bound variables of one statement


class Index:
    """The index of a local store.

    Processes share it; whoever comes first records a digest, and the record stays. In a repository that
    cannot be written, and after damage, it is as if it were empty.

    Args:
        path: the database file; its folder is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def find(self, digests: Iterable[str]) -> dict[str, StorageLine]:
        """The recorded lines of these digests and, transitively, of their bases, as far as known."""
        found: dict[str, StorageLine] = {}
        with self._lock, suppress(sqlite3.Error, ValueError):
            wanted = set(digests) if self._path.exists() else set()
            while wanted:
                rows = _select(self._reader(), sorted(wanted))
                lines = {row[0]: StorageLine(*row[:5], tuple(json.loads(row[5]))) for row in rows}
                found.update(lines)
                wanted = {base for line in lines.values() for base in line.bases} - found.keys()
        return found

    def record(self, lines: Iterable[StorageLine]) -> None:
        """Remember where digests are stored; the first record of a digest wins."""
        rows = [
            (line.digest, line.oid, line.size, line.member, line.update, json.dumps(line.bases))
            for line in lines
        ]
        self._write("INSERT OR IGNORE INTO storage VALUES (?, ?, ?, ?, ?, ?)", rows)

    def forget(self, digests: Iterable[str]) -> None:
        """Drop records, of objects that are gone."""
        self._write("DELETE FROM storage WHERE digest = ?", [(digest,) for digest in digests])

    def norms(self, tensors: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """The recorded 2-norms of (digest, dtype name) pairs, as far as known."""
        found: dict[tuple[str, str], float] = {}
        if not self._path.exists():
            return found
        with self._lock, suppress(sqlite3.Error):
            for key in tensors:
                row = (
                    self._reader()
                    .execute("SELECT norm FROM norms WHERE digest = ? AND dtype = ?", key)
                    .fetchone()
                )
                if row is not None:
                    found[key] = row[0]
        return found

    def record_norms(self, norms: Mapping[tuple[str, str], float]) -> None:
        """Remember 2-norms by (digest, dtype name)."""
        rows = [(*key, norm) for key, norm in norms.items()]
        self._write("INSERT OR REPLACE INTO norms VALUES (?, ?, ?)", rows)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        for attempt in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with closing(self._connect()) as database, database:
                    database.executescript(_SCHEMA)
                    database.executemany(statement, rows)
                return
            except sqlite3.DatabaseError as error:
                if attempt or isinstance(error, sqlite3.OperationalError):
                    return  # locked for long, full or read-only: a cache may miss an entry
                self._path.unlink(missing_ok=True)  # damaged: begin anew
            except OSError:
                return

    def _reader(self) -> sqlite3.Connection:
        """One connection for all reads of this process; threads take turns."""
        if self._reading is None:
            self._reading = self._connect()
        return self._reading

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=20, check_same_thread=False)
        with suppress(sqlite3.OperationalError):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
        return database


def _select(database: sqlite3.Connection, digests: list[str]) -> list[tuple[str, str, int, int, str, str]]:
    rows: list[tuple[str, str, int, int, str, str]] = []
    for start in range(0, len(digests), _BATCH):
        part = digests[start : start + _BATCH]
        marks = ",".join("?" * len(part))
        rows += database.execute(f"SELECT * FROM storage WHERE digest IN ({marks})", part).fetchall()  # noqa: S608
    return rows
