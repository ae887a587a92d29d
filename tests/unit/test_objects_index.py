"""The index: a cache that may be lost, damaged, locked or read-only at any time."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.manifest import StorageLine
from git_theta.objects import waiting
from git_theta.objects.database import _Connection, seal
from git_theta.objects.index import Index, Lines
from git_theta.objects.waiting import Waiting


def name_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


A, B, C = map(name_of, "ABC")


def chain(*digests: str, oid: str = "object") -> Lines:
    """The first one is predicted from the second, and so on. The index says of bases only where they are."""
    lines = {}
    bases: tuple[str, ...] = ()
    for member, digest in reversed([*enumerate(digests)]):
        line = StorageLine(digest, name_of(oid), 10, member, "delta" if bases else "dense", bases)
        if member:
            line = replace(line, digest=line.place, update="")
        lines[line.digest], bases = line, (line.digest,)
    return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "theta" / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    index = Index(path)
    yield index
    index.close()


def test_what_is_recorded_is_found_by_every_process(index: Index, path: Path) -> None:
    assert index.find(A) == []
    assert not path.exists(), "nothing is written by looking"
    index.record({A: chain(A, B), C: chain(C)})
    other = Index(path)
    for reader in (index, other):
        assert reader.find(A) == [chain(A, B)]
        assert reader.find(C) == [chain(C)]
        assert reader.find(B) == [], "a base was not restored itself"
    other.close()


def test_what_takes_the_fewest_reads_comes_first_and_none_stands_twice(index: Index) -> None:
    for oid in ("z", "a", "z", "m"):
        index.record({A: chain(A, B, oid=oid)})
    index.record({A: chain(A, oid="dense")})
    found = [lines[A].oid for lines in index.find(A)]
    assert found == [name_of("dense"), *sorted(map(name_of, "zam"))]


def test_records_can_be_dropped(index: Index) -> None:
    index.record({A: chain(A), B: chain(B)})
    index.forget([A])
    assert index.find(A) == []
    assert index.find(B) == [chain(B)]


def test_many_digests(index: Index) -> None:
    many = [name_of(str(number)) for number in range(3000)]
    index.record({digest: chain(digest) for digest in many})
    assert all(index.find(digest) == [chain(digest)] for digest in many[::500])


def test_norms(index: Index) -> None:
    assert index.norms([(A, "F32")]) == {}
    index.record_norms({(A, "F32"): 1.5, (A, "BF16"): float("inf")})
    index.record_norms({(A, "F32"): 2.5})
    assert index.norms([(A, "F32"), (A, "BF16"), (B, "F32")]) == {
        (A, "F32"): 1.5,  # the first record stays
        (A, "BF16"): float("inf"),
    }


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_index_is_empty_and_begins_anew(path: Path, index: Index, damage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)
    assert index.find(A) == []
    assert index.norms([(A, "F32")]) == {}
    index.record({A: chain(A)})
    assert index.find(A) == [chain(A)]


def test_damage_inside_is_noticed(index: Index, path: Path) -> None:
    many = [name_of(str(number)) for number in range(2000)]
    index.record({digest: chain(digest) for digest in many})
    index.close()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    data = bytearray(path.read_bytes())
    data[8192:200_000] = b"\xa5" * (200_000 - 8192)
    path.write_bytes(data)
    for digest in many[::100]:
        assert index.find(digest) in ([], [chain(digest)])
    index.record({digest: chain(digest, oid="again") for digest in many})
    index.record({many[-1]: chain(many[-1], oid="again")})
    assert index.find(many[-1])[-1] == chain(many[-1], oid="again")


def test_rows_that_make_no_sense_are_left_out(index: Index, path: Path) -> None:
    index.record({A: chain(A)})
    with sqlite3.connect(path) as database:
        for place in [7, "text", b"\xff\n", "0123456.0", "a" * 16 + ".0(" * 9999, ""]:
            row = bytes.fromhex(A), place, "dense"
            database.execute("INSERT INTO places VALUES (?, ?, ?, ?)", (*row, seal(*row)))
    database.close()
    assert index.find(A) == [chain(A)]


def test_an_index_of_another_version_is_as_if_empty(index: Index, path: Path) -> None:
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE places (something TEXT)")
    database.close()
    assert index.find(A) == []
    index.record({A: chain(A)})
    assert index.find(A) == []


def test_an_index_that_cannot_be_made_is_as_if_empty(tmp_path: Path) -> None:
    (tmp_path / "theta").write_text("a file")
    index = Index(tmp_path / "theta" / "index.sqlite")
    index.record({A: chain(A)})
    index.record_norms({(A, "F32"): 1.0})
    index.forget([A])
    assert index.find(A) == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long."""
    monkeypatch.setattr(Waiting, "STEP", 0.0)
    monkeypatch.setattr(waiting, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "MOST_SECONDS", 0.0)


