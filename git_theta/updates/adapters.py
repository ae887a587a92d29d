"""What an adapter says about one tensor of a model: how to apply it, and what to predict the result from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from git_theta.dtypes import DType
from git_theta.tensors import ArrayTensor, Tensor
from git_theta.updates.interface import Base, Proposal, Target
from git_theta.updates.low_rank import factored
from git_theta.updates.matrices import row_blocks, sampled_rows
from git_theta.updates.sampling import with_samples
from git_theta.updates.scale import scaled
from git_theta.values import from_float, to_float

if TYPE_CHECKING:
    from git_theta.values import Floats

_SAMPLE = 64  # rows


class Guide(Protocol):
    """An adapter's part for one tensor.

    Attributes:
        kind: name of the update that it is stored as.
    """

    kind: ClassVar[str]

    def times(self, weight: float) -> Guide:
        """The adapter's part with a weight: base + weight (updated - base)."""
        ...

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        """Predictions of a tensor that the adapter was already applied to.

        Raises:
            DamagedObject, MissingObject: the base cannot be read.
        """
        ...

    def apply(self, base: Tensor) -> ArrayTensor:
        """The base with the adapter applied, computed in float32 (float64 if wider), rounded once."""
        ...


@dataclass(frozen=True)
class AddedProduct:
    """base + left @ right.

    Attributes:
        left, right: floats, [rows, rank] and [rank, columns] of the tensor as a matrix.
        scaled: whether their scale is known; otherwise it is fitted to the target.
    """

    kind: ClassVar[str] = "low-rank"
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    scaled: bool = True

    def times(self, weight: float) -> Guide:
        return replace(self, left=self.left * weight)

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        left = self.left if self.scaled else self.left * self._scale(target, base)
        yield factored(target, base, left, self.right)

    def apply(self, base: Tensor) -> ArrayTensor:
        return _by_rows(
            base,
            self.right.shape[1],
            lambda row, values: (
                values + (self.left[row : row + len(values)] @ self.right).astype(values.dtype)
            ),
        )

    def _scale(self, target: Target, base: Base) -> float:
        """The factor by which the product explains a sample of the difference best."""
        columns = self.right.shape[1]
        target, (base,) = with_samples(target, [base])
        first, last = sampled_rows(target.tensor, columns)
        above = below = 0.0
        for row in range(first, last, max(1, (last - first) // _SAMPLE)):
            with np.errstate(all="ignore"):
                x, y = (
                    to_float(one.tensor.read(row * columns, (row + 1) * columns), target.dtype)
                    for one in (base, target)
                )
                difference = y.astype(np.float64) - x
            usable = np.isfinite(difference)
            product = (self.left[row] @ self.right)[usable]
            above += float(product @ difference[usable])
            below += float(product @ product)
        return above / below if below else 1.0


@dataclass(frozen=True)
class Scaled:
    """base * vector along an axis."""

    kind: ClassVar[str] = "scale"
    axis: int
    vector: NDArray[np.float64]

    def times(self, weight: float) -> Guide:
        return replace(self, vector=1.0 + weight * (self.vector - 1.0))

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        yield scaled(target, base, self.axis, self.vector)

    def apply(self, base: Tensor) -> ArrayTensor:
        shape = [1] * len(base.shape)
        shape[self.axis] = self.vector.size
        factors = np.broadcast_to(self.vector.reshape(shape), base.shape).reshape(base.shape[0], -1)
        return _by_rows(
            base,
            factors.shape[1],
            lambda row, values: values * factors[row : row + len(values)].astype(values.dtype),
        )


@dataclass(frozen=True)
class AddedSparsely:
    """base + values at some items, counted through the whole tensor."""

    kind: ClassVar[str] = "delta"
    places: NDArray[np.int64]
    values: NDArray[np.float64]

    def times(self, weight: float) -> Guide:
        return replace(self, values=self.values * weight)

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        yield Proposal("delta", (base,))

    def apply(self, base: Tensor) -> ArrayTensor:
        bits = np.array(base.read(0, base.items))
        before = to_float(bits[self.places], base.dtype)
        bits[self.places] = from_float(before + self.values.astype(before.dtype), base.dtype)
        return ArrayTensor(base.dtype, base.shape, bits.data)


@dataclass(frozen=True)
class Replaced:
    """A tensor that the adapter holds whole, and the share of the way there from the base."""

    kind: ClassVar[str] = "dense"
    tensor: Tensor
    share: float = 1.0

    def times(self, weight: float) -> Guide:
        return replace(self, share=weight)

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        return ()

    def apply(self, base: Tensor) -> ArrayTensor:
        if self.share != 1:
            return _part_of_the_way(base, floats(self.tensor), self.share)
        bits = self.tensor.read(0, self.tensor.items)
        if self.tensor.dtype != base.dtype:
            bits = from_float(to_float(bits, self.tensor.dtype), base.dtype)
        return ArrayTensor(base.dtype, base.shape, np.ascontiguousarray(bits).data)


@dataclass(frozen=True)
class ReplacedRows:
    """Rows of a matrix that the adapter holds whole, and the share of the way there from the base's."""

    kind: ClassVar[str] = "delta"
    rows: tuple[int, ...]
    tensor: Tensor
    share: float = 1.0

    def times(self, weight: float) -> Guide:
        return replace(self, share=weight)

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        yield Proposal("delta", (base,))

    def apply(self, base: Tensor) -> ArrayTensor:
        bits = np.array(base.read(0, base.items)).reshape(base.shape)
        before = ArrayTensor(base.dtype, self.tensor.shape, bits[list(self.rows)].ravel().data)
        after = Replaced(self.tensor, self.share).apply(before)
        bits[list(self.rows)] = after.bits.reshape(self.tensor.shape)
        return ArrayTensor(base.dtype, base.shape, bits.ravel().data)


@dataclass(frozen=True)
class Redirected:
    """DoRA: base + product, with every row (or column) brought to a length of its own (arXiv:2402.09353).

    Attributes:
        magnitudes: the lengths.
        axis: of the tensor, along which they lie.
        share: how far from the base to the result.
    """

    kind: ClassVar[str] = "dense"
    product: AddedProduct
    magnitudes: NDArray[np.float64]
    axis: int
    share: float = 1.0

    def times(self, weight: float) -> Guide:
        return replace(self, share=weight)

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        return ()  # a vector times the base, and a product: two updates in one

    def apply(self, base: Tensor) -> ArrayTensor:
        moved = floats(base) + (self.product.left @ self.product.right).reshape(base.shape)
        others = tuple(axis for axis in range(moved.ndim) if axis != self.axis)
        with np.errstate(all="ignore"):
            lengths = np.sqrt(np.square(moved).sum(axis=others, keepdims=True))
            moved *= self.magnitudes.reshape(lengths.shape) / lengths
        return _part_of_the_way(base, moved, self.share)


@dataclass(frozen=True)
class Successive:
    """One part of an adapter that replaces a tensor, then another that changes the result."""

    kind: ClassVar[str] = "dense"
    whole: Replaced
    change: Guide
    share: float = 1.0

    def times(self, weight: float) -> Guide:
        return replace(self, share=weight)

    def propose(self, target: Target, base: Base) -> Iterable[Proposal]:
        return ()

    def apply(self, base: Tensor) -> ArrayTensor:
        changed = self.change.apply(self.whole.apply(base))
        return changed if self.share == 1 else _part_of_the_way(base, floats(changed), self.share)


def _part_of_the_way(base: Tensor, goal: NDArray[np.float64], share: float) -> ArrayTensor:
    """base + share (goal - base), in float64, rounded once."""
    start = floats(base)
    with np.errstate(all="ignore"):
        values = goal if share == 1 else start + share * (goal - start)
    bits = from_float(np.ascontiguousarray(values).ravel(), base.dtype)
    return ArrayTensor(base.dtype, base.shape, bits.data)


def floats(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor's values in its shape."""
    values = to_float(tensor.read(0, tensor.items), tensor.dtype)
    return values.astype(np.float64).reshape(tensor.shape)


def _by_rows(base: Tensor, columns: int, function: Callable[[int, Floats], Floats]) -> ArrayTensor:
    out: NDArray[Any] = np.empty(base.items, base.dtype.storage)
    kind: DType = base.dtype
    with np.errstate(all="ignore"):
        for row, bits in row_blocks(base, columns):
            values = function(row, to_float(bits.ravel(), kind).reshape(bits.shape))
            from_float(values.ravel(), kind, out[row * columns :][: bits.size])
    return ArrayTensor(base.dtype, base.shape, out.data)
