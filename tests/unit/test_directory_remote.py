import os
from pathlib import Path

import pytest

from git_theta.errors import ThetaError
from git_theta.objects.store import LocalStore
from git_theta.remotes.directory import DirectoryRemote
from git_theta.testing import RemoteContract
from git_theta.testing.remotes import put


class TestDirectoryRemote(RemoteContract):
    def remote(self, folder: Path) -> DirectoryRemote:
        return DirectoryRemote("origin", LocalStore(folder))


@pytest.fixture
def here(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "there")


def test_an_object_that_was_cut_off_there_is_brought_again(here: LocalStore, there: LocalStore) -> None:
    """As a power failure can leave it."""
    oid = put(here, b"x" * 1000)
    put(there, b"x" * 1000)
    found = there.find(oid)
    assert found is not None
    found.chmod(0o644)
    found.write_bytes(b"")
    remote = DirectoryRemote("origin", there)
    assert remote.has({oid: 1000}) == set()
    remote.upload({oid: 1000}, here, lambda nbytes: None)
    assert remote.has({oid: 1000}) == {oid}
    assert found.read_bytes() == b"x" * 1000


def both(here: LocalStore, there: LocalStore, hardlinks: bool) -> list[Path]:
    """An object here, and what a push has made of it there."""
    oid = put(here, b"x" * 1000)
    DirectoryRemote("origin", there, hardlinks).upload({oid: 1000}, here, lambda nbytes: None)
    found = [path for store in (here, there) if (path := store.find(oid))]
    assert [path.read_bytes() for path in found] == [b"x" * 1000] * 2
    assert [path.stat().st_mode & 0o777 for path in found] == [0o444] * 2
    return found


def test_a_remote_has_files_of_its_own(here: LocalStore, there: LocalStore) -> None:
    mine, theirs = both(here, there, hardlinks=False)
    assert not mine.samefile(theirs)


def test_hard_links_are_a_choice(here: LocalStore, there: LocalStore) -> None:
    mine, theirs = both(here, there, hardlinks=True)
    assert mine.samefile(theirs)


def test_where_links_are_impossible_objects_are_copied(
    here: LocalStore, there: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*arguments: object, **options: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_link)
    mine, theirs = both(here, there, hardlinks=True)
    assert not mine.samefile(theirs)


@pytest.mark.parametrize("hardlinks", [False, True])
def test_what_is_no_file_there_is_not_taken_and_gives_way(
    here: LocalStore, there: LocalStore, tmp_path: Path, hardlinks: bool
) -> None:
    oids = {name: put(here, name.encode() * 100) for name in ("link", "pipe")}
    private = tmp_path / "private"
    private.write_bytes(b"link" * 100)
    private.chmod(0o600)
    for name, oid in oids.items():
        path = there.root / "objects" / oid[:2] / oid[2:4] / oid
        path.parent.mkdir(parents=True)
        os.mkfifo(path) if name == "pipe" else path.symlink_to(private)
    objects = dict.fromkeys(oids.values(), 400)
    remote = DirectoryRemote("origin", there, hardlinks)
    assert remote.has(objects) == set()
    assert (
        remote.download(objects, LocalStore(tmp_path / "third"), lambda nbytes: None).keys() == objects.keys()
    )
    remote.upload(objects, here, lambda nbytes: None)
    assert remote.has(objects) == objects.keys()
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.read_bytes() == b"link" * 100


def test_download_says_why_for_each_object(here: LocalStore, there: LocalStore) -> None:
    good, bad = put(there, b"good"), put(there, b"bad")
    path = there.find(bad)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(b"BAD")
    reasons = DirectoryRemote("origin", there).download(
        {good: 4, bad: 3, "0" * 64: 7}, here, lambda nbytes: None
    )
    assert reasons.keys() == {bad, "0" * 64}
    assert "origin does not have it" in reasons["0" * 64]
    assert str(path) in reasons[bad]
    assert here.has(good)
    assert not here.has(bad)


def test_a_store_that_cannot_be_written_is_named(here: LocalStore, tmp_path: Path) -> None:
    oid = put(here, b"x")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ThetaError, match=str(tmp_path / "file")):
        DirectoryRemote("o", LocalStore(tmp_path / "file")).upload({oid: 1}, here, lambda nbytes: None)