def test_an_index_that_is_locked_is_read_and_not_waited_for_in_vain(
    index: Index, path: Path, hasty: None, capfd: pytest.CaptureFixture[str]
) -> None:
    index.record({A: chain(A)})
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    index.record({B: chain(B)})
    said = capfd.readouterr().err
    assert f"waiting for another process, which has locked {path}" in said
    assert f"{path} is still locked after 0 s; going on without it" in said
    index.record({B: chain(B)})
    assert capfd.readouterr().err == "", "once is enough"
    assert index.find(A) == [chain(A)]
    holder.rollback()
    holder.close()
    assert index.find(B) == []
    index.record({B: chain(B)})
    assert index.find(B) == [chain(B)]


_HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""
_WRITER = """
import sys
from pathlib import Path
from git_theta.objects import waiting
from git_theta.objects.index import Index
waiting.MOST_SECONDS = 3600.0  # it is the test that ends it, however busy the machine
Index(Path(sys.argv[1])).record_others([b"x" * 20])
print("done")
"""


@pytest.fixture
def holder(index: Index, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has locked the index until it can read a line."""
    index.record({A: chain(A)})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(path)], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def writer(path: Path) -> subprocess.Popen[str]:
    """A process that writes to the index, and now says that it waits."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], text=True, **pipes)
    assert started.stderr is not None
    said = started.stderr.readline()
    assert f"which has locked {path}; in " in said
    assert "(Ctrl-C stops it)" in said
    return started


def test_who_waits_says_so_and_goes_on_when_it_can(
    holder: subprocess.Popen[str], index: Index, path: Path
) -> None:
    with writer(path) as waits:
        assert holder.stdin is not None
        holder.stdin.write("go on\n")
        holder.stdin.flush()
        assert waits.communicate() == ("done\n", "")
    assert index.others() == {b"x" * 20}


def test_who_waits_can_be_stopped(holder: subprocess.Popen[str], index: Index, path: Path) -> None:
    with writer(path) as waits:
        waits.send_signal(signal.SIGINT)
        output, errors = waits.communicate()
    assert output == ""
    assert "KeyboardInterrupt" in errors
    assert index.others() == set()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="nobody tells who holds a lock")
def test_who_is_waited_for_is_named(holder: subprocess.Popen[str], path: Path) -> None:
    assert f"process {holder.pid} (" in waiting.holder(path)


def test_threads_and_processes_write_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_SECONDS", 3600.0)
    indices = [Index(path) for _ in range(4)]

    def work(number: int) -> None:
        for step in range(10):
            digest = name_of(f"{number} {step}")
            indices[number].record({digest: chain(digest), A: chain(A)})
            assert indices[number].find(digest) == [chain(digest)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [indices[0].find(name_of(f"{number} {step}")) for number in range(4) for step in range(10)]
    assert all(found)
    assert indices[0].find(A) == [chain(A)]
    for index in indices:
        index.close()


COMING_AND_GOING = """
import sys
from pathlib import Path
from git_theta.objects import waiting
from test_objects_index import A, Index, chain, name_of
waiting.MOST_SECONDS = 3600.0  # on a busy machine, too, nobody gives up
print(flush=True)
sys.stdin.read()
for step in range(50):
    index = Index(Path(sys.argv[1]))
    digest = name_of(f"{sys.argv[2]} {step}")
    index.record({digest: chain(digest), A: chain(A)})
    assert index.find(digest) == [chain(digest)]
    index.close()
"""


@pytest.mark.slow
def test_processes_that_come_and_go_lose_nothing(path: Path) -> None:
    """SQLite's own files come and go with them: to see one that is gone by the next look is no damage."""
    folders = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", COMING_AND_GOING, str(path), str(number)],
            env=os.environ | {"PYTHONPATH": folders},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(5)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:  # all at once
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in running] == [0] * 5
    for process in running:
        assert process.stdout is not None
        process.stdout.close()
    index = Index(path)
    assert all(index.find(name_of(f"{number} {step}")) for number in range(5) for step in range(50))
    index.close()


