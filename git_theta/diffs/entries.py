"""The tensors of a checkpoint as its users see them: stored ones and views, told apart by what they hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.checkpoints.registry import OPAQUE
from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest, TensorLine, View
from git_theta.tensors import ArrayTensor, Tensor

if TYPE_CHECKING:
    from git_theta.tensors import Bits

Open = Callable[[TensorLine], Tensor]
"""Opens a stored tensor. The dtype and shape are to be used, not only the digest: they can read the same
bytes differently from how the manifest does. May raise MissingObject or DamagedObject."""

UNNAMED = "storage:"
"""What names of stored data begin with that no tensor covers; only views in them are tensors."""


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint.

    Attributes:
        line: what to open to read it: the stored tensor, as `dtype`; flat where `view` is not None.
        of: the stored tensor of which it is a view; "" if it is stored itself, or all that is stored.
        view: which part of `line` it is; None for all of it, in order.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    line: TensorLine
    of: str = ""
    view: View | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def items(self) -> int:
        """Stored items, as diffs.metrics counts them."""
        return self.dtype.nbytes(self.shape) // self.dtype.itemsize

    @property
    def place(self) -> tuple[int, tuple[int, ...]] | None:
        """Which part of the stored tensor it is: its first element and its strides."""
        return None if self.view is None else (self.view.offset, self.view.strides)

    @property
    def data(self) -> tuple[object, ...]:
        """Equal for tensors that hold the same bits of the same dtype, as far as digests tell."""
        place = () if self.view is None else (self.place, self.shape)
        return (self.dtype.name, self.line.digest, *place)


def entries(manifest: Manifest) -> dict[str, Entry]:
    """All tensors of a checkpoint by name; none of a file of no known format, which is stored as bytes."""
    if manifest.format == OPAQUE:
        return {}
    lines = {line.name: line for line in manifest.tensors}
    seen = {view.of for view in manifest.views}
    found = {
        name: Entry(name, line.dtype, line.shape, line)
        for name, line in lines.items()
        if not (name.startswith(UNNAMED) and name in seen)
    }
    found.update((view.name, _of_view(view, lines[view.of])) for view in manifest.views)
    return found


def open_entry(entry: Entry, opener: Open) -> Tensor:
    """The tensor to read.

    A view whose elements lie apart is gathered in memory; the stored tensor is read for that.

    Raises:
        MissingObject, DamagedObject: as the opener does.
        ThetaError: the view reaches outside the stored tensor, or repeats its elements.
    """
    tensor = opener(entry.line)
    if entry.view is None:
        return tensor
    _check(entry, tensor)
    if _in_order(entry.view):
        return _Range(entry, tensor)
    return _gathered(entry, tensor)


class _Range:
    """A view whose elements lie in order."""

    def __init__(self, entry: Entry, tensor: Tensor) -> None:
        assert entry.view is not None
        self.dtype = entry.dtype
        self.shape = entry.shape
        self.items = entry.items
        self._first = entry.view.offset * entry.dtype.components
        self._tensor = tensor

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        return self._tensor.read(self._first + start, self._first + stop, out)


def _gathered(entry: Entry, tensor: Tensor) -> Tensor:
    import numpy as np
    from numpy.lib.stride_tricks import as_strided

    assert entry.view is not None
    width = entry.dtype.itemsize * entry.dtype.components
    bits = tensor.read(0, tensor.items)
    elements = bits.view(np.dtype((np.void, width)))[entry.view.offset :]
    strides = [width * stride for stride in entry.view.strides]
    return ArrayTensor(entry.dtype, entry.shape, as_strided(elements, entry.shape, strides).tobytes())


def _of_view(view: View, line: TensorLine) -> Entry:
    """A view as an entry: part of a stored tensor, or another name for all of it."""
    whole = view.offset == 0 and view.dtype.nbytes(view.shape) == line.nbytes and _in_order(view)
    if whole:
        opened = TensorLine(line.name, view.dtype, view.shape, line.digest)
        return Entry(view.name, view.dtype, view.shape, opened, line.name)
    opened = TensorLine(line.name, view.dtype, (line.nbytes * 8 // view.dtype.bits,), line.digest)
    of = "" if line.name.startswith(UNNAMED) else line.name
    return Entry(view.name, view.dtype, view.shape, opened, of, view)


def _check(entry: Entry, tensor: Tensor) -> None:
    assert entry.view is not None
    steps = zip(entry.shape, entry.view.strides, strict=True)
    last = entry.view.offset + sum((length - 1) * stride for length, stride in steps)
    if entry.dtype.bits < 8:
        raise ThetaError(f"{entry.name} is a part of packed {entry.dtype.name} data, which is not read")
    if entry.elements and last >= tensor.items // entry.dtype.components:
        raise ThetaError(f"{entry.name} reaches past the end of {entry.line.name}")
    if entry.elements > tensor.items:
        raise ThetaError(f"{entry.name} repeats elements of {entry.line.name}")


def _in_order(view: View) -> bool:
    """Whether a view's elements lie one after the other."""
    expected = 1
    for length, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True
