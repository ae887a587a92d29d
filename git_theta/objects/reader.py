"""Stored tensors, decoded range by range."""

from __future__ import annotations

import struct
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject, NewerObject, ThetaError
from git_theta.manifest import StorageLine
from git_theta.manifest.chains import costs
from git_theta.objects import codec
from git_theta.objects.arrays import data_array
from git_theta.objects.container import Container
from git_theta.objects.members import Member, Slice
from git_theta.objects.recent import RecentRanges
from git_theta.objects.store import LocalStore
from git_theta.tensors import CHUNK_BYTES, Tensor, retyped
from git_theta.updates import registry, residual
from git_theta.updates.interface import Parameters, Predictor
from git_theta.values import check_denormals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

_OF_DAMAGE = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, struct.error)
"""What the code raises that reads what it should never meet."""
_CACHED_BYTES = 16 << 20
_ChunkKey = tuple[str, str, int]


class StoredTensor:
    """A tensor in an object. Reads decode whole chunks, so ask for whole chunks where you can."""

    def __init__(self, source: MemberData, bases: tuple[Tensor, ...]) -> None:
        self.dtype: DType = source.member.dtype
        self.shape = source.member.shape
        self.items = source.member.items
        self._source = source
        self._step = CHUNK_BYTES // self.dtype.itemsize
        self._predictor: Predictor | None = None
        member = source.member
        if member.update != "dense":
            kind = registry.stored_by(member.update)
            self._predictor = registry.predictor(kind, self.dtype, self.shape, bases, source.parameters())

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        result: Bits = np.empty(stop - start, self.dtype.storage) if out is None else out
        for number in range(start // self._step, -(-stop // self._step)):
            first, last = number * self._step, min((number + 1) * self._step, self.items)
            if start <= first and last <= stop:
                self._chunk(number, first, last, result[first - start : last - start])
            else:
                with scratch.borrow(last - first, self.dtype.storage) as whole:
                    self._chunk(number, first, last, whole)
                    low, high = max(start, first), min(stop, last)
                    result[low - start : high - start] = whole[low - first : high - first]
        return result

    def _chunk(self, number: int, first: int, last: int, out: Bits) -> None:
        if self._predictor is None:
            self._source.values("values", first, last, out)
            return
        check_denormals()
        self._predictor.predict(first, last, out)
        frame = self._source.residual(number)
        if frame is not None:
            with self._source.context():
                residual.decode(frame, self._source.member.residual_array[1], out, self.dtype)


class MemberData:
    """The data of one member of an object. The object's file is open as long as the store keeps it so."""

    def __init__(self, oid: str, member: Member, store: LocalStore, cache: _DecodedChunks) -> None:
        self.member = member
        self._oid = oid
        self._store = store
        self._cache = cache

    @property
    def _container(self) -> Container:
        return self._store.container(self._oid)

    def context(self) -> _Naming:
        """Adds the object's name to errors about its contents."""
        return _Naming(self._oid, self._store)

    def check(self) -> None:
        """Check that the object's arrays are as long as the member says. Raises DamagedObject."""
        member, arrays = self.member, self._container.arrays
        for name, part in member.arrays.items():
            info = arrays.get(data_array(part.itemsize))
            if part.items and (info is None or not info.planes or part.start + part.items > info.length):
                raise DamagedObject(f"array {name!r} lies outside of the object")
        if member.update == "dense":
            values = member.arrays.get("values")
            if values is None or (values.itemsize, values.items) != (member.dtype.itemsize, member.items):
                raise DamagedObject("the data are not as long as the tensor")
        elif member.residual is not None:
            info = arrays.get(member.residual_array[0])
            if info is None or member.residual + member.chunks > info.length:
                raise DamagedObject("the residual is not as long as the tensor")

    def parameters(self) -> Parameters:
        """The parameters of the member's update."""
        size = sum(part.itemsize * part.items for part in self.member.arrays.values())
        if size > (most := self.member.most_parameters):
            raise DamagedObject(f"its parameters have {size} bytes, and {most} at most are allowed")
        arrays = {}
        for name, part in self.member.arrays.items():
            arrays[name] = np.empty(part.items, f"<u{part.itemsize}")
            self.values(name, 0, part.items, arrays[name])
        return Parameters(self.member.values, arrays)

    def values(self, name: str, start: int, stop: int, out: Bits) -> None:
        """Fill `out` with items [start, stop) of an array of this member."""
        if start == stop:
            return
        with self.context():
            part = self.member.arrays[name]
            self._data(part, part.start + start, part.start + stop, out)

    def residual(self, number: int) -> bytes | None:
        """The compressed residual of a chunk, or None where the prediction is exact."""
        if self.member.residual is None:
            return None
        with self.context():
            return self._container.frame(self.member.residual_array[0], self.member.residual + number)

    def stored_bytes(self) -> int:
        """Bytes that this member takes in its object, of shared chunks its share."""
        total = 0
        for part in self.member.arrays.values():
            info = self._container.arrays.get(data_array(part.itemsize))
            if info is None or not part.items:
                continue
            frames = range(
                part.start // info.inner, min(info.count, -(-(part.start + part.items) // info.inner))
            )
            size = sum(self._container.frame_size(data_array(part.itemsize), frame) for frame in frames)
            total += size * part.items // max(part.items, min(info.length, len(frames) * info.inner))
        if self.member.residual is not None:
            array = self.member.residual_array[0]
            rows = range(self.member.residual, self.member.residual + self.member.chunks)
            total += sum(self._container.frame_size(array, row) for row in rows)
        return total

    def _data(self, part: Slice, start: int, stop: int, out: Bits) -> None:
        array, container = data_array(part.itemsize), self._container
        info = container.arrays[array]

        def decode(number: int, whole: Bits) -> None:
            frame = container.frame(array, number)
            if frame is None:
                whole[:] = 0
            else:
                codec.decode(frame, info.inner, whole)

        for number in range(start // info.inner, -(-stop // info.inner)):
            first, last = number * info.inner, min((number + 1) * info.inner, info.length)
            low, high = max(start, first), min(stop, last)
            if (low, high) == (first, last):
                decode(number, out[low - start : high - start])
            else:
                key = (self._oid, array, number)
                whole = self._cache.get(key, np.dtype(f"<u{part.itemsize}"), last - first, decode)
                out[low - start : high - start] = whole[low - first : high - first]


class Objects:
    """Opens stored tensors."""

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self._cache = _DecodedChunks()
        self._recent = RecentRanges()

    def member(self, line: StorageLine) -> MemberData:
        """What an object says about one of its members.

        Raises:
            MissingObject, DamagedObject: the object is not here, or not what the line says.
        """
        members = self.store.container(line.oid).members
        member = members[line.member] if line.member < len(members) else None
        if member is None or not _is_said(line, member):
            raise DamagedObject(
                f"object {line.oid[:12]} does not hold {line.digest[:12]} as the manifest says",
                "git theta fsck",
            )
        data = MemberData(line.oid, member, self.store, self._cache)
        with data.context():
            data.check()
        return data

    def describes(self, line: StorageLine) -> bool:
        """Whether an object that is here says itself what a line says of it."""
        try:
            self.member(line)
        except ThetaError:
            return False
        return True

    def tensor(
        self,
        digest: str,
        storage: Mapping[str, StorageLine],
        dtype: DType,
        shape: tuple[int, ...],
        shared: Collection[str] = (),
        watch: Callable[[str, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The tensor with this digest, as dtype and shape.

        Args:
            storage: lines for the digest and all its bases.
            shared: places, this one's or bases', of which other tensors read the same ranges at the same
                time; those that this one needs in several ways are known.
            watch: is given each tensor of the chain as it is stored, with its digest; what it returns is read
                in its place.

        Raises:
            MissingObject, DamagedObject, DamagedManifest: an object is not here, or not as described.
        """
        opened: dict[str, Tensor] = {}
        digests: dict[str, str] = {}
        chain = costs([digest], storage)  # bases first
        uses = Counter(base for each in chain for base in storage[each].bases)
        shared = {*shared, *(storage[base].place for base, times in uses.items() if times > 1)}
        for each in chain:
            line = storage[each]
            data = self.member(line)
            digests[each] = data.member.digest
            with data.context():
                if data.member.bases != tuple(digests[base] for base in line.bases):
                    raise DamagedObject("it is predicted from other tensors than the manifest says")
                stored: Tensor = StoredTensor(data, tuple(opened[base] for base in line.bases))
            stored = watch(each, stored) if watch is not None else stored
            opened[each] = self._recent.watched(line.place, stored) if line.place in shared else stored
        try:
            return retyped(opened[digest], dtype, shape)
        except ValueError as error:
            raise DamagedObject(f"the data of {digest[:12]} do not fit: {error}") from None


def _is_said(line: StorageLine, member: Member) -> bool:
    """Whether a line says nothing else of a member than its object does."""
    bases = zip(line.bases, member.bases, strict=False)
    return (
        (member.digest == line.digest or not line.names_digest)
        and line.update in (member.update, "")
        and len(line.bases) == len(member.bases)
        and all(said == base or "." in said for said, base in bases)
    )


class _DecodedChunks:
    """The chunks of bundles that were decoded last, because their members are read one after the other."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[_ChunkKey, NDArray[np.unsignedinteger]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(
        self, key: _ChunkKey, kind: np.dtype[Any], items: int, decode: Callable[[int, Bits], None]
    ) -> NDArray[np.unsignedinteger]:
        """A chunk: object, array and number; `decode` fills it where it is not there."""
        with self._lock:
            found = self._chunks.get(key)
            if found is None:
                found = np.empty(items, kind)
                decode(key[2], found)
                self._chunks[key] = found
                self._bytes += found.nbytes
                while self._bytes > _CACHED_BYTES and len(self._chunks) > 1:
                    self._bytes -= self._chunks.popitem(last=False)[1].nbytes
            return found


class _Naming:
    """Names the object in what is raised about its contents."""

    def __init__(self, oid: str, store: LocalStore) -> None:
        self._oid = oid
        self._store = store

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, NewerObject):
            if not error.message.startswith("object "):
                error.message = f"object {self._oid[:12]}: {error.message}"
            return
        if isinstance(error, DamagedObject) and not error.message.startswith("object "):
            raise self._damaged(f": {error.message}") from error
        if isinstance(error, _OF_DAMAGE) and not isinstance(error, ThetaError):
            raise self._damaged(f" ({error})") from error

    def _damaged(self, why: str) -> DamagedObject:
        return DamagedObject(f"object {self._oid[:12]} is damaged{why}", self._store.remedy(self._oid))
