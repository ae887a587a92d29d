"""The index: a cache that may be lost, damaged, locked or read-only at any time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.manifest import StorageLine
from git_theta.objects.index import Index, Lines


def name_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


A, B, C = map(name_of, "ABC")


def chain(*digests: str, oid: str = "object") -> Lines:
    """Each digest is predicted from the one behind it."""
    lines = {}
    for digest, base in zip(digests, [*digests[1:], ""], strict=True):
        bases = (base,) if base else ()
        lines[digest] = StorageLine(digest, name_of(oid), 10, 0, "delta" if base else "dense", bases)
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


def test_the_first_record_comes_first_and_none_stands_twice(index: Index) -> None:
    for oid in ("z", "a", "z", "m"):
        index.record({A: chain(A, oid=oid)})
    assert [lines[A].oid for lines in index.find(A)] == [name_of("z"), name_of("a"), name_of("m")]


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
        for number, lines in enumerate([7, "text", b"\xff\n", b'{"digest":1}\n', b"[" * 9999, b""]):
            database.execute("INSERT INTO stored VALUES (?, ?, ?)", (A, bytes([number]), lines))
    database.close()
    assert index.find(A) == [chain(A)]


def test_an_index_of_another_version_is_as_if_empty(index: Index, path: Path) -> None:
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE stored (something TEXT)")
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


def test_an_index_that_is_locked_is_read_and_not_waited_for_in_vain(
    index: Index, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.record({A: chain(A)})
    plain = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout, **other: plain(path, timeout=0, **other))
    holder = plain(path)
    holder.execute("BEGIN EXCLUSIVE")
    index.record({B: chain(B)})
    assert index.find(A) == [chain(A)]
    holder.rollback()
    holder.close()
    assert index.find(B) == []


def test_threads_and_processes_write_at_once(path: Path) -> None:
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


def test_the_index_of_a_newer_git_theta_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE stored (digest, lines, of_another_kind)")
        database.execute("INSERT INTO stored VALUES (?, 'x', 'y')", (A,))
        database.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    index = Index(path)
    assert index.find(A) == []
    index.record({A: chain(A)})
    index.forget([A])
    assert index.find(A) == []
    index.close()
    assert path.read_bytes() == before


def test_values_of_another_kind_are_not_taken(path: Path, index: Index) -> None:
    index.record_norms({(A, "F32"): 1.0})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE norms SET norm = 'a text'")
    assert index.norms([(A, "F32")]) == {}


def test_blobs_that_are_no_manifests(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    assert index.others() == set()
    index.record_others([b"a" * 20, b"b" * 20])
    index.record_others([b"a" * 20])
    assert index.others() == {b"a" * 20, b"b" * 20}
    index.close()
