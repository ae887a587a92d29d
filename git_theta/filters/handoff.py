"""What a merge has computed, on its way to the checkout that follows.

Git asks for the merged file right after it was merged. To decode all that it is combined from once more would
take as long as the merge; so the merge leaves the tensors that it has computed in `theta/prepared`, in a file
named by the root of the result, and the checkout takes the file away. It is only ever a shortcut: the objects
hold everything, and the checkout checks every tensor against its digest as it always does.

The file has the tensors' bytes one after the other, then as JSON where each digest's bytes begin (with a
checksum), then the length of that as a u64.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from git_theta.checkpoints.layout import Span
from git_theta.errors import ThetaError
from git_theta.files import make_folder, move, remove
from git_theta.filters.file_tensors import FileTensor
from git_theta.manifest import Manifest, TensorLine
from git_theta.objects.store import LocalStore
from git_theta.regular import open_regular
from git_theta.seals import opened, sealed
from git_theta.tensors import ArrayTensor, Tensor

_LENGTH = struct.Struct("<Q")
_LARGEST_LIST = 64 << 20  # bytes of the list of digests
_PART_OF_MEMORY = 4  # what is larger than this part would leave the page cache, and be slow to read again
_STALE_SECONDS = 600
_ROOT = re.compile(r"[0-9a-f]{64}")


class Preparation:
    """Collects computed tensors; close it after use.

    Args:
        nbytes: what the tensors take in all; where that is too much, nothing is kept.
    """

    def __init__(self, store: LocalStore, nbytes: int) -> None:
        self._store = store
        self._stack = ExitStack()
        self._starts: dict[str, int] = {}
        self._position = 0
        self._file: IO[bytes] | None = None
        if 0 < nbytes <= _memory() // _PART_OF_MEMORY:
            with suppress(ThetaError, OSError):
                self._file = self._stack.enter_context(store.spool())

    def add(self, digest: str, tensor: ArrayTensor) -> None:
        """Keep a tensor for the checkout."""
        if self._file is None or digest in self._starts:
            return
        try:
            self._file.write(tensor.bits.view("u1").data)
        except (ThetaError, OSError):  # no room: then the checkout computes it once more
            self.close()
            return
        self._starts[digest] = self._position
        self._position += tensor.bits.nbytes

    def finish(self, manifest: Manifest) -> None:
        """Leave what was kept for the checkout of this manifest."""
        if self._file is None or not self._starts:
            return
        text = sealed(self._starts).encode()
        folder = _folder(self._store)
        if folder is None:
            return
        with suppress(ThetaError, OSError):
            self._file.write(text + _LENGTH.pack(len(text)))
            make_folder(folder)
            move(Path(str(self._file.name)), folder / manifest.root)

    def close(self) -> None:
        """Remove what was not finished."""
        self._file = None
        self._stack.close()


class Prepared:
    """The tensors that a merge has left."""

    def __init__(self, file: IO[bytes] | None, starts: Mapping[str, int]) -> None:
        self._file = file
        self._starts = starts

    def tensor(self, line: TensorLine) -> Tensor | None:
        """A tensor of the manifest, None where it was not left."""
        start = self._starts.get(line.digest)
        if self._file is None or type(start) is not int or not 0 <= start < 1 << 62:
            return None
        return FileTensor(Span(line.name, line.dtype, line.shape, start), self._file)


@contextmanager
def taken(store: LocalStore, manifest: Manifest) -> Iterator[Prepared]:
    """What was left for the checkout of this manifest, for a `with` block; nobody gets it again."""
    folder = _folder(store)
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        starts: Mapping[str, int] = {}
        with suppress(OSError, ValueError):
            if folder is not None:
                file = stack.enter_context(open(open_regular(folder / manifest.root), "rb"))
                remove(folder / manifest.root)
                starts = _read_starts(file)
        yield Prepared(file, starts)


def clean_up(store: LocalStore) -> None:
    """Remove what no checkout has come for."""
    folder = _folder(store)
    if folder is None:
        return
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if _ROOT.fullmatch(path.name) and time.time() - path.lstat().st_mtime > _STALE_SECONDS:
                    remove(path)


def _read_starts(file: IO[bytes]) -> Mapping[str, int]:
    """Where the tensors begin. Raises ValueError."""
    size = os.fstat(file.fileno()).st_size
    if size < _LENGTH.size:
        return {}
    file.seek(size - _LENGTH.size)
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if length > min(_LARGEST_LIST, size - _LENGTH.size):
        return {}
    file.seek(size - _LENGTH.size - length)
    return opened(file.read(length)) or {}


def _folder(store: LocalStore) -> Path | None:
    """Where the files lie; None for a link: others have put it there, and what it leads to is theirs."""
    folder = store.root / "prepared"
    return None if folder.is_symlink() else folder


def _memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
