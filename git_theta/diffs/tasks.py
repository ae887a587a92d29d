"""Measures how far two task vectors agree, and how far two models lie apart, range by range."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from git_theta import kernels, scratch
from git_theta.diffs import blocks
from git_theta.diffs.agreement import Agreement, Weights, all_weights, together
from git_theta.diffs.largest import Magnitudes, magnitudes
from git_theta.diffs.metrics import Ranges
from git_theta.diffs.sweep import Job, Progress, sweep
from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.tensors import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Sides = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

K = TypeVar("K")


@dataclass(frozen=True)
class Measured:
    """What is found out about a tensor's three versions.

    Attributes:
        largest: a sample of the changes' sizes.
    """

    agreement: Agreement
    weights: Weights
    largest: tuple[Magnitudes, ...]


@dataclass(frozen=True)
class Trio(Generic[K]):
    """A tensor's three versions, all of one dtype that can be computed with, and one shape.

    Attributes:
        key: what the answer is called.
        open: opens base, ours and theirs; gives the same tensor for versions that are equal.
    """

    key: K
    dtype: DType
    items: int
    open: Callable[[], tuple[Tensor, Tensor, Tensor]]


def agreements(
    trios: Iterable[Trio[K]],
    *,
    step: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[K, Measured | ThetaError | OSError]]:
    """Compare the versions of tensors one after the other, on all cores; see diffs.sweep.

    Args:
        step: see largest.step_for.
    """
    return sweep((_job(trio, step) for trio in trios), threads, progress)


def _job(trio: Trio[K], step: int) -> Job[K, tuple[Tensor, Tensor, Tensor], Measured, Measured]:
    kind = trio.dtype.storage

    def measure(tensors: tuple[Tensor, Tensor, Tensor], start: int, stop: int) -> Measured:
        count = stop - start
        with (
            scratch.borrow(count, kind) as first,
            scratch.borrow(count, kind) as second,
            scratch.borrow(count, kind) as third,
        ):
            read: dict[int, Bits] = {}
            for tensor, room in zip(tensors, (first, second, third), strict=True):
                if id(tensor) not in read:
                    read[id(tensor)] = tensor.read(start, stop, room)
            base, ours, theirs = (read[id(tensor)] for tensor in tensors)
            return _measured((base, ours, theirs), trio.dtype, start, step)

    return Job(trio.key, trio.open, Ranges(trio.items, trio.dtype), measure, _put_together)


def _measured(sides: tuple[Bits, Bits, Bits], dtype: DType, start: int, step: int) -> Measured:
    found = compare_bits(*sides, dtype)
    if dtype.kind != "float":  # a counter or an index is no weight
        return Measured(found, Weights(), ())
    _, ours, theirs = sides
    between = blocks.compare_bits(ours, dtype, theirs, dtype)
    weights = Weights(found.base_norm, between.old, between.new, between.difference, between.product)
    return Measured(found, weights, (magnitudes(sides, dtype, start, step),))


def _put_together(parts: list[Measured]) -> Measured:
    return Measured(
        together(part.agreement for part in parts),
        all_weights(part.weights for part in parts),
        tuple(found for part in parts for found in part.largest),
    )


def compare_bits(base: Bits, ours: Bits, theirs: Bits, dtype: DType) -> Agreement:
    """How far the task vectors of one range agree. NaN and infinities count for no norm."""
    parts: list[Agreement] = []
    block = blocks.BLOCK
    narrow = blocks.in_float32(dtype)
    with np.errstate(all="ignore"), scratch.borrow(3 * min(base.size, block), np.float32) as room:
        for start in range(0, base.size, block):
            sides = tuple(side[start : start + block] for side in (base, ours, theirs))
            part = _narrow(sides, dtype, room) if narrow else None
            parts += [part] if part is not None else _wide_parts(sides, dtype)
    return together(parts)


def _narrow(sides: tuple[Bits, ...], dtype: DType, room: NDArray[np.float32]) -> Agreement | None:
    """One block in float32, or None where that cannot be trusted."""
    count = sides[0].size
    places = [room[number * count : (number + 1) * count] for number in range(3)]
    base, ours, theirs = (
        blocks.float32(bits, dtype, place) for bits, place in zip(sides, places, strict=True)
    )
    norm = blocks.squares(base)
    ours, theirs = np.subtract(ours, base, out=places[1]), np.subtract(theirs, base, out=places[2])
    norms = [norm, blocks.squares(ours), blocks.squares(theirs)]
    if any(found is None for found in norms):
        return None
    lengths = [math.sqrt(found or 0.0) for found in norms]
    return _counted(sides, ours, theirs, lengths, _product(ours, theirs))


def _product(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return kernels.sums(one.view(np.uint32), other.view(np.uint32))[4]


def _wide_parts(sides: tuple[Bits, ...], dtype: DType) -> list[Agreement]:
    step = blocks.WIDE_BLOCK
    return [
        _wide(tuple(side[start : start + step] for side in sides), dtype)
        for start in range(0, sides[0].size, step)
    ]


def _wide(sides: tuple[Bits, ...], dtype: DType) -> Agreement:
    """One block in float64: any dtype, any values."""
    base, ours, theirs = (blocks.float64(bits, dtype) for bits in sides)
    finite = np.isfinite(base) & np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = (
        np.where(finite, blocks.exact_difference(base, values, sides[0], bits, dtype), 0.0)
        for values, bits in ((ours, sides[1]), (theirs, sides[2]))
    )
    lengths = [blocks.wide_norm(values) for values in (np.where(finite, base, 0.0), ours, theirs)]
    return _counted(sides, ours, theirs, lengths, float(np.dot(ours, theirs)), dtype.components)


def _counted(
    sides: tuple[Bits, ...],
    ours: NDArray[np.floating[Any]],
    theirs: NDArray[np.floating[Any]],
    lengths: list[float],
    product: float,
    components: int = 1,
) -> Agreement:
    base = sides[0]
    changed = [bits != base for bits in sides[1:]]
    opposite = (np.signbit(ours) != np.signbit(theirs)) & (ours != 0) & (theirs != 0)
    masks = [changed[0], changed[1], changed[0] & changed[1], opposite]
    if components == 2:
        masks = [mask[::2] | mask[1::2] for mask in masks]
    counts = [int(np.count_nonzero(mask)) for mask in masks]
    return Agreement(
        base.size // components,
        counts[0],
        counts[1],
        counts[2],
        counts[3],
        lengths[0],
        lengths[1],
        lengths[2],
        product,
    )
