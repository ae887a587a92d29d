"""What every remote must pass."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from git_theta import files
from git_theta.errors import DamagedObject, MissingObject
from git_theta.objects.store import LocalStore
from git_theta.remotes.interface import Remote


def put(store: LocalStore, data: bytes) -> str:
    """Bring bytes into a store as an object, and return its oid."""
    oid = sha256(data).hexdigest()
    with store.write() as (file, keep):
        file.write(data)
        keep(oid)
    return oid


def damage(store: LocalStore, oid: str, data: bytes) -> None:
    """Replace what a stored object holds."""
    path = store.find(oid)
    assert path is not None
    files.replace(path, data)


class RemoteContract:
    """Objects arrive whole or not at all, and whatever could not be had is told, with a reason."""

    def remote(self, folder: Path) -> Remote:
        """A new remote that has nothing yet.

        Args:
            folder: empty; for the remote alone, if it needs one.
        """
        raise NotImplementedError

    def test_objects_go_there_and_come_back(self, tmp_path: Path) -> None:
        here, remote = self._start(tmp_path)
        objects = {put(here, bytes([number]) * 1000): 1000 for number in range(10)}
        arrived: list[int] = []
        assert remote.has(objects) == set()
        remote.upload(objects, here, arrived.append)
        assert remote.has(objects) == objects.keys()
        target = LocalStore(tmp_path / "target")
        assert remote.download(objects, target, arrived.append) == {}
        assert all(target.has(oid, 1000) for oid in objects)
        assert sum(arrived) == 20_000
        assert not [*(target.root / "tmp").glob("*")]

    def test_what_is_there_can_be_sent_again(self, tmp_path: Path) -> None:
        here, remote = self._start(tmp_path)
        objects = {put(here, b"x" * 1000): 1000}
        for _ in range(2):
            remote.upload(objects, here, lambda nbytes: None)
        assert remote.has(objects) == objects.keys()

    def test_nothing_to_do(self, tmp_path: Path) -> None:
        here, remote = self._start(tmp_path)
        remote.upload({}, here, lambda nbytes: None)
        assert (remote.has({}), remote.download({}, here, lambda nbytes: None)) == (set(), {})

    def test_an_object_of_another_size_is_not_there(self, tmp_path: Path) -> None:
        here, remote = self._start(tmp_path)
        oid = put(here, b"four")
        remote.upload({oid: 4}, here, lambda nbytes: None)
        assert remote.has({oid: 5}) == set()
        target = LocalStore(tmp_path / "target")
        assert remote.download({oid: 5}, target, lambda nbytes: None).keys() == {oid}
        assert not target.has(oid)

    def test_what_is_not_here_cannot_be_sent(self, tmp_path: Path) -> None:
        import pytest

        here, remote = self._start(tmp_path)
        missing = {"0" * 64: 1}
        with pytest.raises(MissingObject) as caught:
            remote.upload(missing, here, lambda nbytes: None)
        assert caught.value.oids == ("0" * 64,)
        assert remote.has(missing) == set()

    def test_what_is_damaged_here_is_not_sent(self, tmp_path: Path) -> None:
        import pytest

        here, remote = self._start(tmp_path)
        oid = put(here, b"x" * 1000)
        damage(here, oid, b"y" * 1000)
        with pytest.raises(DamagedObject, match=oid[:12]):
            remote.upload({oid: 1000}, here, lambda nbytes: None)
        assert remote.has({oid: 1000}) == set()

    def test_what_is_not_there_is_told(self, tmp_path: Path) -> None:
        here, remote = self._start(tmp_path)
        oid = put(here, b"good")
        remote.upload({oid: 4}, here, lambda nbytes: None)
        target = LocalStore(tmp_path / "target")
        reasons = remote.download({oid: 4, "0" * 64: 7}, target, lambda nbytes: None)
        assert reasons.keys() == {"0" * 64}
        assert remote.name in reasons["0" * 64]
        assert target.has(oid, 4)

    def _start(self, tmp_path: Path) -> tuple[LocalStore, Remote]:
        """The store here, and a new remote."""
        folder = tmp_path / "remote"
        files.make_folder(folder)
        return LocalStore(tmp_path / "here"), self.remote(folder)
