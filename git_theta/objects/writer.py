"""Stores tensors: encodes them, verifies what was encoded, and puts them in objects."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject, MissingObject
from git_theta.manifest import StorageLine
from git_theta.objects import codec
from git_theta.objects.arrays import BUNDLE_CHUNK_BYTES, ArrayInfo, data_array, inner_items
from git_theta.objects.container_writer import ContainerWriter
from git_theta.objects.members import Member, Slice
from git_theta.objects.store import LocalStore
from git_theta.settings import Grouping
from git_theta.tensors import CHUNK_BYTES, chunks
from git_theta.updates import registry, residual
from git_theta.updates.interface import Parameters, Predictor, Proposal, Target
from git_theta.values import check_denormals

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_BYTES = 64 << 10
"""Dense data below this share an object with others."""
_SMALL_UPDATE_BYTES = 1 << 20
"""So do updates below this: a fine-tune has hundreds of them, and each object costs a remote a request."""
_BUNDLE_BYTES = 8 << 20
_BUNDLE_MEMBERS = 4096  # of scalars and empty tensors there may be any number, and each takes metadata
_AHEAD = 4  # chunks of one tensor that are encoded ahead of the one being written

Rows = Iterable[bytes | None]


class _NotWorthwhile(Exception):
    """An update turned out larger than dense data, or did not give the tensor back."""


@dataclass(frozen=True)
class Payload:
    """What is stored of one tensor: arrays of its update, and rows of its residual (None: exact)."""

    member: Member
    arrays: Mapping[str, NDArray[Any]]
    rows: Rows = ()
    nbytes: int = 0


class Bundle:
    """Small payloads that will share an object."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []
        self.nbytes = 0

    def add(self, payload: Payload) -> None:
        self.payloads.append(payload)
        self.nbytes += payload.nbytes

    @property
    def full(self) -> bool:
        return self.nbytes >= _BUNDLE_BYTES or len(self.payloads) >= _BUNDLE_MEMBERS


