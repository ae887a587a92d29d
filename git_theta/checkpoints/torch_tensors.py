"""The tensors that a PyTorch pickle describes: their names, and where in which storage they lie.

torch pickles a tensor as a call of one of a handful of functions on a storage, and a storage as a persistent
id ("storage", type, key, device, elements) whose bytes are the ZIP entry `data/<key>`. Those calls are
interpreted here; every other object is only looked into.

Source: torch/_utils.py, torch/_tensor.py and torch/serialization.py of PyTorch 1.6 to 2.13.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeGuard

from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.pickle_values import (
    Global,
    Made,
    Members,
    Pairs,
    PersistentId,
    Value,
    children,
    text,
)
from git_theta.dtypes import BYTES, DType, from_torch

MAX_TENSORS = 200_000
"""The most tensors that are read; a few bytes of a pickle are enough to name one once more."""

MAX_NAME = 1000
"""Tensors at the end of a longer path than this many characters get no name of their own."""

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "UntypedStorage": "uint8",
}
_UTILS = "torch._utils"
_PLAIN = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_WRAPPERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
_SUBCLASS = ("_rebuild_from_type", "_rebuild_from_type_v2")
_MOST_WRAPPERS = 2  # a parameter, around a subclass of torch.Tensor


@dataclass(frozen=True, slots=True)
class Storage:
    """What a pickle says of a storage. `dtype` is None where git-theta knows no such type."""

    key: str
    dtype: DType | None
    numel: int
    location: str

    @property
    def nbytes(self) -> int | None:
        return None if self.dtype is None else self.dtype.nbytes((self.numel,))


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of torch's plain tensor functions, somewhere in a pickle.

    Attributes:
        owner: the object in the pickle that holds it.
        subclass: whether the owner makes a subclass of torch.Tensor from it, so that the function and its
            arguments are themselves among the owner's arguments.
    """

    owner: Made
    subclass: bool

    @property
    def function(self) -> str:
        name: str = (self.owner.args[0] if self.subclass else self.owner.callee).name
        return name

    @property
    def args(self) -> tuple[Value, ...]:
        args: tuple[Value, ...] = self.owner.args[2] if self.subclass else self.owner.args
        return args

    def replace(self, function: str, args: tuple[Value, ...]) -> None:
        """Change what the pickle describes to a call of another function, or with other arguments."""
        called = Global(_UTILS, function)
        if self.subclass:
            self.owner.args = (called, self.owner.args[1], args, *self.owner.args[3:])
        else:
            self.owner.callee, self.owner.args = called, args


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor found in a pickle.

    Attributes:
        name: its path in the pickled containers; unique.
        value: the object at that path.
        call: what makes the plain tensor inside; None for storages pickled on their own and for tensors
            of other kinds, of which only the storage is known.
        offset, strides: in elements of `dtype`.
        dtype: None where the bytes are all that is known; the shape is then empty.
    """

    name: str
    value: Value
    storage: Storage
    call: Call | None
    dtype: DType | None
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    offset: int = 0


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor of this shape without gaps, last dimension fastest, in elements."""
    strides: list[int] = []
    step = 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(1, length)
    return tuple(reversed(strides))


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements lie in order and without gaps; the stride of a dimension of one does not matter."""
    if 0 in shape:
        return True
    steps = zip(shape, strides, contiguous(shape), strict=True)
    return all(length == 1 or stride == step for length, stride, step in steps)


def named_tensors(root: Value) -> list[Leaf]:
    """The tensors in what a pickle describes, in its order.

    A name is the path of keys, indices and attributes that leads to the tensor, joined with dots. A
    second tensor of the same name gets `#2` added, and so on. Containers are entered once, however many
    others they are in, and paths longer than MAX_NAME characters are not followed; so the work is
    bounded by the size of the pickle.

    Raises:
        UnreadPickle: there are more than MAX_TENSORS.
    """
    leaves: list[Leaf] = []
    names: dict[str, int] = {}
    entered: set[int] = set()
    inside: set[int] = set()  # what leaves stand for, so that it is not found again below them
    stack: list[tuple[str | None, Value]] = [(None, root)]
    while stack:
        path, value = stack.pop()
        leaf = None if id(value) in inside else _leaf("tensor" if path is None else path, value)
        if leaf is not None:
            if len(leaves) == MAX_TENSORS:
                raise UnreadPickle("the pickle describes more tensors than are read")
            name = unique(leaf.name, names)
            leaves.append(leaf if name == leaf.name else replace(leaf, name=name))
            inside.update(_inner(leaf, value))
            if leaf.call is not None and leaf.call.owner is value and not leaf.call.subclass:
                continue
        if isinstance(value, (list, tuple, Pairs, Members, Made)) and id(value) not in entered:
            entered.add(id(value))
            below = [(_joined(path, step), child) for step, child in children(value)]
            stack.extend((name, child) for name, child in reversed(below) if len(name) <= MAX_NAME)
    return leaves


def unique(name: str, taken: dict[str, int]) -> str:
    """The name, or the name with the first free number added.

    Args:
        taken: the names that are taken, with the highest number given out for each; is updated.
    """
    free, number = name, taken.get(name, 1)
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    taken[name] = number
    taken.setdefault(free, 1)
    return free


def storage_of(value: Value) -> Storage | None:
    """The storage that a persistent id refers to, or None where it is something else."""
    if not isinstance(value, PersistentId) or not isinstance(value.value, tuple) or len(value.value) != 5:
        return None
    kind, storage_type, key, location, numel = value.value
    key, location = text(key), text(location)
    if text(kind) != "storage" or key is None or not _is_count(numel):
        return None
    name = storage_type.name if isinstance(storage_type, Global) else ""
    torch_name = _STORAGES.get(name.rpartition(".")[2])
    return Storage(key, from_torch(torch_name) if torch_name else None, numel, location or "")


def _call(value: Value) -> Call | None:
    for _ in range(_MOST_WRAPPERS):
        if not isinstance(value, Made) or value.how != "reduce" or not isinstance(value.args, tuple):
            return None
        function, args = value.callee, value.args
        if not isinstance(function, Global):
            return None
        if _is_plain(function):
            return Call(value, subclass=False)
        if function.module.startswith("torch") and function.name in _SUBCLASS and len(args) >= 3:
            return Call(value, subclass=True) if _is_plain(args[0]) and isinstance(args[2], tuple) else None
        if function.module != _UTILS or function.name not in _WRAPPERS or not args:
            return None
        value = args[0]
    return None


def _is_plain(function: Value) -> bool:
    return isinstance(function, Global) and function.module == _UTILS and function.name in _PLAIN


def _leaf(name: str, value: Value) -> Leaf | None:
    if isinstance(value, PersistentId):
        storage = storage_of(value)
        if storage is None or storage.dtype is None:
            return None if storage is None else Leaf(name, value, storage, None, None)
        return Leaf(name, value, storage, None, storage.dtype, (storage.numel,), (1,))
    call = _call(value)
    if call is not None:
        return _plain_leaf(name, value, call)
    if isinstance(value, Made) and isinstance(value.args, tuple) and value.args:
        # A quantized tensor, say: a function of torch's that is not interpreted here, on a storage.
        function, storage = value.callee, storage_of(value.args[0])
        if isinstance(function, Global) and function.module == _UTILS and storage is not None:
            return Leaf(name, value, storage, None, None)
    return None


def _inner(leaf: Leaf, value: Value) -> set[int]:
    if leaf.call is not None:
        return {id(leaf.call.args[0])} | ({id(leaf.call.owner)} - {id(value)})
    return {id(value.args[0])} if isinstance(value, Made) else set()


def _plain_leaf(name: str, value: Value, call: Call) -> Leaf | None:
    args = call.args
    if len(args) < 4:
        return None
    storage, offset, shape, strides = storage_of(args[0]), args[1], _sizes(args[2]), _sizes(args[3])
    if storage is None or not _is_count(offset) or shape is None or strides is None:
        return None
    if len(shape) != len(strides):
        return None
    dtype, metadata = storage.dtype, args[6:7]
    if call.function == "_rebuild_tensor_v3":
        named, metadata = args[6:7], args[7:8]
        dtype = _dtype(named[0]) if named else None
    # Metadata say that the values are to be read conjugated or negated.
    read_otherwise = any(isinstance(one, Pairs) and one.pairs for one in metadata)
    if dtype is None or read_otherwise:
        return Leaf(name, value, storage, call, None)
    return Leaf(name, value, storage, call, dtype, shape, strides, offset)


def storage_class(dtype: DType) -> str | None:
    """torch's class of storages of this dtype, or None where it writes untyped ones."""
    return next((name for name, known in _STORAGES.items() if known == dtype.torch), None)


def _dtype(value: Value) -> DType | None:
    if not isinstance(value, Global) or value.module != "torch":
        return None
    # A float4 of torch is a byte with two values in it, so its shapes count bytes.
    found = from_torch(value.name)
    return found if found is None or found.bits >= 8 else BYTES


def _sizes(value: Value) -> tuple[int, ...] | None:
    if isinstance(value, Made) and value.callee == Global("torch", "Size"):
        value = value.args[0] if isinstance(value.args, tuple) and value.args else None
    if isinstance(value, (tuple, list)) and all(map(_is_count, value)):
        return tuple(value)
    return None


def _is_count(value: Value) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _joined(path: str | None, step: str) -> str:
    return step if path is None else f"{path}.{step}"
