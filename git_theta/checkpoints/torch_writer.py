"""Writing torch.save checkpoints without torch, for a set of tensors that has changed.

The pickle of an existing checkpoint is read as data, edited, and written again: tensors are exchanged,
removed and added where they are named, and everything else (epoch, learning rates, arguments, the metadata of
state dicts) stays as it was.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from git_theta.checkpoints.checks import elements
from git_theta.checkpoints.layout import STORAGE
from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.pickle_values import Global, Made, Pairs, PersistentId, Value, children
from git_theta.checkpoints.pickle_writer import write_pickle
from git_theta.checkpoints.tensor_bytes import pieces
from git_theta.checkpoints.torch_skeleton import read_skeleton
from git_theta.checkpoints.torch_storages import Stored, covers, stored_tensors
from git_theta.checkpoints.torch_tensors import Leaf, contiguous, named_tensors, storage_class
from git_theta.dtypes import DType
from git_theta.errors import DamagedCheckpoint, ThetaError

if TYPE_CHECKING:
    from git_theta.tensors import Tensor

_ALIGNMENT = 64  # as torch writes, so that a checkpoint can be mapped into memory
_PADDING = 0x4246  # the extra field that torch pads with, "FB"
_WIDE = 1 << 30  # entries from this size on get 64-bit sizes
_WIDE_EXTRA = 20  # what zipfile adds to the local header of such an entry


def write_checkpoint(target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], like: bytes | None) -> None:
    """Write a checkpoint that torch.load(weights_only=True) reads.

    Args:
        tensors: every span of the new file, in file order: by the names that the layout of `like` has
            for them, and new names.
        like: the skeleton of a checkpoint; None for a plain state dict.

    Raises:
        ThetaError: a tensor cannot be put where its name says, or is of a dtype that torch lacks.
    """
    names = [name for name, _ in tensors]
    if len(set(names)) < len(names):
        raise ThetaError("a checkpoint cannot hold two tensors of one name")
    write_like(target, tensors, _plain() if like is None else parsed(like))


def write_like(target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], checkpoint: Checkpoint) -> None:
    """Write a checkpoint as write_checkpoint does, from what a pickle describes, which is changed."""
    keys = _edited(checkpoint, dict(tensors))
    with zipfile.ZipFile(target, "w") as archive:
        pickle = write_pickle(checkpoint.root)
        _add(archive, checkpoint.folder + "data.pkl", len(pickle), lambda write: write(pickle))
        _add(archive, checkpoint.folder + "byteorder", 6, lambda write: write(b"little"))
        for name, tensor in tensors:
            size = tensor.dtype.nbytes(tensor.shape)
            _add(archive, f"{checkpoint.folder}data/{keys[name]}", size, _copier(tensor))
        _add(archive, checkpoint.folder + "version", 2, lambda write: write(b"3\n"))


@dataclass(frozen=True)
class Checkpoint:
    """What a pickle describes, the archive's folder with a slash, and the storages."""

    root: Value
    folder: str
    stored: list[Stored]


def _plain() -> Checkpoint:
    return Checkpoint(Made("reduce", Global("collections", "OrderedDict"), ()), "archive/", [])


def parsed(skeleton: bytes) -> Checkpoint:
    """Read the pickle and the storages of a skeleton, as a pattern to write by. Raises ThetaError."""
    try:
        read = read_skeleton(skeleton)
        root = read.root()
        return Checkpoint(root, read.folder, stored_tensors(named_tensors(root), read.sizes()))
    except (DamagedCheckpoint, UnreadPickle) as error:
        raise ThetaError(f"no checkpoint can be written in the manner of this one: {error}") from None