def test_the_index_of_a_newer_git_theta_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE places (digest, place, of_another_kind)")
        database.execute("INSERT INTO places VALUES (?, 'x', 'y')", (A,))
        database.execute("PRAGMA user_version = 3")
    before = path.read_bytes()
    index = Index(path)
    assert index.find(A) == []
    index.record({A: chain(A)})
    index.forget([A])
    assert index.find(A) == []
    index.close()
    assert path.read_bytes() == before


def change_row(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement, values).rowcount > 0


def test_values_of_another_kind_are_not_taken(path: Path, index: Index) -> None:
    index.record_norms({(A, "F32"): 1.0})
    change_row(path, "UPDATE norms SET norm = 'a text'")
    assert index.norms([(A, "F32")]) == {}


def test_no_bit_of_a_row_can_be_another_one(path: Path, index: Index) -> None:
    index.record({A: chain(A, B)})
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for table, columns in (("places", "mark, place, kind"), ("objects", "mark, oid, size")):
            [row] = database.execute(f"SELECT {columns} FROM {table}").fetchall()
            for column, value in zip(columns.split(", "), row, strict=True):
                data = value if isinstance(value, bytes) else str(value).encode()
                for bit in range(8 * len(data)):
                    flipped = bytearray(data)
                    flipped[bit // 8] ^= 1 << bit % 8
                    other = bytes(flipped) if isinstance(value, bytes) else flipped.decode("latin-1")
                    with database:
                        database.execute(f"UPDATE {table} SET {column} = ?", (other,))
                    assert index.find(A) == []
                with database:
                    database.execute(f"UPDATE {table} SET {column} = ?", (value,))
    assert index.find(A) == [chain(A, B)]


def test_a_damaged_row_gives_way_to_the_next_that_is_recorded(path: Path, index: Index) -> None:
    def record() -> None:
        index.record({A: chain(A)})
        index.record_norms({(A, "F32"): 1.5})
        index.record_changes({("x", "y"): "a change"})
        index.record_others([b"a" * 20])

    def found() -> tuple[object, ...]:
        return index.find(A), index.norms([(A, "F32")]), index.change("x", "y"), index.others()

    record()
    whole = [chain(A)], {(A, "F32"): 1.5}, "a change", {b"a" * 20}
    assert found() == whole
    change_row(path, "UPDATE objects SET size = 11")
    change_row(path, "UPDATE norms SET norm = 1.25")
    change_row(path, "UPDATE changes SET change = 'no change'")
    change_row(path, "UPDATE others SET mark = x'00'")
    assert found() == ([], {}, None, set())
    record()
    assert found() == whole
    change_row(path, "UPDATE others SET blob = ?", b"b" * 20)
    assert index.others() == set(), "that blob may be a manifest"


def test_a_row_that_cannot_even_be_read_is_in_nobodys_way(path: Path, index: Index) -> None:
    index.record_norms({(A, "F32"): 1.5})
    change_row(path, "UPDATE norms SET norm = CAST(x'ff' AS TEXT)")
    assert index.norms([(A, "F32")]) == {}
    index.record_norms({(A, "F32"): 1.5})
    assert index.norms([(A, "F32")]) == {(A, "F32"): 1.5}


@pytest.mark.slow
def test_no_byte_of_the_file_can_be_another_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.sqlite"
    with closing(sqlite3.connect(whole)) as database:
        database.execute("PRAGMA page_size = 512")
        database.execute("VACUUM")
    first = Index(whole)
    first.record({A: chain(A), B: chain(B, C)})
    first.record_norms({(A, "F32"): 1.5})
    first.close()
    with closing(sqlite3.connect(whole)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    data = whole.read_bytes()
    assert len(data) < 10_000
    for position in [*range(100), *range(100, len(data), 29)]:  # all of SQLite's header
        path = tmp_path / f"{position}.sqlite"
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        index = Index(path)
        assert index.find(A) in ([], [chain(A)])
        assert index.find(B) in ([], [chain(B, C)])
        assert index.norms([(A, "F32")]) in ({}, {(A, "F32"): 1.5})
        if position % 5 == 0:
            index.record({A: chain(A)})
            assert index.find(A) == [chain(A)], position
        index.close()


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096, b"garbage" * 1000])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_a_file_of_the_index_that_is_gone_or_garbage(
    index: Index, path: Path, suffix: str, damage: bytes
) -> None:
    file = path.with_name(path.name + suffix)
    for spoil in (lambda: file.write_bytes(damage), lambda: file.unlink(missing_ok=True)):
        index.record({A: chain(A)})
        index.close()
        spoil()
        assert index.find(A) in ([], [chain(A)])
        index.record({A: chain(A)})
        assert index.find(A) == [chain(A)]


