"""Writing a torch.save checkpoint that has parts of several others.

The pickle of one of them is changed where the result is like another: what that has is put in its own place,
into the container in which it stands there, and its storages get keys of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, BinaryIO

from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.pickle_parts import Node, collection, emptied, nodes, parts_of
from git_theta.checkpoints.pickle_values import Value
from git_theta.checkpoints.remainder import TYPE
from git_theta.checkpoints.torch_remainder import FLAGS, storages
from git_theta.checkpoints.torch_skeleton import read_skeleton
from git_theta.checkpoints.torch_storages import Stored, stored_tensors
from git_theta.checkpoints.torch_tensors import named_tensors, storage_of
from git_theta.checkpoints.torch_writer import Checkpoint, write_like
from git_theta.errors import DamagedCheckpoint, ThetaError

if TYPE_CHECKING:
    from git_theta.tensors import Tensor


def write_merged(
    target: BinaryIO,
    tensors: Sequence[tuple[str, Tensor]],
    skeletons: Mapping[int, bytes],
    like: int,
    chosen: Mapping[str, int],
) -> None:
    """See Divisible.write_merged."""
    try:
        needed = {like, *chosen.values()} & skeletons.keys()
        files = {number: _read(skeletons[number]) for number in needed}
        edit = _Edit(files, like, chosen, {name for name, _ in tensors})
        edit.run()
        root = files[like].tree.value
        stored = stored_tensors(named_tensors(root), edit.sizes)
        write_like(target, tensors, Checkpoint(root, files[like].folder, stored))
    except (DamagedCheckpoint, UnreadPickle) as error:
        raise ThetaError(f"what both sides have cannot be written as one checkpoint: {error}") from None


@dataclass(frozen=True)
class _File:
    """One of the checkpoints that a merge takes parts from.

    Attributes:
        tree: its parts.
        parts: the same by name.
        stored: its storages by key.
    """

    folder: str
    tree: Node
    parts: Mapping[str, Node]
    stored: Mapping[str, Stored]
    sizes: Mapping[str, int]


def _read(skeleton: bytes) -> _File:
    read = read_skeleton(skeleton)
    root = read.root()
    leaves = named_tensors(root)
    tree = parts_of(root, leaves)
    stored = {one.key: one for one in stored_tensors(leaves, read.sizes())}
    return _File(read.folder, tree, {_name(node): node for node in nodes(tree)}, stored, read.sizes())


def _name(node: Node) -> str:
    return node.path + TYPE if node.kind == "container" else node.path


class _Edit:
    """Changes what the pickle of one file describes.

    Args:
        tensors: names of the result's storages.

    Attributes:
        sizes: bytes of the storages that it then refers to, by key.
    """

    def __init__(
        self, files: Mapping[int, _File], like: int, chosen: Mapping[str, int], tensors: set[str]
    ) -> None:
        self._files = files
        self._like = like
        self._chosen = chosen
        self._tensors = tensors
        self._parts = dict(files[like].parts)
        self._keys = {one.name: one.key for one in files[like].stored.values()}
        self.sizes = dict(files[like].sizes)
        self._free = (str(number) for number in count() if str(number) not in self.sizes)
        self._moved: set[int] = set()

    def run(self) -> None:
        """Raises ThetaError where a part has no place in the result."""
        for name, node in list(self._parts.items()):
            if node.parent is not None and name in self._parts and self._source(node) is None:
                self._remove(node)
        for node in list(self._parts.values()):
            source = self._source(node)
            if source is not None and source is not node and node.kind != "container":
                self._replace(node, source)
        for number, file in self._files.items():
            if number != self._like:
                for node in nodes(file.tree):
                    if self._number(node) == number and _name(node) not in self._parts:
                        self._insert(node, number)

    def _number(self, node: Node) -> int:
        """The number of the file that the result takes a part from."""
        names = [_name(node)] if node.kind != "group" else [leaf.name for leaf in node.leaves]
        number = next((self._chosen[name] for name in names if name in self._chosen), self._like)
        flags = self._chosen.get(node.path + FLAGS) if node.kind == "tensor" else None
        if flags is not None and self._has(number, node) and self._has(flags, node):
            return flags
        return number

    def _has(self, number: int, node: Node) -> bool:
        return number in self._files and _name(node) in self._files[number].parts

    def _source(self, node: Node) -> Node | None:
        """What the result has in place of a part; None for nothing."""
        file = self._files.get(self._number(node))
        return file.parts.get(_name(node)) if file is not None else None

    def _remove(self, node: Node) -> None:
        assert node.parent is not None
        if node.kind == "container" and any(
            self._source(one) is not None for one in nodes(node) if one is not node
        ):
            raise ThetaError(f"{node.path!r} is removed, and something in it is not")
        held = _held(node)
        if node.place[0] == "items":
            self._check_last(node)
        del held[_position(held, node)]
        node.parent.below.remove(node)
        for one in nodes(node):
            self._parts.pop(_name(one), None)

    def _check_last(self, node: Node) -> None:
        """Refuse to remove an entry of a list that others follow: they would get other numbers."""
        assert node.parent is not None
        behind = node.parent.below[node.parent.below.index(node) + 1 :]
        if any(self._source(one) is not None for one in behind if one.place == node.place):
            raise ThetaError(f"{node.path!r} cannot be removed: it is one of a list")

    def _replace(self, node: Node, source: Node) -> None:
        value = self._brought(source, self._number(node))
        if node.parent is not None:
            held = _held(node)
            held[_position(held, node)] = (source.key, value) if _is_keyed(node) else value
        node.key, node.value = source.key, value

    def _insert(self, node: Node, number: int) -> None:
        assert node.parent is not None
        parent = self._parts.get(_name(node.parent))
        held = collection(parent.value, node.place) if parent is not None else None
        if parent is None or held is None or not _has_room(held, parent, node):
            raise ThetaError(f"there is no place for {node.path!r} in this checkpoint")
        whole = all(self._number(one) == number and _name(one) not in self._parts for one in nodes(node))
        value = self._brought(node, number) if whole else emptied(node.value)
        if value is None:
            raise ThetaError(f"there is no place for {node.path!r} in this checkpoint")
        before = node.parent.below[: node.parent.below.index(node)]
        siblings = {_name(one): one for one in parent.below if one.place == node.place}
        last = next((siblings[_name(one)] for one in reversed(before) if _name(one) in siblings), None)
        at = _position(held, last) + 1 if last is not None else 0
        held.insert(at, (node.key, value) if _is_keyed(node) else value)
        new = Node(node.path, node.kind, value, parent, node.place, node.key, node.leaves)
        if whole:
            new.below = node.below
        parent.below.insert(parent.below.index(last) + 1 if last is not None else 0, new)
        for one in nodes(new):
            self._parts[_name(one)] = one

    def _brought(self, node: Node, number: int) -> Value:
        """A part of another file, with the result's storages in place of its own."""
        if node.kind == "alias":
            original = self._parts.get(node.original + TYPE)
            if original is None:
                raise ThetaError(f"there is no place for {node.path!r} in this checkpoint")
            return original.value
        stored = self._files[number].stored
        for one in storages(node.value):
            if id(one) in self._moved:
                continue
            self._moved.add(id(one))
            found = storage_of(one)
            if found is None or found.location == "meta":
                continue
            name = stored[found.key].name if found.key in stored else ""
            if not name or name not in self._tensors:
                raise ThetaError(f"{node.path!r} lies in a storage that the result does not have")
            if name not in self._keys:
                self._keys[name] = next(self._free)
            key = self._keys[name]
            self.sizes[key] = stored[found.key].nbytes
            kind, storage_type, _, location, numel = one.value
            one.value = (kind, storage_type, key, location, numel)
        return node.value


def _held(node: Node) -> list[Value]:
    """The collection that a part is in."""
    assert node.parent is not None
    held = collection(node.parent.value, node.place)
    if held is None:
        raise ThetaError(f"{node.path!r} cannot change: it is a part of another object")
    return held


def _is_keyed(node: Node) -> bool:
    return node.place[0] in ("pairs", "attributes")


def _has_room(held: list[Value], parent: Node, node: Node) -> bool:
    """Whether a part can be put into a collection: under a free key, or behind all that a list has."""
    if not _is_keyed(node):
        return bool(node.key == len(held))
    return not any(one.key == node.key and type(one.key) is type(node.key) for one in parent.below)


def _position(held: list[Value], node: Node) -> int:
    """Where a part is in a collection."""
    if node.place[0] == "items":  # those before it may be gone, then all behind it are to go
        return min(int(node.key), len(held) - 1)
    return next(at for at, (key, value) in enumerate(held) if key is node.key and value is node.value)
