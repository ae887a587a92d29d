"""A remote that is a folder of this machine, or one that is mounted: another repository's local store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from git_theta.errors import DamagedObject, MissingObject, ThetaError, cannot_write
from git_theta.objects.store import LocalStore
from git_theta.regular import open_regular
from git_theta.remotes.interface import Advance

_WORKERS = 4  # verifying reads every byte, which threads share


class DirectoryRemote:
    """The store of another repository. Objects are cloned where the file system can, else copied.

    Args:
        name: what messages call it.
        store: the other repository's.
        hardlinks: whether both are to have the same files, where the file system can.
    """

    def __init__(self, name: str, store: LocalStore, hardlinks: bool = False) -> None:
        self.name = name
        self.place = str(store.root.parent.resolve())
        self._store = store
        self._hardlinks = hardlinks

    def has(self, objects: Mapping[str, int]) -> set[str]:
        try:
            return {oid for oid, size in objects.items() if self._store.has(oid, size)}
        except OSError as error:
            raise self._cannot_read(error) from None

    def upload(self, objects: Mapping[str, int], source: LocalStore, advance: Advance) -> None:
        def bring(oid: str) -> None:
            found = source.find(oid)
            if found is None:
                raise MissingObject(f"object {oid[:12]} is not here", "git theta fetch", (oid,))
            try:
                self._store.adopt(found, oid, objects[oid], self._hardlinks)
            except DamagedObject:
                raise DamagedObject(f"object {oid[:12]} is damaged ({found})", source.remedy(oid)) from None
            except OSError as error:
                raise cannot_write(self._store.root, error) from None
            advance(objects[oid])

        self._store.clean_up()
        _for_each(bring, objects)

    def download(self, objects: Mapping[str, int], target: LocalStore, advance: Advance) -> dict[str, str]:
        reasons: dict[str, str] = {}

        def bring(oid: str) -> None:
            try:
                found = self._store.find(oid)
                if found is not None:
                    os.close(open_regular(found))
            except OSError as error:
                reasons[oid] = f"{self.name} cannot be read: {error.strerror}"
                return
            if found is None:
                reasons[oid] = f"{self.name} does not have it"
                return
            try:
                target.adopt(found, oid, objects[oid], self._hardlinks)
            except DamagedObject:
                reasons[oid] = f"the one that {self.name} has is damaged: {found}"
                return
            except OSError as error:
                raise cannot_write(target.root, error) from None
            advance(objects[oid])

        for store in (self._store, target):
            store.clean_up()
        _for_each(bring, objects)
        return reasons

    def _cannot_read(self, error: OSError) -> ThetaError:
        return ThetaError(
            f"{self.name} cannot be read: {error.strerror}", f"mend the permissions of {self._store.root}"
        )


def _for_each(bring: Callable[[str], None], oids: Iterable[str]) -> None:
    with ThreadPoolExecutor(_WORKERS) as executor:
        futures = [executor.submit(bring, oid) for oid in oids]
        try:
            for future in futures:
                future.result()
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