def test_damage_to_the_version_does_not_look_newer(index: Index, path: Path) -> None:
    index.record({A: chain(A)})
    index.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 4")
    assert index.find(A) == [chain(A)]
    index.record({B: chain(B)})
    assert [index.find(A), index.find(B)] == [[chain(A)], [chain(B)]]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_tables_of_ours_that_damage_has_changed_are_made_anew(index: Index, path: Path) -> None:
    index.record({A: chain(A)})
    index.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE places RENAME COLUMN mark TO oark")
    assert index.find(A) == []
    index.record({A: chain(A)})
    assert index.find(A) == [chain(A)]


_WITHOUT_MARKS = """
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


@pytest.mark.parametrize("version", [0, 1])
def test_an_index_of_an_older_version_is_taken_over(path: Path, index: Index, version: int) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_WITHOUT_MARKS)
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("INSERT INTO stored VALUES (?, x'00', x'00')", (A,))
        database.execute("INSERT INTO norms VALUES (?, 'F32', 1.5)", (A,))
        database.execute("INSERT INTO changes VALUES ('x', 'y', 'a change')")
        database.execute("INSERT INTO others VALUES (?)", (b"a" * 20,))
    assert index.find(A) == [], "what it knew of places is found out again"
    index.record({A: chain(A)})
    assert index.find(A) == [chain(A)]
    assert index.norms([(A, "F32")]) == {(A, "F32"): 1.5}
    assert index.change("x", "y") == "a change"
    assert index.others() == {b"a" * 20}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_gives_way_to_the_index(tmp_path: Path, kind: str, suffix: str) -> None:
    elsewhere = Index(tmp_path / "elsewhere.sqlite")
    elsewhere.record({A: chain(A)})
    elsewhere.close()
    before = (tmp_path / "elsewhere.sqlite").read_bytes()
    path = tmp_path / f"index.sqlite{suffix}"
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere.sqlite")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
        (path / "file").write_text("text")
    index = Index(tmp_path / "index.sqlite")
    assert index.find(A) == []
    index.record({B: chain(B)})
    assert [index.find(A), index.find(B)] == [[], [chain(B)]]
    index.close()
    assert (tmp_path / "elsewhere.sqlite").read_bytes() == before
    assert len(list(tmp_path.glob("*/file"))) == (kind == "folder")


def test_blobs_that_are_no_manifests(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    assert index.others() == set()
    index.record_others([b"a" * 20, b"b" * 20])
    index.record_others([b"a" * 20])
    assert index.others() == {b"a" * 20, b"b" * 20}
    index.close()


def test_blobs_that_are_manifests_with_nothing_amiss(index: Index, path: Path) -> None:
    assert index.whole() == set()
    index.record_whole([b"a" * 20, b"b" * 20])
    index.record_whole([b"a" * 20])
    assert index.whole() == {b"a" * 20, b"b" * 20}
    change_row(path, "UPDATE whole SET blob = ? WHERE blob = ?", b"c" * 20, b"a" * 20)
    assert index.whole() == {b"b" * 20}, "a row that damage has changed is not believed"


def test_what_cannot_be_opened_is_said_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Root can read every file, so a place stands for one without permission that there cannot be."""
    with suppress(sqlite3.Error):
        sqlite3.connect(tmp_path / "nowhere" / "index.sqlite", factory=_Connection)
    gc.collect()
    assert capfd.readouterr() == ("", "")
