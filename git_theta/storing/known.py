"""What is already stored: where a digest lies, and which tensors can serve as bases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from threading import Lock

from git_theta.dtypes import BYTES, DType
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.manifest.chains import Cost, closure, cost_of, costs, room
from git_theta.objects.index import Index, Lines
from git_theta.objects.reader import Objects
from git_theta.settings import Settings
from git_theta.tensors import Tensor, chunks
from git_theta.updates.interface import Base, Target

SKELETON = ""
"""The name under which the skeletons of earlier versions are found."""
_MOST_READS = 32
"""Stored tensors that may have to be decoded to read one that is stored now; reading allows for more."""


class Known:
    """The storage that is recorded for the tensors of a path. Thread-safe.

    Args:
        recorded: manifests of the same path, the index entry's first: their lines are used first.
        related: manifests of other checkpoints, asked for only when a tensor has no earlier version.
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
        related: Callable[[], Sequence[Manifest]],
        index: Index,
        objects: Objects,
        doubts: bool = True,
        elsewhere: Callable[[Mapping[str, int]], set[str]] = lambda objects: set(),
        norm: Callable[[Tensor], float] | None = None,
    ) -> None:
        self._recorded = [_Names(manifest) for manifest in recorded]
        self._read_related = related
        self._index = index
        self._objects = objects
        self._doubts = doubts
        self._ask_elsewhere = elsewhere
        self._norm = norm
        self._norms: dict[tuple[str, str], float] = {}
        self._lock = Lock()
        self._used: dict[str, Lines] = {}
        self._unvouched: set[str] = set()
        self._bases: dict[str, Lines] = {}

    def has(self, digest: str, tensor: Tensor) -> bool:
        """Whether a tensor with this digest need not be stored again.

        What was not stored or restored here before is compared with the tensor: nobody's word is taken for
        what an object holds, because the tensor's bytes may be nowhere else.
        """
        if digest in self._used:
            return True
        vouched = [lines for lines in self._index.find(digest) if self._is_here(lines)]
        for names in self._recorded:
            if digest not in names.manifest.storage:
                continue
            lines = closure([digest], names.manifest.storage)
            if not self._doubts or lines in vouched:
                return self._use(digest, lines)
            if self._is_here(lines):
                if self._holds(digest, lines, tensor):
                    return self._use(digest, lines, new=True)
            elif self._is_kept(lines):
                return self._use(digest, lines)
        for found in vouched:
            if not self._doubts or self._objects.describes(found[digest]):
                return self._use(digest, found)
        return False

    def take(self, digest: str, lines: Lines) -> None:
        """Adopt storage lines as they are: a merge takes a tensor over from a side, where it is stored."""
        self._use(digest, lines)

    def add(self, line: StorageLine) -> None:
        """A line that has just been stored; its bases are ones that `bases` gave."""
        lines = _merged((base, self._bases[base]) for base in line.bases)
        self._use(line.digest, {**lines, line.digest: line}, new=True)

    def storage(self, digests: Iterable[str]) -> dict[str, StorageLine]:
        """Lines for these digests, which are all known, and for all their bases."""
        wanted = list(digests)
        return closure(wanted, _merged((digest, self._used[digest]) for digest in wanted))

    def measure(self, target: Target, digest: str) -> None:
        """Take down the norm of a tensor while its data are at hand."""
        if self._norm is not None and target.name != SKELETON and target.dtype.kind != "raw":
            self._norms[digest, target.dtype.name] = self._norm(target.tensor)

    def record(self, storage: Mapping[str, StorageLine]) -> None:
        """Remember in the index what was stored or compared, with its lines in the manifest; and norms."""
        self._index.record({digest: closure([digest], storage) for digest in self._unvouched})
        self._index.record_norms(self._norms)

    def bases(self, name: str, dtype: DType, shape: tuple[int, ...], deepest: int) -> Iterator[Base]:
        """Tensors that this one may be predicted from, likeliest first; none whose chain is full.

        The same name in the recorded manifests, then every earlier version on their chains; where there is
        none, the same name or a unique tensor of the same shape in other checkpoints.
        """
        seen: set[str] = set()
        for line, manifest in self._candidates(name, dtype, shape):
            if line.digest not in manifest.storage:
                continue
            chain = costs([line.digest], manifest.storage)
            for digest in reversed(chain):  # the tensor itself first
                if digest in seen or not _may_grow([chain[digest]], deepest):
                    continue
                seen.add(digest)
                kind = (line.dtype, line.shape) if digest == line.digest else None
                base = self._open(name, digest, manifest.storage, kind)
                if base is not None:
                    yield base

    def base(self, name: str, digest: str, lines: Lines, tensor: Tensor) -> Base:
        """A stored tensor that the caller has opened, to predict from."""
        self._bases.setdefault(digest, closure([digest], lines))
        return Base(name, digest, tensor)

    def room(self, digest: str, bases: Sequence[Base], dense_bytes: int, settings: Settings) -> int:
        """The most bytes that an update from these bases may take; 0 if it must not be made at all.

        Args:
            digest: the tensor's. It can be on a chain itself, if what is recorded of it cannot be read.
            dense_bytes: what the tensor would take as dense data.
        """
        lines = _merged((base.digest, self._bases[base.digest]) for base in bases)
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
            return [(_skeleton_line(names.manifest), names.manifest) for names in self._recorded]
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

    def _use(self, digest: str, lines: Lines, new: bool = False) -> bool:
        with self._lock:
            self._used[digest] = lines
            if new:
                self._unvouched.add(digest)
        return True

    def trusts(self, lines: Lines) -> bool:
        """Whether the objects that recorded lines name are here, or elsewhere."""
        return not self._doubts or self._is_kept(lines)

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
        named = {oid: size for names in self._recorded for oid, size in names.manifest.oids().items()}
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

    def _open(
        self,
        name: str,
        digest: str,
        storage: Mapping[str, StorageLine],
        kind: tuple[DType, tuple[int, ...]] | None,
    ) -> Base | None:
        try:
            line = storage[digest]
            data = self._objects.member(line)
            if kind is None:
                kind = data.member.dtype, data.member.shape
            tensor = self._objects.tensor(digest, storage, *kind)
            base = Base(name, digest, tensor, line.bases, data.stored_bytes())
        except ThetaError:
            return None  # only a base: without it the tensor is stored in another way
        self._bases.setdefault(digest, closure([digest], storage))
        return base


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


def _merged(sources: Iterable[tuple[str, Lines]]) -> dict[str, StorageLine]:
    """The lines of these digests and of their bases, each pair's from its own source.

    Where sources differ, the line that costs the fewest reads in its source is taken. Reads fall with every
    step along a chain, whichever sources the steps come from: so there are no circles, and no tensor costs
    more than it did in its source.
    """
    found: dict[str, tuple[int, StorageLine]] = {}
    for digest, lines in sources:
        for key, cost in costs([digest], lines).items():
            if key not in found or cost.reads < found[key][0]:
                found[key] = cost.reads, lines[key]
    return {digest: line for digest, (_, line) in found.items()}


def _may_grow(chains: Sequence[Cost], deepest: int) -> bool:
    """Whether one more update may be put on chains of this cost."""
    cost = cost_of(chains)
    return cost.depth <= deepest and cost.reads <= _MOST_READS


def _skeleton_line(manifest: Manifest) -> TensorLine:
    return TensorLine(SKELETON, BYTES, (manifest.skeleton_size,), manifest.skeleton)
