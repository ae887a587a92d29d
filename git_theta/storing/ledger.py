"""What is stored: the lines that say where the data of digests lie, as far as they can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from threading import Lock

from git_theta.errors import ThetaError
from git_theta.manifest import SKELETON, Manifest, StorageLine
from git_theta.manifest.chains import closure, merged
from git_theta.manifest.places import write
from git_theta.objects.index import Index, Lines
from git_theta.objects.reader import Objects
from git_theta.tensors import Tensor, chunks
from git_theta.updates.interface import Target


class Ledger:
    """Where the tensors of a path are stored, new ones included. Thread-safe.

    Args:
        recorded: manifests of the path, the index entry's first: their lines are used first.
        index, objects: of the local store.
        doubts: whether recorded lines are checked before they are used: where a file is handed over to be
            stored, not where git only asks whether it has changed.
        elsewhere: those of these objects (oid to size) that are kept somewhere else. It is asked only where
            recorded lines name some that are not here; they are believed without those.
        norm: computes the 2-norm of a tensor, to be shown later; None where it is not wanted.
    """

    def __init__(
        self,
        recorded: Sequence[Manifest],
        index: Index,
        objects: Objects,
        doubts: bool = True,
        elsewhere: Callable[[Mapping[str, int]], set[str]] = lambda objects: set(),
        norm: Callable[[Tensor], float] | None = None,
    ) -> None:
        self._recorded = recorded
        self._index = index
        self._objects = objects
        self._doubts = doubts
        self._ask_elsewhere = elsewhere
        self._norm = norm
        self._norms: dict[tuple[str, str], float] = {}
        self._lock = Lock()
        self._used: dict[str, Lines] = {}
        self._unvouched: set[str] = set()

    def has(self, digest: str, tensor: Tensor) -> bool:
        """Whether a tensor with this digest need not be stored again.

        What was not stored or restored here before is compared with the tensor: nobody's word is taken for
        what an object holds, because the tensor's bytes may be nowhere else.
        """
        if digest in self._used:
            return True
        vouched = {_said(digest, lines): lines for lines in self._index.find(digest) if self._is_here(lines)}
        for manifest in self._recorded:
            if digest not in manifest.storage:
                continue
            lines = closure([digest], manifest.storage)
            if not self._doubts:
                return self._use(digest, lines)
            if self._is_here(lines):
                if _said(digest, lines) in vouched:
                    return self._use(digest, lines)
                if self._holds(digest, lines, tensor):
                    return self._use(digest, lines, new=True)
            elif self._is_kept(lines):
                return self._use(digest, lines)
        for found in vouched.values():
            if not self._doubts or self._objects.describes(found[digest]):
                return self._use(digest, found)
        return False

    def adopt(self, digest: str, lines: Lines, tensor: Tensor) -> bool:
        """Use these lines if they give the tensor; whether they do."""
        return (
            self._is_here(lines) and self._holds(digest, lines, tensor) and self._use(digest, lines, new=True)
        )

    def take(self, digest: str, lines: Lines) -> None:
        """Adopt storage lines as they are: a merge takes a tensor over from a side, where it is stored."""
        self._use(digest, lines)

    def add(self, line: StorageLine, bases: Lines) -> None:
        """A line that has just been stored.

        Args:
            bases: the lines of the tensors that it is predicted from, and of theirs.
        """
        self._use(line.digest, {**bases, line.digest: line}, new=True)

    def storage(self, digests: Iterable[str]) -> dict[str, StorageLine]:
        """Lines for these digests, which are all here, and for all their bases."""
        wanted = list(digests)
        return closure(wanted, merged((digest, self._used[digest]) for digest in wanted))

    def measure(self, target: Target, digest: str) -> None:
        """Take down the norm of a tensor while its data are at hand."""
        if self._norm is not None and target.name != SKELETON and target.dtype.kind != "raw":
            self._norms[digest, target.dtype.name] = self._norm(target.tensor)

    def record(self, storage: Mapping[str, StorageLine]) -> None:
        """Remember in the index what was stored or compared, with its lines in the manifest; and norms."""
        self._index.record({digest: closure([digest], storage) for digest in self._unvouched})
        self._index.record_norms(self._norms)

    def trusts(self, lines: Lines) -> bool:
        """Whether the objects that recorded lines name are here, or elsewhere."""
        return not self._doubts or self._is_kept(lines)

    def _use(self, digest: str, lines: Lines, new: bool = False) -> bool:
        with self._lock:
            self._used[digest] = lines
            if new:
                self._unvouched.add(digest)
        return True

    def _is_here(self, lines: Lines) -> bool:
        return all(self._objects.store.has(line.oid, line.size) for line in lines.values())

    def _is_kept(self, lines: Lines) -> bool:
        store = self._objects.store
        return all(store.has(line.oid, line.size) or line.oid in self._elsewhere for line in lines.values())

    @property
    def _elsewhere(self) -> set[str]:
        with self._lock:
            return self._asked_once

    @cached_property
    def _asked_once(self) -> set[str]:
        """What is kept elsewhere of all that the recorded manifests name and that is not here."""
        named = {oid: size for manifest in self._recorded for oid, size in manifest.oids().items()}
        store = self._objects.store
        lacking = {oid: size for oid, size in named.items() if not store.has(oid, size)}
        return self._ask_elsewhere(lacking) if lacking else set()

    def _holds(self, digest: str, lines: Lines, tensor: Tensor) -> bool:
        """Whether what lines describe are the bits of this tensor."""
        import numpy as np

        try:
            stored = self._objects.tensor(digest, lines, tensor.dtype, tensor.shape)
            return all(np.array_equal(stored.read(*part), tensor.read(*part)) for part in chunks(tensor))
        except ThetaError:
            return False


def _said(digest: str, lines: Lines) -> tuple[str, str]:
    """What lines say, however they name what lies below: a base can be a tensor of the manifest, too."""
    return lines[digest].update, write(digest, lines, 64)
