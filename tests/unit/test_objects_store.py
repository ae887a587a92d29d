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

from git_theta import files
from git_theta.errors import DamagedObject, MissingObject, ThetaError
from git_theta.files import TemporaryFolder, beside
from git_theta.objects.store import LocalStore
from git_theta.objects.verifying import verify

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


@pytest.fixture(params=["clone", "copy_file_range", "read"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ways to copy, of which file systems have one or the other; reading is always possible."""

    def cannot(*arguments: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not on this file system")

    def stop_half_way(source: int, target: int, count: int, start: int, offset: int) -> int:
        if start:
            raise OSError(errno.EIO, "half-way")
        return os.pwrite(target, os.pread(source, count // 2, 0), 0)

    if request.param == "copy_file_range":
        monkeypatch.setattr(fcntl, "ioctl", cannot)
    elif request.param == "read":
        monkeypatch.setattr(fcntl, "ioctl", cannot)
        monkeypatch.setattr(os, "copy_file_range", stop_half_way, raising=False)
    return str(request.param)


def test_what_is_adopted_is_a_file_of_its_own(store: LocalStore, tmp_path: Path, way: str) -> None:
    data = os.urandom(3_000_001)
    oid = sha256(data).hexdigest()
    source = tmp_path / "source"
    source.write_bytes(data)
    source.chmod(0o600)
    store.adopt(source, oid, len(data))
    found = path_of(store, oid)
    assert found.read_bytes() == data
    assert found.stat().st_mode & 0o777 == 0o444
    assert found.stat().st_nlink == source.stat().st_nlink == 1
    assert source.stat().st_mode & 0o777 == 0o600
    assert not leftovers(store)


@pytest.mark.parametrize("room", [0, 1, 500, len(DATA) - 1])
def test_a_disk_that_is_full_while_an_object_is_copied(
    store: LocalStore, tmp_path: Path, disk: Callable[[int], None], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full, raising=False)
    monkeypatch.setattr(fcntl, "ioctl", full)
    source = tmp_path / "source"
    source.write_bytes(DATA)
    disk(room)
    with pytest.raises(ThetaError, match=r"cannot write to .*theta.*: No space left"):
        store.adopt(source, OID, len(DATA))
    assert not leftovers(store)
    assert not store.has(OID)


def test_hard_links_are_made_where_they_are_asked_for(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    source.chmod(0o444)
    store.adopt(source, OID, len(DATA), link=True)
    assert path_of(store).samefile(source)
    assert not leftovers(store)


def test_permissions_of_other_peoples_files_are_left_alone(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    source.chmod(0o600)
    store.adopt(source, OID, len(DATA), link=True)
    assert source.stat().st_mode & 0o777 == 0o600
    assert path_of(store).stat().st_mode & 0o777 == 0o444
    assert not path_of(store).samefile(source)


KINDS = ("link", "dangling", "pipe", "folder")


def put_instead(path: Path, kind: str, elsewhere: Path) -> None:
    """Put something that is no file in a file's place, which leads to its bytes if it can."""
    elsewhere.write_bytes(DATA)
    elsewhere.chmod(0o600)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_no_object(store: LocalStore, tmp_path: Path, kind: str) -> None:
    private = tmp_path / "private"
    put_instead(path_of(store), kind, private)
    assert not store.has(OID)
    assert not store.has(OID, len(DATA))
    assert store.find(OID) is None
    assert list(store.oids()) == []
    assert store.damaged([OID]) == {}
    with pytest.raises(DamagedObject, match="cannot be read") as caught:
        store.container(OID)
    assert str(path_of(store)) in caught.value.remedy
    with pytest.raises(OSError, match=r"link|regular"):
        verify(path_of(store), OID)
    other = LocalStore(tmp_path / "other")
    for link in (False, True):
        with pytest.raises(DamagedObject, match="cannot be read"):
            other.adopt(path_of(store), OID, len(DATA), link=link)
    assert not other.has(OID)
    assert private.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_gives_way_to_the_object(store: LocalStore, tmp_path: Path, kind: str) -> None:
    private = tmp_path / "private"
    put_instead(path_of(store), kind, private)
    if kind == "folder":
        (path_of(store) / "file").write_text("text")
    write(store)
    if kind == "folder":
        assert [path.read_text() for path in path_of(store).parent.glob("*/file")] == ["text"]
    verify(path_of(store), OID, len(DATA))
    assert private.read_bytes() == DATA
    assert private.stat().st_mode & 0o777 == 0o600
    assert not leftovers(store)


@pytest.mark.parametrize("level", [1, 2])
def test_nothing_is_written_through_a_link_in_place_of_a_folder(
    store: LocalStore, tmp_path: Path, level: int
) -> None:
    write(store)
    folder = path_of(store).parents[2 - level]
    moved = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(moved)
    path_of(store).unlink()
    before = sorted(moved.rglob("*"))
    with pytest.raises(ThetaError, match="is a link, where a folder of objects should be") as caught:
        write(store)
    assert caught.value.remedy == f"rm {folder}"
    assert sorted(moved.rglob("*")) == before
    folder.unlink()
    write(store)
    assert store.has(OID)


@pytest.mark.parametrize("name", ["", "objects"])
def test_a_whole_store_may_lie_on_another_disk(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    if name:
        (tmp_path / "theta").mkdir()
    (tmp_path / "theta" / name).symlink_to(tmp_path / "disk")
    rename = Path.replace

    def replace(source: Path, target: Path) -> Path:
        if source.resolve().is_relative_to(tmp_path / "disk") != target.resolve().is_relative_to(
            tmp_path / "disk"
        ):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    store = LocalStore(tmp_path / "theta")
    write(store)
    assert list(store.oids()) == [OID]
    verify(path_of(store), OID)


def test_cleaning_up_removes_nothing_that_is_not_ours(store: LocalStore, tmp_path: Path) -> None:
    """Though somebody has put a link to other people's files in the folder's place."""
    documents = tmp_path / "documents"
    documents.mkdir()
    names = ["thesis.txt", "of-mice-and-men.txt", "1-2-3", "2026-11-29", "a.second", "2026-07-notes"]
    for name in names:
        (documents / name).write_text("text")
        os.utime(documents / name, (0, 0))
    (documents / "of-x-0").symlink_to(documents / "thesis.txt")
    os.mkfifo(documents / "of-x-1")
    store.root.mkdir()
    (store.root / "tmp").symlink_to(documents)
    store.clean_up()
    assert {path.name for path in documents.iterdir()} >= set(names)
    assert (documents / "thesis.txt").read_text() == "text"


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
        assert store.clean_up() == 0
        writer.kill()
    assert store.clean_up() == 2
    assert leftovers(store) == []


def test_nothing_in_the_systems_folder_goes_that_is_not_ours(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store cannot be written, files are spooled among everybody's."""
    names = {"2026-11-29", "1-2-3", f"of-x-{0:016x}"}
    for name in names:
        (tmp_path / name).write_text("text")
        os.utime(tmp_path / name, (0, 0))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    store.root.write_text("no folder")
    with store.spool() as file:
        assert Path(str(file.name)).parent == tmp_path
    assert {path.name for path in tmp_path.iterdir()} >= names


def test_files_of_this_process_and_of_other_machines_are_not_removed(store: LocalStore) -> None:
    with TemporaryFolder(store.root / "tmp").file() as file:
        mine = Path(str(file.name))
        names = (f"of-x-{0:016x}", f"of-x-{1:016x}", f"1-host.dom-{0:016x}")
        elsewhere, old, unknown = map(mine.with_name, names)
        for path in (elsewhere, old, unknown):
            path.write_bytes(b"x")
        os.utime(old, (0, time.time() - 2 * 24 * 3600))
        store.clean_up()
        assert [path.exists() for path in (mine, elsewhere, old, unknown)] == [True, True, False, False]


def test_where_machines_cannot_be_told_apart_a_file_is_left_over_after_a_day(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two may have the same host name, and see nothing of each other's locks."""
    monkeypatch.setattr(files, "_machine", str)
    with TemporaryFolder(store.root / "tmp").file() as file:
        mine = Path(str(file.name))
    other, old = mine, mine.with_name(f"{mine.name}0")
    for path in (other, old):
        path.write_bytes(b"x")
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    store.clean_up()
    assert [path.exists() for path in (other, old)] == [True, False]


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
