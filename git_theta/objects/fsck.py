"""Verifying a store: that objects are what their names say, and that tensors decode to their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from git_theta.errors import DamagedObject, MissingObject, ThetaError
from git_theta.manifest import StorageLine
from git_theta.manifest.chains import costs
from git_theta.objects.store import LocalStore
from git_theta.objects.verifying import verify

if TYPE_CHECKING:
    from git_theta.objects.reader import Objects
    from git_theta.tensors import Bits, Tensor

_WORKERS = 4


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be. `oid` or `digest` says where, the other is empty."""

    error: ThetaError
    oid: str = ""
    digest: str = ""


def check_objects(
    store: LocalStore, objects: Mapping[str, int], advance: Callable[[int], object]
) -> Iterator[Fault]:
    """Objects that are missing, or have other bytes than their name and size say.

    Args:
        objects: sizes by oid.
        advance: called with the bytes of each object that was looked at.
    """

    def check(oid: str) -> Fault | None:
        try:
            found = store.find(oid)
            if found is None:
                return Fault(MissingObject(f"object {oid} is missing", "git theta fetch --all"), oid)
            verify(found, oid, objects[oid])
        except ThetaError as error:
            return Fault(error, oid)
        except OSError as error:
            return Fault(ThetaError(f"object {oid} cannot be read: {error.strerror}", store.remedy(oid)), oid)
        finally:
            advance(objects[oid])
        return None

    yield from _faults(check, objects)


def check_tensors(
    objects: Objects, tensors: Iterable[tuple[str, Mapping[str, StorageLine]]]
) -> Iterator[Fault]:
    """Stored tensors that do not decode to their digest.

    To decode a tensor is to decode its bases, so these are digested on the way: those that no other is
    predicted from are checked first, then the same of what they have not shown to be whole.

    Args:
        tensors: digests, each with storage lines for it and its bases. What was asked before is skipped.
    """
    left: dict[tuple[StorageLine, _Way], Mapping[str, StorageLine]] = {}
    below: dict[_Way, set[_Way]] = {}
    for digest, storage in tensors:
        ways = _ways(digest, storage)
        own = ways.pop(digest)
        left[storage[digest], own], below[own] = storage, set(ways.values())
    sound: set[_Way] = set()

    def check(item: tuple[StorageLine, _Way]) -> Fault | None:
        line, way = item
        try:
            objects.member(line)  # it is stored as this manifest says, too
            if way not in sound:
                sound.update(_decode(objects, line.digest, left[item]))
        except ThetaError as error:
            return Fault(error, digest=line.digest)
        return None

    while left:
        others = set().union(*(below[way] for _, way in left))
        tips = [item for item in left if item[1] not in others or item[1] in sound]
        yield from _faults(check, tips)
        for item in tips:
            del left[item]


class _Way(tuple[str, int, "tuple[_Way, ...]"]):
    """How a tensor is stored: its place, the size of the object, and how each of its bases is."""


def _ways(digest: str, storage: Mapping[str, StorageLine]) -> dict[str, _Way]:
    """How a digest and its bases are stored. Two tensors of the same digest can be stored in two ways."""
    found: dict[str, _Way] = {}
    for each in costs([digest], storage):  # bases first
        line = storage[each]
        found[each] = _Way((line.place, line.size, tuple(found[base] for base in line.bases)))
    return found


class _Digested:
    """A tensor that is digested as it is read, if that is from its start to its end."""

    def __init__(self, tensor: Tensor) -> None:
        self.dtype, self.shape, self.items = tensor.dtype, tensor.shape, tensor.items
        self._tensor = tensor
        self._hash = blake3()
        self._next = 0

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        bits = self._tensor.read(start, stop, out)
        if start == self._next:
            self._hash.update(bits.view("u1").data)
            self._next = stop
        return bits

    def digest(self) -> str:
        """Of the whole tensor; "" where not all of it was read, or not in order."""
        return self._hash.hexdigest() if self._next == self.items else ""


def _decode(objects: Objects, digest: str, storage: Mapping[str, StorageLine]) -> list[_Way]:
    """Decode a tensor; return how it and those of its bases are stored that are what they should be.

    Raises:
        ThetaError: it cannot be decoded, or to something else.
    """
    from git_theta import scratch
    from git_theta.tensors import chunks

    digested: dict[str, _Digested] = {}

    def watch(each: str, tensor: Tensor) -> Tensor:
        digested[each] = _Digested(tensor)
        return digested[each]

    member = objects.member(storage[digest]).member
    tensor = objects.tensor(digest, storage, member.dtype, member.shape, watch=watch)
    for start, stop in chunks(tensor):
        with scratch.borrow(stop - start, tensor.dtype.storage) as bits:
            tensor.read(start, stop, bits)
    if digested[digest].digest() != member.digest:
        oid = storage[digest].oid
        raise DamagedObject(
            f"object {oid} does not hold the data of {member.digest[:12]} that it should",
            objects.store.remedy(oid),
        )
    ways = _ways(digest, storage)
    said = {each: objects.member(storage[each]).member.digest for each in digested}
    return [ways[each] for each, one in digested.items() if one.digest() == said[each]]


def _faults(check: Callable[..., Fault | None], items: Iterable[object]) -> Iterator[Fault]:
    with ThreadPoolExecutor(_WORKERS) as executor:
        yield from (fault for fault in executor.map(check, items) if fault is not None)
