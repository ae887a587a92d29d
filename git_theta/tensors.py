"""What every part of git-theta means by a tensor: bits that can be read range by range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from git_theta.dtypes import DType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bits = NDArray[np.unsignedinteger[Any]]
    """A 1-D array of `DType.storage`: the raw bits of consecutive items of a tensor."""

CHUNK_BYTES = 4 << 20
"""Tensors are stored, predicted and compared in ranges of this many bytes, counted from their first item."""


class Tensor(Protocol):
    """A tensor whose bits are read in ranges of items, wherever they come from.

    An item is what `dtype.storage` holds; `items` = nbytes / itemsize. Shapes are in elements, as users
    know them. Complex numbers are two items, types narrower than a byte share one.
    """

    @property
    def dtype(self) -> DType: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def items(self) -> int: ...

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        """The bits of items [start, stop).

        The result is `out`, filled, where one is given (a contiguous array of stop - start items), else
        an array that must not be written to: it can be a view of the tensor's memory. Thread-safe.
        """
        ...


class ArrayTensor:
    """A tensor that lies in memory.

    Args:
        dtype, shape: as in the checkpoint.
        data: its packed little-endian bytes, any buffer of dtype.nbytes(shape) bytes.
    """

    def __init__(self, dtype: DType, shape: tuple[int, ...], data: Any) -> None:
        import numpy as np

        self.dtype = dtype
        self.shape = shape
        self.bits: Bits = np.frombuffer(data, dtype.storage) if len(data) else np.empty(0, dtype.storage)
        self.items = self.bits.size

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        view = self.bits[start:stop]
        if out is None:
            return view
        out[:] = view
        return out


class Zeros:
    """A tensor of zeros, as a stand-in: for a base that is not there, or for what models have in common."""

    def __init__(self, dtype: DType, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape
        self.items = dtype.nbytes(shape) // dtype.itemsize

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        import numpy as np

        if out is None:
            return np.zeros(stop - start, self.dtype.storage)
        out.fill(0)
        return out


class Retyped:
    """A tensor's bytes read as another dtype and shape; see `retyped`."""

    def __init__(self, tensor: Tensor, dtype: DType, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape
        self.items = dtype.nbytes(shape) // dtype.itemsize
        self._tensor = tensor

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        mine, theirs = self.dtype.itemsize, self._tensor.dtype.itemsize
        if mine == theirs:
            return self._tensor.read(start, stop, out)
        first, last = start * mine // theirs, -(-stop * mine // theirs)
        raw = self._tensor.read(first, last).view("u1")
        bits: Bits = raw[start * mine - first * theirs :][: (stop - start) * mine].view(self.dtype.storage)
        if out is None:
            return bits
        out[:] = bits
        return out


def retyped(tensor: Tensor, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """A tensor's bytes as another dtype and shape: equal bytes are stored once, as what they were first.

    Raises:
        ValueError: those would take another number of bytes.
    """
    if (tensor.dtype, tensor.shape) == (dtype, shape):
        return tensor
    if tensor.dtype.nbytes(tensor.shape) != dtype.nbytes(shape):
        raise ValueError(f"{dtype.name}{list(shape)} takes another number of bytes than its data")
    return Retyped(tensor, dtype, shape)


def chunks(tensor: Tensor) -> list[tuple[int, int]]:
    """The ranges of items [start, stop) of CHUNK_BYTES that a tensor is handled in; none if it is empty."""
    step = CHUNK_BYTES // tensor.dtype.itemsize
    return [(start, min(start + step, tensor.items)) for start in range(0, tensor.items, step)]
