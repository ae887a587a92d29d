"""Verifying a store: that objects are what their names say, and that tensors decode to their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.errors import DamagedObject, MissingObject, ThetaError
from git_theta.manifest import StorageLine
from git_theta.manifest.chains import closure
from git_theta.objects.store import LocalStore
from git_theta.objects.verifying import verify

if TYPE_CHECKING:
    from git_theta.objects.reader import Objects

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

    Args:
        tensors: digests, each with storage lines for it and its bases. What was asked before is skipped.
    """
    seen: set[frozenset[StorageLine]] = set()
    wanted = []
    for digest, storage in tensors:
        lines = closure([digest], storage)
        key = frozenset(lines.values())
        if key not in seen:
            seen.add(key)
            wanted.append((digest, lines))

    def check(item: tuple[str, Mapping[str, StorageLine]]) -> Fault | None:
        digest, lines = item
        try:
            _decode(objects, digest, lines)
        except ThetaError as error:
            return Fault(error, digest=digest)
        return None

    yield from _faults(check, wanted)


def _decode(objects: Objects, digest: str, lines: Mapping[str, StorageLine]) -> None:
    from blake3 import blake3

    from git_theta import scratch
    from git_theta.tensors import chunks

    member = objects.member(lines[digest]).member
    tensor = objects.tensor(digest, lines, member.dtype, member.shape)
    hashed = blake3()
    for start, stop in chunks(tensor):
        with scratch.borrow(stop - start, tensor.dtype.storage) as bits:
            tensor.read(start, stop, bits)
            hashed.update(bits.view("u1").data)
    if hashed.hexdigest() != digest:
        oid = lines[digest].oid
        raise DamagedObject(
            f"object {oid} does not hold the data of {digest[:12]} that it should", objects.store.remedy(oid)
        )


def _faults(check: Callable[..., Fault | None], items: Iterable[object]) -> Iterator[Fault]:
    with ThreadPoolExecutor(_WORKERS) as executor:
        yield from (fault for fault in executor.map(check, items) if fault is not None)
