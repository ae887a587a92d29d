"""What the skeleton of a torch.save archive says: its pickle, and the entries beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from git_theta.checkpoints.pickle_values import Value
from git_theta.checkpoints.torch_archive import read_root, storage_entries
from git_theta.checkpoints.zip_archive import Entry, read_directory
from git_theta.checkpoints.zip_local import PICKLE, first_entry
from git_theta.errors import DamagedCheckpoint, ThetaError


@dataclass(frozen=True)
class Skeleton:
    """An archive without the data of its storages.

    Attributes:
        folder: the archive's one folder, with a slash.
        pickle: its bytes.
        storages: by key, in file order.
        further: all other entries, by their names in the folder.
    """

    folder: str
    pickle: bytes
    storages: Mapping[str, Entry]
    further: Mapping[str, Entry]
    little_endian: bool
    _entry: Entry

    def root(self) -> Value:
        """What the pickle describes.

        Raises:
            DamagedCheckpoint: it is damaged.
            UnreadPickle: it is too large, or of a kind that is not read.
            ThetaError: the archive was written on a big-endian machine.
        """
        if not self.little_endian:
            raise ThetaError("big-endian checkpoints cannot be written")
        return read_root(lambda at, count: self.pickle[at : at + count], self._entry)

    def sizes(self) -> dict[str, int]:
        """Bytes of the storages, by key."""
        return {key: entry.size for key, entry in self.storages.items()}


def read_skeleton(skeleton: bytes) -> Skeleton:
    """Take a skeleton apart into its pickle and the entries beside it. Raises DamagedCheckpoint."""
    directory = read_directory(lambda at, count: skeleton[at : at + count], len(skeleton))
    entries = sorted(directory.entries, key=lambda entry: entry.header)
    if not entries or not entries[0].name.endswith(PICKLE):
        raise DamagedCheckpoint("its first entry is not a pickle")
    folder = entries[0].name.removesuffix("data.pkl")
    storages = storage_entries(entries, folder)
    data = {entry.name for entry in storages.values()}
    further = {entry.name.removeprefix(folder): entry for entry in entries[1:] if entry.name not in data}
    order = further.get("byteorder")
    little = order is None or _record(skeleton, order, storages) == b"little"
    return Skeleton(folder, _record(skeleton, entries[0], storages), storages, further, little, entries[0])


def _record(skeleton: bytes, entry: Entry, storages: Mapping[str, Entry]) -> bytes:
    # The skeleton lacks the data of the storages, and no storage lies between an entry's header and its end.
    at = entry.header - sum(storage.size for storage in storages.values() if storage.header < entry.header)
    found = first_entry(skeleton[at : at + 1024])
    if found is None or found[0] != entry.name:
        raise DamagedCheckpoint(f"its entry {entry.name!r} is not where its directory says")
    start = at + found[1]
    return skeleton[start : start + entry.size]
