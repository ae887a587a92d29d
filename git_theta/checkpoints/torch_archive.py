"""The entries of a torch.save archive: a pickle, one entry for each storage, and some small records."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from git_theta.checkpoints.pickle_data import MAX_BYTES, UnreadPickle, read_pickle
from git_theta.checkpoints.pickle_values import Value
from git_theta.checkpoints.zip_archive import Entry, Read
from git_theta.errors import DamagedCheckpoint


def read_root(read: Read, pickle: Entry) -> Value:
    """What the pickle of a checkpoint describes.

    Raises:
        DamagedCheckpoint: it is damaged.
        UnreadPickle: it is too large, or of a kind that is not read.
    """
    if pickle.size > MAX_BYTES:
        raise UnreadPickle(f"the pickle has {pickle.size} bytes")
    data = read(pickle.data, pickle.size)
    # torch.serialization.set_crc32_options(False) leaves all checksums zero.
    if pickle.crc and zlib.crc32(data) != pickle.crc:
        raise DamagedCheckpoint("the pickle's CRC-32 is wrong: the file is damaged")
    return read_pickle(data)


def storage_entries(entries: Iterable[Entry], folder: str) -> dict[str, Entry]:
    """The entries of storages by key, in the order given. `folder` ends with a slash."""
    data = f"{folder}data/"
    return {
        entry.name.removeprefix(data): entry
        for entry in entries
        if entry.name.startswith(data) and not entry.name.endswith("/")
    }
