"""The file of the local index: a SQLite database that can be damaged, locked or of another version.

It is a cache. So nothing of it is believed without its checksum, and no command fails for it: what cannot be
read is as if it were not there, and a file that is damaged is begun anew.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from blake3 import blake3

from git_theta.objects.waiting import Waiting
from git_theta.regular import is_in_the_way

_VERSION = 2
"""Of the tables. A higher number is of a newer git-theta, and 0 of an older one."""
_OURS = 0x54485432
"""The application's number that goes with that version. So damage to one of the two does not look newer."""
_TABLES = {
    "objects": """(
    short TEXT PRIMARY KEY, oid BLOB NOT NULL, size INTEGER NOT NULL, mark BLOB NOT NULL
) WITHOUT ROWID""",
    "places": """(
    digest BLOB, place TEXT, kind TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (digest, place)
) WITHOUT ROWID""",
    "whole": """(blob BLOB PRIMARY KEY, mark BLOB NOT NULL) WITHOUT ROWID""",
    "norms": """(
    digest TEXT, dtype TEXT, norm REAL NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (digest, dtype)
) WITHOUT ROWID""",
    "changes": """(
    old TEXT, new TEXT, change TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (old, new)
) WITHOUT ROWID""",
    "others": "(blob BLOB PRIMARY KEY, mark BLOB NOT NULL) WITHOUT ROWID",
}
_OLDER = {  # as they were before rows had marks, and what takes the rows over
    "norms": (
        """(
    digest TEXT, dtype TEXT, norm REAL NOT NULL, PRIMARY KEY (digest, dtype)
) WITHOUT ROWID""",
        "INSERT INTO norms SELECT digest, dtype, norm, seal(digest, dtype, norm) FROM older",
    ),
    "changes": (
        """(
    old TEXT, new TEXT, change TEXT NOT NULL, PRIMARY KEY (old, new)
) WITHOUT ROWID""",
        "INSERT INTO changes SELECT old, new, change, seal(old, new, change) FROM older",
    ),
    "others": (
        "(blob BLOB PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO others SELECT blob, seal(blob) FROM older",
    ),
}
_SUFFIXES = ("", "-wal", "-shm", "-journal")  # of SQLite's files
_Result = TypeVar("_Result")


class _NotOurs(Exception):
    """The database was made by a newer git-theta, and is left alone."""


class _Damaged(sqlite3.DatabaseError):
    """The database is ours, but its tables are not; or something else lies in its place."""


def seal(*values: object) -> bytes | None:
    """A checksum over the values of a row, kept beside them, also as SQL function; None if damage shows."""
    try:
        return blake3(b"\0".join(map(_bytes, values))).digest(16)
    except ValueError:  # a text that damage has left without an encoding
        return None


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class _Connection(sqlite3.Connection):
    """A connection that is closed with what holds it, which newer Pythons warn of where nobody does it."""

    def __del__(self) -> None:
        with suppress(sqlite3.Error):  # where it could not even be opened
            self.close()


class Database:
    """The database. Thread-safe; processes share it.

    Args:
        path: the file; its folder is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._files = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
        self._waiting = Waiting(path)

    def read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a query; none where the database cannot be read."""
        with self._lock, suppress(sqlite3.Error, UnicodeDecodeError, OSError, _NotOurs):
            return self._patiently(lambda: self._read(query, values))
        return []

    def write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Execute a statement for each of these rows, or for none where the database cannot be written."""
        if not rows:
            return
        for attempt in range(2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._patiently(lambda: self._write(statement, rows))
                return
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if attempt or not _is_damage(error):
                    return  # locked for long, full, read-only, other tables: a cache may miss an entry
                self._begin_anew()
            except (OSError, _NotOurs):
                return

    def close(self) -> None:
        """Let go of the database; it is opened again when it is needed."""
        with self._lock:
            if self._reading is not None:
                self._reading.close()
                self._reading = None

    def _read(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._reading is None and self._path.exists():
            self._reading = self._connect()
        if self._reading is not None:  # one connection for all reads of this process
            return self._reading.execute(query, values).fetchall()
        return []

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            _prepare(database)
            database.executemany(statement, rows)

    def _patiently(self, work: Callable[[], _Result]) -> _Result:
        """Run an operation, again as long as another process has locked the database."""
        for _ in self._waiting.turns():
            try:
                return work()
            except sqlite3.OperationalError as error:
                if not _is_locked(error):
                    raise
                last = error
        raise last

    def _begin_anew(self) -> None:
        """Remove a damaged database, and what lies in its place; folders are only moved aside."""
        self.close()
        for file in self._files:
            with suppress(OSError):
                if file.is_dir() and not file.is_symlink():
                    file.rename(f"{file}.{os.urandom(4).hex()}")
                else:
                    file.unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        for file in self._files:
            if is_in_the_way(file):
                raise _Damaged(f"{file} is no file")
        database = sqlite3.connect(
            self._path,
            timeout=Waiting.STEP,
            check_same_thread=False,
            isolation_level=None,
            factory=_Connection,
        )
        try:
            database.text_factory = partial(str, encoding="utf-8", errors="replace")
            database.create_function("seal", -1, seal, deterministic=True)
            with _unless_locked():
                _check_version(database)
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = OFF")
        except BaseException:
            database.close()
            raise
        return database


def _check_version(database: sqlite3.Connection) -> None:
    if _number(database, "user_version") > _VERSION and _number(database, "application_id") != _OURS:
        raise _NotOurs


def _prepare(database: sqlite3.Connection) -> None:
    """Create missing tables, and convert those of older versions."""
    found = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    for name, text in _TABLES.items():
        wanted = f"CREATE TABLE {name} {text}"
        older, take_over = _OLDER.get(name, ("", ""))
        if name not in found:
            database.execute(wanted)
        elif found[name] == f"CREATE TABLE {name} {older}":
            database.execute(f"ALTER TABLE {name} RENAME TO older")
            database.execute(wanted)
            database.execute(take_over)
            database.execute("DROP TABLE older")
        elif found[name] != wanted and _number(database, "application_id") == _OURS:
            raise _Damaged(f"the table {name} is another one")
    database.execute("DROP TABLE IF EXISTS stored")  # of version 1, eight times as large
    for key, number in (("user_version", _VERSION), ("application_id", _OURS)):
        if _number(database, key) != number:
            database.execute(f"PRAGMA {key} = {number}")


def _number(database: sqlite3.Connection, key: str) -> int:
    return int(database.execute(f"PRAGMA {key}").fetchone()[0])


@contextmanager
def _unless_locked() -> Iterator[None]:
    """Goes on where something cannot be done (in a folder that cannot be written, say), but for locks."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_locked(error):
            raise


def _is_damage(error: Exception) -> bool:
    """Whether an error comes of damage: what SQLite says of that need not be a text, nor a row's text one."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return False
    return not isinstance(error, sqlite3.OperationalError) or "user-defined function" in str(error)


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error)
