"""What is already stored: where a digest lies, and which tensors can serve as bases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from git_theta.dtypes import BYTES, DType
from git_theta.errors import DamagedManifest, DamagedObject, MissingObject
from git_theta.manifest import Manifest, StorageLine, TensorLine, closure, depth
from git_theta.objects.index import Index
from git_theta.objects.reader import Objects
from git_theta.updates.interface import Base

SKELETON = ""
"""The name under which the skeletons of earlier versions are found."""


class Known:
    """The storage that is recorded for the tensors of a path.

    Args:
        recorded: manifests of the same path, the index entry's first: their lines are used first.
        related: manifests of other checkpoints, asked for only when a tensor has no earlier version.
        index, objects: of the local store.
    """

    def __init__(
        self,
        recorded: Sequence[Manifest],
        related: Callable[[], Sequence[Manifest]],
        index: Index,
        objects: Objects,
    ) -> None:
        self._recorded = recorded
        self._related_manifests = related
        self._index = index
        self._objects = objects
        self._by_name = [{line.name: line for line in manifest.tensors} for manifest in recorded]
        self._other_manifests: list[Manifest] | None = None
        self._lock = threading.Lock()
        self._new: dict[str, tuple[StorageLine, Mapping[str, StorageLine]]] = {}

    def has(self, digest: str) -> bool:
        """Whether a digest need not be stored again."""
        return digest in self._new or self._source(digest) is not None

    def add(self, line: StorageLine, bases: Mapping[str, StorageLine]) -> None:
        """A line that has just been stored, and lines that hold its bases."""
        self._new[line.digest] = line, bases

    @property
    def added(self) -> list[StorageLine]:
        return [line for line, _ in self._new.values()]

    def storage(self, digests: Iterable[str]) -> dict[str, StorageLine]:
        """Lines for these digests and all their bases.

        A digest's line comes with its whole closure from one source, and never points at what was taken
        later, so the result has no circles however many sources there are.
        """
        found: dict[str, StorageLine] = {}
        for digest in digests:
            if digest in found:
                continue
            source = self._source(digest)
            if source is None:
                line, bases = self._new[digest]
                source = {**bases, digest: line}
            for key, line in closure([digest], source).items():
                found.setdefault(key, line)
        return found

    def bases(self, name: str, dtype: DType, shape: tuple[int, ...], deepest: int) -> Iterator[Base]:
        """Tensors that this one may be predicted from, likeliest first; none whose chain is full.

        The same name in the recorded manifests, then every earlier version on their chains; where there is
        none, the same name or a unique tensor of the same shape in other checkpoints.
        """
        seen: set[str] = set()
        lines = [
            (by_name[name], m)
            for by_name, m in zip(self._by_name, self._recorded, strict=True)
            if name in by_name
        ]
        if name == SKELETON:
            lines = [(_skeleton_line(manifest), manifest) for manifest in self._recorded]
        elif not lines:
            lines = list(self._related(name, dtype, shape))
        for line, manifest in lines:
            for digest in [line.digest, *_ancestors(line.digest, manifest.storage)]:
                if digest in seen or depth(digest, manifest.storage) >= deepest:
                    continue
                seen.add(digest)
                kind = (line.dtype, line.shape) if digest == line.digest else None
                base = self._open(name, digest, manifest.storage, kind)
                if base is not None:
                    yield base

    def lines_for(self, digests: Iterable[str]) -> dict[str, StorageLine]:
        """The lines of bases that `bases` gave, with their closures."""
        found: dict[str, StorageLine] = {}
        for digest in digests:
            for manifest in [*self._recorded, *(self._other_manifests or ())]:
                if digest in manifest.storage:
                    for key, line in closure([digest], manifest.storage).items():
                        found.setdefault(key, line)
                    break
        return found

    @property
    def _others(self) -> Sequence[Manifest]:
        with self._lock:
            if self._other_manifests is None:
                self._other_manifests = [
                    manifest for manifest in self._related_manifests() if manifest.storage
                ]
            return self._other_manifests

    def _related(
        self, name: str, dtype: DType, shape: tuple[int, ...]
    ) -> Iterator[tuple[TensorLine, Manifest]]:
        for manifest in [*self._recorded, *self._others]:
            same = manifest.tensor(name)
            alike = [line for line in manifest.tensors if (line.dtype, line.shape) == (dtype, shape)]
            if same is not None:
                yield same, manifest
            elif len(alike) == 1:
                yield alike[0], manifest

    def _source(self, digest: str) -> Mapping[str, StorageLine] | None:
        for manifest in self._recorded:
            if digest in manifest.storage:
                return manifest.storage
        if digest in self._new:
            return None
        lines = self._index.find([digest])
        if digest not in lines:
            return None
        try:
            complete = closure([digest], lines)
        except DamagedManifest:
            return None
        here = all(self._objects.store.has(line.oid) for line in complete.values())
        return complete if here else None

    def _open(
        self,
        name: str,
        digest: str,
        storage: Mapping[str, StorageLine],
        kind: tuple[DType, tuple[int, ...]] | None,
    ) -> Base | None:
        try:
            if kind is None:
                member = self._objects.member(storage[digest]).member
                kind = member.dtype, member.shape
            return Base(name, digest, self._objects.tensor(digest, storage, *kind))
        except (MissingObject, DamagedObject, DamagedManifest):
            return None  # only a base: without it the tensor is stored in another way


def _ancestors(digest: str, storage: Mapping[str, StorageLine]) -> list[str]:
    found: list[str] = []
    pending = list(storage[digest].bases) if digest in storage else []
    while pending:
        base = pending.pop(0)
        if base not in found:
            found.append(base)
            pending += storage[base].bases
    return found


def _skeleton_line(manifest: Manifest) -> TensorLine:
    return TensorLine(SKELETON, BYTES, (manifest.skeleton_size,), manifest.skeleton)
