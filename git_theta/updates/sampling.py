"""Samples of tensors: what is cheap to look at, and what an update would take, estimated from that.

Stored tensors are decoded in whole chunks, so the sample of a tensor lies in one chunk of it, the middle one,
and is kept: reading it again, here or when the tensor is encoded, costs a copy.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from git_theta import kernels, scratch, zstd
from git_theta.dtypes import DType
from git_theta.tensors import CHUNK_BYTES, Tensor
from git_theta.updates import registry, residual
from git_theta.updates.interface import Base, Proposal, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

_PIECES = 4
_PIECE_BYTES = 32 << 10


class Sampled:
    """A tensor that keeps the items [start, stop) once they have been read."""

    def __init__(self, tensor: Tensor, start: int, stop: int) -> None:
        self.dtype: DType = tensor.dtype
        self.shape = tensor.shape
        self.items = tensor.items
        self.start, self.stop = start, stop
        self._tensor = tensor
        self._kept: Bits | None = None
        self._lock = threading.Lock()

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        if start < self.start or stop > self.stop or start == stop:
            return self._tensor.read(start, stop, out)
        with self._lock:
            if self._kept is None:
                self._kept = self._tensor.read(self.start, self.stop)
        kept = self._kept[start - self.start : stop - self.start]
        if out is None:
            return kept
        out[:] = kept
        return out


def sampled(tensor: Tensor) -> Sampled:
    """The tensor with its middle chunk kept."""
    if isinstance(tensor, Sampled):
        return tensor
    step = CHUNK_BYTES // tensor.dtype.itemsize
    start = tensor.items // 2 // step * step
    return Sampled(tensor, start, min(start + step, tensor.items))


def pieces(tensor: Tensor) -> list[tuple[int, int]]:
    """Ranges of items, spread over the kept chunk, that estimates are made from."""
    kept = sampled(tensor)
    length, step = _PIECE_BYTES // tensor.dtype.itemsize, (kept.stop - kept.start) // _PIECES
    if step <= length:
        return [(kept.start, kept.stop)] if kept.stop > kept.start else []
    return [(kept.start + i * step, kept.start + i * step + length) for i in range(_PIECES)]


def estimate(proposal: Proposal, target: Target) -> int:
    """Bytes that a target would take by a proposal, estimated from a sample.

    Raises:
        DamagedObject, MissingObject: a base cannot be read.
    """
    parameters = proposal.parameters
    kind = registry.by_name(proposal.update)
    bases = [base.tensor for base in proposal.bases]
    predictor = registry.predictor(kind, target.dtype, target.shape, bases, parameters)
    fixed = sum(codec_bytes(array) for array in parameters.arrays.values())
    ranges = pieces(target.tensor)
    count = sum(stop - start for start, stop in ranges)
    with scratch.borrow(2 * count, target.dtype.storage) as room:
        wanted, predicted = room[:count], room[count:]
        at = 0
        for start, stop in ranges:
            part = slice(at, at + stop - start)
            predictor.predict(start, stop, predicted[part])
            target.tensor.read(start, stop, wanted[part])
            at = part.stop
        row = residual.encode(
            predicted, wanted, target.dtype, wanted.nbytes + residual.MARGIN, grouping="off"
        )
    return fixed + len(row or b"") * target.tensor.items // max(count, 1)


def dense_bytes(tensor: Tensor) -> int:
    """Bytes that a tensor would take as it is, estimated from a sample."""
    ranges = pieces(tensor)
    count = sum(stop - start for start, stop in ranges)
    with scratch.borrow(count, tensor.dtype.storage) as room:
        at = 0
        for start, stop in ranges:
            tensor.read(start, stop, room[at : at + stop - start])
            at += stop - start
        return codec_bytes(room) * tensor.items // max(count, 1)


def codec_bytes(items: NDArray[np.integer[Any]]) -> int:
    """Bytes of items as byte planes."""
    with scratch.borrow(items.nbytes) as planes:
        kernels.split_planes(items.view(f"<u{items.itemsize}"), planes)
        # One by one: in planes as short as a sample's, an entropy table would have to serve two.
        rows = planes.reshape(items.itemsize, items.size)
        return sum(len(zstd.compressor(checksum=True).compress(plane.data)) for plane in rows)


def with_samples(target: Target, bases: Sequence[Base]) -> tuple[Target, list[Base]]:
    """A target and its bases that keep in memory what estimates read of them."""
    kept = sampled(target.tensor)

    def beside(tensor: Tensor) -> Sampled:
        stop = min(kept.stop, tensor.items)
        return Sampled(tensor, kept.start, stop) if kept.start < stop else sampled(tensor)

    return replace(target, tensor=kept), [replace(base, tensor=beside(base.tensor)) for base in bases]
