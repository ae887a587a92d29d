"""From the tensors of a PyTorch pickle to the spans and views of a layout: one span for each storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from git_theta.checkpoints.checks import reach
from git_theta.checkpoints.layout import STORAGE, View
from git_theta.checkpoints.torch_tensors import Leaf, is_contiguous, unique
from git_theta.dtypes import BYTES, DType
from git_theta.errors import DamagedCheckpoint


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage, as one tensor of the layout.

    Attributes:
        leaves: the tensors that lie in it, sorted by name.
    """

    key: str
    name: str
    dtype: DType
    shape: tuple[int, ...]
    leaves: tuple[Leaf, ...]

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.shape)

    def views(self) -> list[View]:
        """The tensors in it that the storage is not named for."""
        return [self._view(leaf) for leaf in self.leaves if leaf.name != self.name]

    def _view(self, leaf: Leaf) -> View:
        if leaf.dtype is None:
            return View(leaf.name, self.name, BYTES, (self.nbytes,), 0, (1,))
        return View(leaf.name, self.name, leaf.dtype, leaf.shape, leaf.offset, leaf.strides)


def stored_tensors(leaves: Iterable[Leaf], sizes: Mapping[str, int]) -> list[Stored]:
    """What each storage holds.

    A storage that a contiguous tensor covers exactly takes that tensor's name, dtype and shape (the first
    by name). A storage of another kind of tensor takes its name, as bytes. Any other is called
    `storage:` and the name of the first tensor in it, or of its ZIP entry where there is none.

    Args:
        sizes: bytes of each storage, by key, in file order.

    Raises:
        DamagedCheckpoint: a tensor lies in a storage that is not there, is not of the size that the
            pickle says, or ends before the tensor does.
    """
    leaves = list(leaves)
    by_key: dict[str, list[Leaf]] = {key: [] for key in sizes}
    for leaf in sorted(leaves, key=lambda leaf: leaf.name):
        if leaf.storage.key in by_key:
            _check_fits(leaf, sizes[leaf.storage.key])
            by_key[leaf.storage.key].append(leaf)
        elif leaf.storage.location != "meta":  # tensors on torch's meta device have no data
            raise DamagedCheckpoint(
                f"tensor {leaf.name!r} lies in data/{leaf.storage.key}, which is not in the file"
            )
    taken = {leaf.name: 1 for leaf in leaves}
    return [_stored(key, tuple(by_key[key]), size, taken) for key, size in sizes.items()]


def raw_storages(sizes: Mapping[str, int]) -> list[Stored]:
    """Every storage as a tensor of plain bytes, for a pickle whose tensors cannot be read."""
    return [Stored(key, f"{STORAGE}data/{key}", BYTES, (size,), ()) for key, size in sizes.items()]


def covers(leaf: Leaf, size: int) -> bool:
    """Whether a tensor is all that lies in a storage of `size` bytes, in order and without gaps."""
    if leaf.dtype is None or leaf.offset or not is_contiguous(leaf.shape, leaf.strides):
        return False
    return leaf.dtype.nbytes(leaf.shape) == size


def _stored(key: str, leaves: tuple[Leaf, ...], size: int, taken: dict[str, int]) -> Stored:
    for leaf in leaves:
        if leaf.dtype is not None and covers(leaf, size):
            return Stored(key, leaf.name, leaf.dtype, leaf.shape, leaves)
    for leaf in leaves:
        if leaf.dtype is None:
            return Stored(key, leaf.name, BYTES, (size,), leaves)
    dtype = (leaves[0].dtype if leaves else None) or BYTES
    if size * 8 % dtype.bits:
        dtype = BYTES
    name = unique(f"{STORAGE}{leaves[0].name if leaves else f'data/{key}'}", taken)
    return Stored(key, name, dtype, (size * 8 // dtype.bits,), leaves)


def _check_fits(leaf: Leaf, size: int) -> None:
    stated = leaf.storage.nbytes
    if stated is not None and stated != size:
        raise DamagedCheckpoint(
            f"tensor {leaf.name!r} lies in data/{leaf.storage.key}, which should have {stated} bytes "
            f"and has {size}"
        )
    if leaf.dtype is None:
        return
    last = leaf.offset + reach(leaf.shape, leaf.strides)
    if last * leaf.dtype.bits > size * 8:
        raise DamagedCheckpoint(
            f"tensor {leaf.name!r} reaches past the end of its storage data/{leaf.storage.key}"
        )