def _edited(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Change the root to hold exactly these tensors. The storage's key for each of them."""
    keys: dict[str, str] = {}
    left = dict(tensors)
    removed: list[Leaf] = []
    used = {stored.key for stored in checkpoint.stored}
    free = (str(number) for number in range(len(used) + len(tensors)) if str(number) not in used)
    for stored in checkpoint.stored:
        tensor = left.pop(stored.name, None)
        changed = tensor is not None and (tensor.dtype, tensor.shape) != (stored.dtype, stored.shape)
        if changed and not stored.leaves:
            raise _unchangeable(stored.name, stored)
        for leaf in stored.leaves:
            own = left.pop(leaf.name, None)
            if own is not None:  # a tied tensor that is not tied any more
                keys[leaf.name] = next(free)
                _exchange(leaf, stored, keys[leaf.name], own)
            elif tensor is None:
                removed.append(leaf)
            elif changed:
                _exchange(leaf, stored, stored.key, tensor)
        if tensor is not None:
            keys[stored.name] = stored.key
    _remove(checkpoint.root, removed)
    for name, tensor in left.items():
        keys[name] = next(free)
        _insert(checkpoint.root, name, keys[name], tensor)
    return keys


def _exchange(leaf: Leaf, stored: Stored, key: str, tensor: Tensor) -> None:
    # A slice of a storage, or a tensor with strides, means nothing once the storage has another shape.
    whole = (leaf.dtype, leaf.shape) == (stored.dtype, stored.shape) and covers(leaf, stored.nbytes)
    if leaf.call is None or not whole:
        raise _unchangeable(leaf.name, stored)
    requires_grad, hooks = leaf.call.args[4:6] if len(leaf.call.args) > 5 else (False, _no_hooks())
    leaf.call.replace(*_call(leaf.name, key, leaf.storage.location, tensor, requires_grad, hooks))


def _unchangeable(name: str, stored: Stored) -> ThetaError:
    return ThetaError(
        f"tensor {name!r} is only a part of the storage {stored.name!r}, or of a kind of its own: "
        "its shape and dtype cannot change"
    )


def _insert(root: Value, name: str, key: str, tensor: Tensor) -> None:
    place, rest = _container(root, name)
    if (
        name.startswith(STORAGE)
        or place is None
        or any(isinstance(taken, int) or taken == rest for taken, _ in place.pairs)
    ):
        raise ThetaError(f"there is no place for a tensor {name!r} in this checkpoint")
    function, args = _call(name, key, "cpu", tensor, False, _no_hooks())
    place.pairs.append((rest, Made("reduce", Global("torch._utils", function), args)))


def _container(root: Value, name: str) -> tuple[Pairs | Made | None, str]:
    """The innermost dict on the way to a name, and what of the name is left there."""
    place: Pairs | Made | None = None
    value, rest, left = root, name, name
    while True:
        if isinstance(value, Pairs) or (isinstance(value, Made) and _is_dict(value)):
            place, left = value, rest
        below = {step: child for step, child in children(value) if rest.startswith(f"{step}.")}
        if not below:
            return place, left
        step = max(below, key=len)
        value, rest = below[step], rest[len(step) + 1 :]


def _is_dict(made: Made) -> bool:
    return isinstance(made.callee, Global) and made.callee.module == "collections"


def _remove(root: Value, leaves: list[Leaf]) -> None:
    gone = {id(leaf.value): leaf.name for leaf in leaves}
    entered: set[int] = set()
    stack = [root] if gone else []
    while stack:
        value = stack.pop()
        if id(value) in entered:
            continue
        entered.add(id(value))
        if isinstance(value, (Pairs, Made)):
            value.pairs[:] = [pair for pair in value.pairs if id(pair[1]) not in gone]
        for _, child in children(value):
            if id(child) in gone:
                raise ThetaError(
                    f"tensor {gone[id(child)]!r} cannot be removed: it is part of another object"
                )
            stack.append(child)


def _call(
    name: str, key: str, location: str, tensor: Tensor, requires_grad: Value, hooks: Value
) -> tuple[str, tuple[Value, ...]]:
    """The function of torch._utils that makes this tensor, and its arguments."""
    dtype, shape = tensor.dtype, tensor.shape
    if not dtype.torch or dtype.bits < 8:
        raise ThetaError(f"PyTorch cannot hold tensor {name!r}: it is of dtype {dtype.name}")
    kind, numel = _storage(dtype, shape)
    storage = PersistentId(("storage", kind, key, location, numel))
    args = (storage, 0, shape, contiguous(shape), requires_grad, hooks)
    if kind.name == "UntypedStorage":
        return "_rebuild_tensor_v3", (*args, Global("torch", dtype.torch))
    return "_rebuild_tensor_v2", args


def _storage(dtype: DType, shape: tuple[int, ...]) -> tuple[Global, int]:
    named = storage_class(dtype)
    if named is None:  # a younger dtype, which torch writes as bytes together with the dtype
        return Global("torch.storage", "UntypedStorage"), dtype.nbytes(shape)
    return Global("torch", named), elements(shape)


def _no_hooks() -> Made:
    return Made("reduce", Global("collections", "OrderedDict"), ())


_Write = Callable[[bytes | memoryview], object]


def _copier(tensor: Tensor) -> Callable[[_Write], object]:
    def copy(write: _Write) -> None:
        for piece in pieces(tensor):
            write(piece)

    return copy


def _add(archive: zipfile.ZipFile, name: str, size: int, fill: Callable[[_Write], object]) -> None:
    entry = zipfile.ZipInfo(name)  # its time is ZIP's earliest, whenever this runs
    entry.create_system = 3
    wide = size >= _WIDE
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(name.encode()) + (_WIDE_EXTRA if wide else 0) + 4
    padding = -start % _ALIGNMENT
    entry.extra = _PADDING.to_bytes(2, "little") + padding.to_bytes(2, "little") + b"Z" * padding
    with archive.open(entry, "w", force_zip64=wide) as file:
        fill(file.write)
    entry.extra = b""  # the directory needs no padding