class TensorWriter:
    """Writes tensors to a local store. Thread-safe, but not to be called from threads of `executor`.

    Args:
        executor: where chunks are encoded.
        grouping: see Settings.
    """

    def __init__(self, store: LocalStore, executor: Executor, grouping: Grouping) -> None:
        self._store = store
        self._executor = executor
        self._grouping = grouping

    def encode(
        self, target: Target, digest: str, proposals: Iterable[tuple[Proposal, int]]
    ) -> StorageLine | Payload:
        """Store a tensor by the first proposal that keeps its word, dense if none does.

        Args:
            proposals: predictions, best first, and how many bytes each may take at most.

        Returns:
            The storage line, or a small payload that is not stored until it is in a bundle.
        """
        for proposal, limit in proposals:
            if proposal.update == "dense":
                break
            if (made := self.attempt(target, digest, proposal, limit)) is not None:
                return made
        return self._dense(target, digest)

    def attempt(
        self, target: Target, digest: str, proposal: Proposal, limit: int
    ) -> StorageLine | Payload | None:
        """Store a tensor by this proposal; None if that takes more than `limit` bytes, or cannot be done."""
        try:
            return self._predicted(target, digest, proposal, limit)
        except (_NotWorthwhile, DamagedObject, MissingObject):
            return None  # a damaged base must not keep anyone from storing a tensor without it

    def computed(self, digest: str, dtype: DType, shape: tuple[int, ...], proposal: Proposal) -> Payload:
        """The payload of a tensor that was computed by the proposed prediction, so that it has no residual.

        It is exact as it is. Nothing is decoded to see that: the caller answers for it.

        Raises:
            DamagedObject: the update's kind does not take these parameters.
        """
        parameters = proposal.parameters
        kind, bases = registry.by_name(proposal.update), [base.tensor for base in proposal.bases]
        registry.predictor(kind, dtype, shape, bases, _as_read_back(parameters))
        digests = tuple(base.digest for base in proposal.bases)
        member = Member(digest, dtype, shape, proposal.update, digests, parameters.values)
        return Payload(member, parameters.arrays)

    def write(self, payloads: Sequence[Payload]) -> list[StorageLine]:
        """Write one object that holds these payloads.

        Raises:
            ThetaError: the store cannot be written.
        """
        data: dict[int, list[NDArray[Any]]] = {}
        lengths: dict[int, int] = {}
        rows: dict[tuple[str, int], list[Rows]] = {}
        counts: dict[tuple[str, int], int] = {}
        members: list[Member] = []
        for payload in payloads:
            placed: dict[str, Slice] = {}
            for name, array in payload.arrays.items():
                start = lengths.get(array.itemsize, 0)
                placed[name] = Slice(array.itemsize, start, array.size)
                lengths[array.itemsize] = start + array.size
                data.setdefault(array.itemsize, []).append(array)
            member = replace(payload.member, arrays=placed)
            if member.residual is not None:
                key = member.residual_array
                member = replace(member, residual=counts.get(key, 0))
                counts[key] = counts.get(key, 0) + member.chunks
                rows.setdefault(key, []).append(payload.rows)
            members.append(member)
        chunk_bytes = BUNDLE_CHUNK_BYTES if len(payloads) > 1 else CHUNK_BYTES
        with self._create() as (writer, keep):
            for itemsize in sorted(data):
                if lengths[itemsize]:
                    _write_data(writer, np.concatenate(data[itemsize]).view(f"<u{itemsize}"), chunk_bytes)
            for (name, width), parts in sorted(rows.items()):
                writer.begin(name, ArrayInfo(counts[name, width], width, 1, False))
                for row in chain.from_iterable(parts):
                    writer.chunk(row)
                writer.end()
            return keep(members)

    def _dense(self, target: Target, digest: str) -> StorageLine | Payload:
        tensor, width = target.tensor, target.dtype.itemsize
        member = Member(digest, target.dtype, target.shape, "dense")
        if tensor.items * width < SMALL_BYTES:
            values = np.array(tensor.read(0, tensor.items))
            return Payload(member, {"values": values}, nbytes=values.nbytes)
        inner = inner_items(tensor.items, width)
        with self._create() as (writer, keep):
            writer.begin(data_array(width), ArrayInfo(tensor.items, width, inner, True))
            ranges = [(start, min(start + inner, tensor.items)) for start in range(0, tensor.items, inner)]
            frames = self._ordered(lambda start, stop: codec.encode(tensor.read(start, stop), inner), ranges)
            with closing(frames):  # wait for its threads also if writing fails: they use the tensor's buffers
                for frame in frames:
                    writer.chunk(frame)
            writer.end()
            return keep([replace(member, arrays={"values": Slice(width, 0, tensor.items)})])[0]

    def _predicted(
        self, target: Target, digest: str, proposal: Proposal, limit: int
    ) -> StorageLine | Payload:
        parameters, bases = proposal.parameters, proposal.bases
        predictor = registry.predictor(
            registry.by_name(proposal.update),
            target.dtype,
            target.shape,
            [base.tensor for base in bases],
            _as_read_back(parameters),
        )
        digests = tuple(base.digest for base in bases)
        member = Member(
            digest, target.dtype, target.shape, proposal.update, digests, parameters.values, residual=0
        )
        width = member.residual_array[1]
        nbytes = sum(array.nbytes for array in parameters.arrays.values())
        if nbytes > member.most_parameters:
            raise _NotWorthwhile
        frames = _bounded(
            self._ordered(
                lambda start, stop: _row(target, predictor, start, stop, width, self._grouping),
                chunks(target.tensor),
            ),
            limit - nbytes,
        )
        rows: list[bytes | None] = []
        try:
            for frame in frames:
                rows.append(frame)
                nbytes += len(frame or b"")
                if nbytes >= _SMALL_UPDATE_BYTES:
                    return self.write([Payload(member, parameters.arrays, chain(rows, frames))])[0]
        finally:
            frames.close()
        if all(row is None for row in rows):
            return Payload(replace(member, residual=None), parameters.arrays, nbytes=nbytes)
        return Payload(member, parameters.arrays, rows, nbytes)

    def _ordered(
        self, function: Callable[[int, int], bytes | None], ranges: Sequence[tuple[int, int]]
    ) -> Generator[bytes | None, None, None]:
        """The results of a function for all ranges, in order, computed ahead in the executor.

        One alone is computed here: to hand over a small tensor takes longer than to encode it.
        """
        if len(ranges) == 1:
            yield function(*ranges[0])
            return
        waiting: deque[Future[bytes | None]] = deque()
        try:
            for start, stop in ranges:
                waiting.append(self._executor.submit(function, start, stop))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            for future in waiting:
                if not future.cancelled():
                    future.exception()  # wait: the chunk's buffers are in use until then

    @contextmanager
    def _create(self) -> Iterator[tuple[ContainerWriter, Callable[[Sequence[Member]], list[StorageLine]]]]:
        """A new object, and what to call with its members when its arrays are written."""
        with self._store.write() as (file, rename):
            writer = ContainerWriter(file)

            def keep(members: Sequence[Member]) -> list[StorageLine]:
                oid, size = writer.finish([member.record() for member in members])
                rename(oid)
                return [
                    StorageLine(m.digest, oid, size, number, m.update, m.bases)
                    for number, m in enumerate(members)
                ]

            yield writer, keep


def _row(
    target: Target, predictor: Predictor, start: int, stop: int, width: int, grouping: Grouping
) -> bytes | None:
    """The compressed residual of a chunk, None if the prediction is exact; verified by decoding it."""
    check_denormals()
    with scratch.borrow(stop - start, target.dtype.storage) as predicted:
        predictor.predict(start, stop, predicted)
        bits = target.tensor.read(start, stop)
        try:
            return residual.encode(predicted, bits, target.dtype, width, grouping, verify=True)
        except residual.NotExact:
            raise _NotWorthwhile from None


def _bounded(frames: Generator[bytes | None, None, None], limit: int) -> Generator[bytes | None, None, None]:
    """Pass on frames as long as their sum stays within the limit."""
    total = 0
    try:
        for frame in frames:
            total += len(frame or b"")
            if total > limit:
                raise _NotWorthwhile
            yield frame
    finally:
        frames.close()


def _as_read_back(parameters: Parameters) -> Parameters:
    """The parameters as a reader gets them, so that what is verified is what will be read."""
    return Parameters(
        json.loads(json.dumps(parameters.values)),
        {name: array.view(f"<u{array.itemsize}") for name, array in parameters.arrays.items()},
    )


def _write_data(writer: ContainerWriter, items: NDArray[np.unsignedinteger[Any]], chunk_bytes: int) -> None:
    inner = inner_items(items.size, items.itemsize, chunk_bytes)
    writer.begin(data_array(items.itemsize), ArrayInfo(items.size, items.itemsize, inner, True))
    for start in range(0, items.size, inner):
        writer.chunk(codec.encode(items[start : start + inner], inner))
    writer.end()
