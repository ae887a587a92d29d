"""The local index: which digest is stored where. A cache; losing it loses nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from git_theta.errors import DamagedManifest
from git_theta.manifest import StorageLine
from git_theta.manifest.chains import closure
from git_theta.manifest.places import Reader, shortened, write
from git_theta.objects.database import Database, seal

_SHORT = 16
"""Hex digits of an oid that stand in a place: two of 2^32 objects are alike in so many at odds of 1 in 2."""
Lines = Mapping[str, StorageLine]
"""A digest's storage line and those of all its bases."""


class Index:
    """The index of a local store. Thread-safe.

    A digest has the lines that this repository has stored it by, or restored it from: they are known to give
    the right bytes, as long as their objects are there. The lines of one record belong together.
    Processes share the index. In a repository that cannot be written, after damage, and where another
    git-theta keeps it in another way, it is as if it were empty. Each row has a checksum: one that is not as
    it was written is as if it were not there, and gives way to the next that is recorded.

    Args:
        path: the database file; its folder is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    def find(self, digest: str) -> list[Lines]:
        """Each record of a digest, that which takes the fewest reads first."""
        query = "SELECT place, kind FROM places WHERE digest = ? AND mark = seal(digest, place, kind)"
        found: list[Lines] = []
        for place, kind in self._database.read(query, (bytes.fromhex(digest),)):
            with suppress(DamagedManifest, TypeError, AttributeError):
                reader = Reader(self._objects(shortened(place)), {digest: place})
                reader.read(digest, place, kind)
                found.append(closure([digest], reader.storage))
        return sorted(found, key=len)

    def _objects(self, shorts: Iterable[str]) -> dict[str, int]:
        """Sizes by oid of the objects that begin like this."""
        query = "SELECT oid, size FROM objects WHERE short = ? AND mark = seal(oid, size)"
        rows = (row for short in shorts for row in self._database.read(query, (short,)))
        return {oid.hex(): size for oid, size in rows}

    def record(self, stored: Mapping[str, Lines]) -> None:
        """Remember by which lines digests were stored or restored."""
        objects = {line.oid: line.size for lines in stored.values() for line in lines.values()}
        sizes = []
        for oid, size in objects.items():
            name = bytes.fromhex(oid)
            sizes.append((oid[:_SHORT], name, size, seal(name, size)))
        places = []
        for digest, lines in stored.items():
            row = bytes.fromhex(digest), write(digest, lines, _SHORT), lines[digest].update
            places.append((*row, seal(*row)))
        self._database.write("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", sizes)
        self._database.write(
            "INSERT OR REPLACE INTO places (digest, place, kind, mark) VALUES (?, ?, ?, ?)", places
        )

    def forget(self, digests: Iterable[str]) -> None:
        """Drop records, of objects that are gone."""
        self._database.write(
            "DELETE FROM places WHERE digest = ?", [(bytes.fromhex(digest),) for digest in digests]
        )

    def norms(self, tensors: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """The recorded 2-norms of (digest, dtype name) pairs, as far as known."""
        found: dict[tuple[str, str], float] = {}
        query = "SELECT norm FROM norms WHERE digest = ? AND dtype = ? AND mark = seal(digest, dtype, norm)"
        for key in tensors:
            for (norm,) in self._database.read(query, key):
                if isinstance(norm, float):
                    found[key] = norm
        return found

    def record_norms(self, norms: Mapping[tuple[str, str], float]) -> None:
        """Remember 2-norms by (digest, dtype name); the first one recorded stays."""
        rows = [(*key, norm, seal(*key, norm)) for key, norm in norms.items()]
        self._database.write(
            # To be ignored is what is no number.
            "INSERT OR IGNORE INTO norms VALUES (?, ?, ?, ?) ON CONFLICT (digest, dtype) "
            "DO UPDATE SET norm = excluded.norm, mark = excluded.mark "
            "WHERE mark IS NOT seal(digest, dtype, norm)",
            rows,
        )

    def change(self, old: str, new: str) -> str | None:
        """What is recorded of how one tensor became another."""
        query = "SELECT change FROM changes WHERE old = ? AND new = ? AND mark = seal(old, new, change)"
        rows = self._database.read(query, (old, new))
        return next((text for (text,) in rows if isinstance(text, str)), None)

    def record_changes(self, changes: Mapping[tuple[str, str], str]) -> None:
        """Remember texts by pairs of tensors; the last one recorded stays."""
        rows = [(*pair, change, seal(*pair, change)) for pair, change in changes.items()]
        self._database.write("INSERT OR REPLACE INTO changes VALUES (?, ?, ?, ?)", rows)

    def others(self) -> set[bytes]:
        """Blobs, by binary oid, that a push has read before and found to be no manifests."""
        return {
            blob for (blob,) in self._database.read("SELECT blob FROM others WHERE mark = seal(blob)", ())
        }

    def record_others(self, blobs: Iterable[bytes]) -> None:
        """Remember that these blobs are no manifests, so that no push reads them again."""
        rows = [(blob, seal(blob)) for blob in blobs]
        self._database.write("INSERT OR REPLACE INTO others VALUES (?, ?)", rows)

    def whole(self) -> set[bytes]:
        """Blobs, by binary oid, that were read before and found to be manifests with nothing amiss."""
        return {blob for (blob,) in self._database.read("SELECT blob FROM whole WHERE mark = seal(blob)", ())}

    def record_whole(self, blobs: Iterable[bytes]) -> None:
        """Remember that these blobs are manifests with nothing amiss, so that no push reads them whole."""
        rows = [(blob, seal(blob)) for blob in blobs]
        self._database.write("INSERT OR REPLACE INTO whole VALUES (?, ?)", rows)

    def close(self) -> None:
        """Let go of the database; it is opened again when it is needed."""
        self._database.close()
