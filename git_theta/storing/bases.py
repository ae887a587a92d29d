"""What a tensor can be predicted from: stored tensors, and how long a chain may become on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from threading import Lock

from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.manifest import SKELETON, Manifest, StorageLine, TensorLine
from git_theta.manifest.chains import Cost, closure, cost_of, costs, merged, room
from git_theta.objects.index import Lines
from git_theta.objects.members import Member
from git_theta.objects.reader import Objects
from git_theta.settings import Settings
from git_theta.tensors import Tensor
from git_theta.updates.interface import Base
from git_theta.updates.sampling import sampled

_MOST_READS = 32
"""Stored tensors that may have to be decoded to read one that is stored now; reading allows for more."""


Chain = tuple[TensorLine, Manifest, Mapping[str, Cost]]
"""A tensor of a manifest; it and what it is predicted from, from itself down, less what other chains have."""


class Bases:
    """The stored tensors that those of a path can be predicted from. Thread-safe.

    Args:
        recorded: manifests of the path, the index entry's first.
        related: manifests of other checkpoints, asked for only when a tensor has no earlier version.
        objects: of the local store.
    """

    def __init__(
        self, recorded: Sequence[Manifest], related: Callable[[], Sequence[Manifest]], objects: Objects
    ) -> None:
        self._recorded = [_Names(manifest) for manifest in recorded]
        self._read_related = related
        self._objects = objects
        self._lock = Lock()
        self._opened: dict[str, Lines] = {}

    def find(self, name: str, chains: Iterable[Chain], deepest: int) -> Iterator[Base]:
        """The tensors on these chains that one of that name may be predicted from, if theirs is not full."""
        for line, manifest, chain in chains:
            tensors = self._chain(line, manifest.storage)
            for key in chain:
                if _may_grow([chain[key]], deepest):
                    base = self._base(name, key, manifest.storage, tensors, chain[key].depth)
                    if base is not None:
                        yield base

    def _chain(self, line: TensorLine, storage: Mapping[str, StorageLine]) -> dict[str, Tensor]:
        """A tensor and all that it is predicted from, as far as they can be opened.

        Each keeps the sample that is looked at; so to look at one is to decode one.
        """
        found: dict[str, Tensor] = {}

        def keep(key: str, tensor: Tensor) -> Tensor:
            found[key] = sampled(tensor)
            return found[key]

        with suppress(ThetaError):  # only bases: without them the tensor is stored in another way
            found[line.digest] = self._objects.tensor(
                line.digest, storage, line.dtype, line.shape, watch=keep
            )
        return found

    def earlier(self, chains: Iterable[Chain], digest: str) -> Lines | None:
        """The lines of an earlier version of a tensor that had this digest: it has been taken back."""
        for _, manifest, chain in chains:
            for key in chain:
                with suppress(ThetaError):  # it is not here, or cannot be read
                    line = manifest.storage[key]
                    member = self._objects.member(line).member
                    if member.digest == digest:
                        return {**closure(line.bases, manifest.storage), digest: _named(line, member)}
        return None

    def chains(self, name: str, dtype: DType, shape: tuple[int, ...]) -> list[Chain]:
        """What a tensor may be predicted from, likeliest first.

        The same name in the recorded manifests; where there is none, the same name or a unique tensor of the
        same shape in other checkpoints.
        """
        found: list[Chain] = []
        seen: set[str] = set()  # places
        for line, manifest in self._candidates(name, dtype, shape):
            if line.digest not in manifest.storage:
                continue
            chain = costs([line.digest], manifest.storage)
            new = [key for key in reversed(chain) if manifest.storage[key].place not in seen]
            seen.update(manifest.storage[key].place for key in new)
            found.append((line, manifest, {key: chain[key] for key in new}))
        return found

    def opened(self, name: str, digest: str, lines: Lines, tensor: Tensor) -> Base:
        """A stored tensor that the caller has opened, to predict from.

        Raises:
            MissingObject, DamagedObject: an object of its chain is not here, or not as described.
        """
        own = self._opened.setdefault(digest, closure([digest], lines))
        depth, chain = costs([digest], own)[digest].depth, self._chain_bytes(digest, own)
        return Base(name, digest, tensor, own[digest].bases, self._stored_bytes(own[digest]), depth, chain)

    def lines(self, digests: Iterable[str]) -> dict[str, StorageLine]:
        """The storage lines of bases that were found here or opened, and of theirs."""
        return merged((digest, self._opened[digest]) for digest in digests)

    def room(self, digest: str, bases: Sequence[Base], dense_bytes: int, settings: Settings) -> int:
        """The most bytes that an update from these bases may take; 0 if it must not be made at all.

        Args:
            digest: the tensor's. It can be on a chain itself, if what is recorded of it cannot be read.
            dense_bytes: what the tensor would take as dense data.
        """
        lines = self.lines(base.digest for base in bases)
        chains = costs(lines, lines)
        if digest in lines or not _may_grow(
            [chains[base.digest] for base in bases], settings.max_chain_depth
        ):
            return 0
        digests = [base.digest for base in bases]
        return room(digests, lines, self._stored_bytes, dense_bytes, settings.max_chain_ratio)

    def _stored_bytes(self, line: StorageLine) -> int:
        return self._objects.member(line).stored_bytes()

    def _candidates(
        self, name: str, dtype: DType, shape: tuple[int, ...]
    ) -> Iterable[tuple[TensorLine, Manifest]]:
        if name == SKELETON:
            return [(names.manifest.skeleton_line, names.manifest) for names in self._recorded]
        same = [(names.by_name[name], names.manifest) for names in self._recorded if name in names.by_name]
        return same or [
            (line, names.manifest)
            for names in [*self._recorded, *self._related]
            if (line := names.by_name.get(name) or names.by_kind.get((dtype, shape))) is not None
        ]

    @property
    def _related(self) -> list[_Names]:
        with self._lock:
            return self._read_related_once

    @cached_property
    def _read_related_once(self) -> list[_Names]:
        return [_Names(manifest) for manifest in self._read_related() if manifest.storage]

    def _base(
        self,
        name: str,
        key: str,
        storage: Mapping[str, StorageLine],
        tensors: Mapping[str, Tensor],
        depth: int,
    ) -> Base | None:
        try:
            line = storage[key]
            data = self._objects.member(line)
            member, stored = data.member, data.stored_bytes()
            tensor = tensors.get(key) or self._objects.tensor(key, storage, member.dtype, member.shape)
            chain = self._chain_bytes(key, storage)
        except ThetaError:
            return None
        lines = {**closure(line.bases, storage), member.digest: _named(line, member)}
        self._opened.setdefault(member.digest, lines)
        return Base(name, member.digest, tensor, member.bases, stored, depth, chain)

    def _chain_bytes(self, key: str, storage: Mapping[str, StorageLine]) -> int:
        """Bytes of the updates between a tensor and dense data, its own too, where they take the most."""
        line = storage[key]
        if not line.bases:
            return 0
        return self._stored_bytes(line) + max(self._chain_bytes(base, storage) for base in line.bases)


class _Names:
    """The tensors of a manifest by name, and by dtype and shape where those are unique."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @cached_property
    def by_name(self) -> dict[str, TensorLine]:
        return {line.name: line for line in self.manifest.tensors}

    @cached_property
    def by_kind(self) -> dict[tuple[DType, tuple[int, ...]], TensorLine]:
        found: dict[tuple[DType, tuple[int, ...]], TensorLine | None] = {}
        for line in self.manifest.tensors:
            kind = line.dtype, line.shape
            found[kind] = None if kind in found else line
        return {kind: line for kind, line in found.items() if line is not None}


def _named(line: StorageLine, member: Member) -> StorageLine:
    """The line with what its object says of itself, and a manifest need not."""
    return replace(line, digest=member.digest, update=member.update)


def _may_grow(chains: Sequence[Cost], deepest: int) -> bool:
    """Whether one more update may be put on chains of this cost."""
    cost = cost_of(chains)
    return cost.depth <= deepest and cost.reads <= _MOST_READS
