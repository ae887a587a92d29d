"""The local store: nothing half-written gets a name, whatever fails."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR

import pytest

from git_theta.errors import DamagedObject, MissingObject, ThetaError
from git_theta.files import TemporaryFolder, beside
from git_theta.objects.store import LocalStore, link_or_copy, verify

DATA = b"some bytes" * 100
OID = sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "theta")


def write(store: LocalStore, data: bytes = DATA) -> str:
    oid = sha256(data).hexdigest()
    with store.write() as (file, keep):
        file.write(data)
        keep(oid)
    return oid


def leftovers(store: LocalStore) -> list[Path]:
    return list((store.root / "tmp").glob("*"))


def path_of(store: LocalStore, oid: str = OID) -> Path:
    return store.root / "objects" / oid[:2] / oid[2:4] / oid


def test_an_object_is_found_under_its_oid(store: LocalStore) -> None:
    assert not store.has(OID)
    assert list(store.oids()) == []
    assert write(store) == OID
    assert store.find(OID) == path_of(store)
    assert path_of(store).read_bytes() == DATA
    assert path_of(store).stat().st_mode & 0o777 == 0o444
    assert list(store.oids()) == [OID]
    assert not leftovers(store)


def test_an_object_that_was_cut_off_by_a_power_failure_is_not_there(store: LocalStore) -> None:
    write(store)
    path_of(store).chmod(0o644)
    path_of(store).write_bytes(b"")
    assert store.has(OID)
    assert not store.has(OID, len(DATA))
    write(store)
    assert store.has(OID, len(DATA))


@pytest.mark.parametrize("oid", ["", "../../etc/passwd", OID.upper(), OID + "\n", OID[:-1]])
def test_only_oids_are_looked_up(store: LocalStore, oid: str) -> None:
    with pytest.raises(ValueError, match="no oid"):
        store.find(oid)


def test_nothing_is_left_of_a_write_that_was_given_up(store: LocalStore) -> None:
    with pytest.raises(RuntimeError), store.write() as (file, _):
        file.write(DATA)
        raise RuntimeError
    assert not leftovers(store)
    assert not list(store.oids())


def test_objects_of_alternates_are_found_but_not_listed(store: LocalStore, tmp_path: Path) -> None:
    write(store)
    borrower = LocalStore(tmp_path / "other", [store.root])
    assert borrower.find(OID) == path_of(store)
    assert list(borrower.oids()) == []


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes a stand-in for a disk with room for so many bytes: it writes parts, then fails."""
    plain = os.write

    def fill_up(room: int) -> None:
        def write(descriptor: int, data: memoryview) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done = plain(descriptor, data[: min(room, max(1, len(data) // 2))])
            room -= done
            return done

        monkeypatch.setattr(os, "write", write)

    return fill_up


def test_a_write_that_the_system_does_in_parts_is_whole(
    store: LocalStore, disk: Callable[[int], None]
) -> None:
    disk(len(DATA))
    write(store)
    verify(path_of(store), OID, len(DATA))


@pytest.mark.parametrize("room", [0, 1, 500, len(DATA) - 1])
def test_a_full_disk_names_the_place_and_leaves_nothing(
    store: LocalStore, disk: Callable[[int], None], room: int
) -> None:
    disk(room)
    with pytest.raises(ThetaError, match=r"cannot write to .*theta.*: No space left") as caught:
        write(store)
    assert "make room" in caught.value.remedy
    assert not leftovers(store)
    assert not store.has(OID)
    with pytest.raises(ThetaError, match="No space left"), store.spool() as file:
        file.write(DATA)
    assert not leftovers(store)


def test_a_folder_in_the_way_is_reported(store: LocalStore) -> None:
    store.root.mkdir()
    (store.root / "objects").write_text("a file")
    with pytest.raises(ThetaError, match="cannot write to"):
        write(store)
    assert not leftovers(store)


def test_what_cannot_be_spooled_in_the_store_is_spooled_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "theta").write_text("a file, so that no folder can be made here")
    with LocalStore(tmp_path / "theta").spool() as file:
        file.write(DATA)
        path = Path(file.name)
        assert path.read_bytes() == DATA
    assert not path.exists()


def test_adopt_verifies_before_it_names(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    wrong = "0" * 64
    for oid, size in ((wrong, len(DATA)), (OID, len(DATA) + 1)):
        with pytest.raises(DamagedObject):
            store.adopt(source, oid, size)
        assert not store.has(oid)
    store.adopt(source, OID, len(DATA))
    store.adopt(source, OID, len(DATA))
    assert path_of(store).read_bytes() == DATA
    assert not leftovers(store)


def test_adopt_replaces_an_object_that_is_cut_off(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    path_of(store).parent.mkdir(parents=True)
    path_of(store).write_bytes(DATA[:10])
    store.adopt(source, OID, len(DATA))
    assert path_of(store).read_bytes() == DATA


def test_adopt_from_nowhere_is_an_error_of_ours(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(ThetaError):
        store.adopt(tmp_path / "nothing", OID, 1)
    assert not leftovers(store)


def test_link_or_copy_copies_where_links_are_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, "other file system")

    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(DATA)
    target.write_bytes(b"before")
    monkeypatch.setattr(os, "link", no_link)
    link_or_copy(source, target)
    assert target.read_bytes() == DATA
    assert target.stat().st_ino != source.stat().st_ino


def test_an_object_that_is_missing_or_cannot_be_read(store: LocalStore) -> None:
    with pytest.raises(MissingObject) as caught:
        store.container(OID)
    assert caught.value.oids == (OID,)
    write(store)
    with pytest.raises(DamagedObject, match=OID[:12]):
        store.container(OID)
    path_of(store).unlink()
    path_of(store).mkdir()
    with pytest.raises(DamagedObject, match="cannot be read"):
        store.container(OID)


_WRITER = """
import os, sys
from pathlib import Path
from git_theta import files
os.getpid = lambda: 999999999  # as in another PID namespace
with files.TemporaryFolder(Path(sys.argv[1])).file() as file:
    files.beside(Path(file.name)).write_bytes(b"half of an object")
    print(file.name, flush=True)
    sys.stdin.read()
"""


def test_files_are_removed_once_their_writer_is_dead_and_not_before(store: LocalStore) -> None:
    folder = store.root / "tmp"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        path = Path(writer.stdout.readline().strip())
        store.clean_up()
        assert [one.exists() for one in (path, beside(path))] == [True, True]
        assert store.leftovers() == []
        writer.kill()
    assert sorted(store.leftovers()) == [path, beside(path)]
    store.clean_up()
    assert leftovers(store) == []


def test_files_of_this_process_and_of_other_machines_are_not_removed(store: LocalStore) -> None:
    with TemporaryFolder(store.root / "tmp").file() as file:
        mine = Path(str(file.name))
        elsewhere, old, unknown = (mine.with_name(name) for name in ("of-x-0", "of-x-1", "1-host-0"))
        for path in (elsewhere, old, unknown):
            path.write_bytes(b"x")
        os.utime(old, (0, time.time() - 2 * 24 * 3600))
        store.clean_up()
        assert [path.exists() for path in (mine, elsewhere, old, unknown)] == [True, True, False, False]


def test_where_there_are_no_locks_a_file_is_left_over_after_a_day(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with TemporaryFolder(store.root / "tmp").file() as file:
        mine = Path(str(file.name))
        old = mine.with_name(f"{mine.name}0")
        old.write_bytes(b"x")
        os.utime(old, (0, time.time() - 2 * 24 * 3600))
        store.clean_up()
        assert [path.exists() for path in (mine, old)] == [True, False]


def test_a_file_that_is_cleaned_up_before_it_is_locked_is_made_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = fcntl.flock, 0

    def late(*arguments: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:  # another process is faster
            for path in (store.root / "tmp").iterdir():
                path.unlink()
        lock(*arguments)

    monkeypatch.setattr("fcntl.flock", late)
    with TemporaryFolder(store.root / "tmp").file() as file:
        assert calls == 2
        assert Path(str(file.name)).exists()


def test_cleaning_up_nothing(store: LocalStore) -> None:
    store.clean_up()
    store.root.mkdir()
    (store.root / "tmp").write_text("a file")
    store.clean_up()


def test_objects_are_flushed_when_git_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(S_ISDIR(os.fstat(descriptor).st_mode)))
    write(LocalStore(tmp_path / "a"))
    assert flushed == []
    write(LocalStore(tmp_path / "b", sync=True))
    assert flushed == [False, True], "the file before it has its name, then the folder"
