"""What a torch.save archive holds besides the values of its tensors, in parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from blake3 import blake3

from git_theta.checkpoints.pickle_data import UnreadPickle
from git_theta.checkpoints.pickle_parts import Node, digest, frame, inside, nodes, numbered, parts_of
from git_theta.checkpoints.pickle_values import Made, PersistentId, Value
from git_theta.checkpoints.remainder import TYPE, Remainder
from git_theta.checkpoints.torch_skeleton import read_skeleton
from git_theta.checkpoints.torch_tensors import named_tensors, storage_of
from git_theta.errors import ThetaError

FLAGS = ":flags"
"""How the name of a part ends that says of a tensor what is unusual about it."""

_PICKLE = "data.pkl"
_RECORDS = ("byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id")
_LONGEST = 40  # characters of a value that is shown


def torch_remainder(skeleton: bytes) -> Remainder:
    """The parts of an archive with this skeleton; see Divisible.remainder."""
    archive = read_skeleton(skeleton)
    further = {
        name: f"{entry.size} {entry.crc:08x}"
        for name, entry in archive.further.items()
        if name not in _RECORDS
    }
    try:
        root = archive.root()
        found = remainder_of(parts_of(root, named_tensors(root)))
    except (UnreadPickle, ThetaError):  # one part that can be taken, but not written anew
        return Remainder({_PICKLE: blake3(archive.pickle).hexdigest(), **further})
    return replace(found, parts={**found.parts, **further})


def remainder_of(root: Node) -> Remainder:
    """The parts of a pickle. Raises ThetaError where two of them have one name."""
    parts, containers, flags, bound, together, shown = (dict[str, str]() for _ in range(6))
    lists: dict[str, int] = {}
    for node in nodes(root):
        if node.kind == "tensor":
            if unusual := _flags(node):
                _put(parts, node.path + FLAGS, unusual)
                flags[node.path + FLAGS] = node.path
        elif node.kind == "group":
            described = _described(node)
            for leaf in node.leaves:
                _put(bound, leaf.name, described)
                if len(node.leaves) > 1:
                    together[leaf.name] = node.leaves[0].name
        elif node.kind == "container":
            _put(parts, node.path + TYPE, frame(node))
            containers[node.path + TYPE] = f"{node.path}." if node.parent is not None else ""
            if (count := numbered(node.value)) is not None:
                lists[node.path + TYPE] = count
        elif node.kind == "alias":
            _put(parts, node.path, digest("the same as", node.key, node.original))
        else:
            _put(parts, node.path, digest(_key(node), node.value))
            if (short := _shown(node.value)) is not None:
                shown[node.path] = short
    return Remainder(parts, containers, flags, bound, together, lists, shown)


def _put(found: dict[str, str], name: str, value: str) -> None:
    if name in found:
        raise ThetaError(f"{name!r} stands twice in the checkpoint")
    found[name] = value


def _key(node: Node) -> Value:
    return node.key if node.place[0] in ("pairs", "attributes") else None


def _flags(node: Node) -> str:
    """What is unusual about a tensor, as a digest; "" for nothing."""
    [leaf] = node.leaves
    call = leaf.call
    assert call is not None
    key = _key(node)
    args, metadata = call.args[4:6], call.args[6:]
    if call.function == "_rebuild_tensor_v3":
        metadata = metadata[1:]  # the dtype
    plain = call.owner is node.value and not call.subclass and args[:1] in ((), (False,))
    if plain and not metadata and (key is None or isinstance(key, str)) and all(map(_is_empty, args[1:])):
        return ""
    described = ("tensor", call.owner.args[1] if call.subclass else None, args, metadata)
    return digest(key, node.value, instead={id(call.owner): described})


def _is_empty(hooks: Value) -> bool:
    return isinstance(hooks, Made) and not (hooks.pairs or hooks.items or hooks.states or hooks.args)


def _described(node: Node) -> str:
    """The digest of an object made of tensors, apart from their bytes and from where these lie."""
    stand_ins = {id(one): _form(one) for one in storages(node.value)}
    return digest(_key(node), node.value, instead=stand_ins)


def _form(storage: PersistentId) -> Value:
    _, kind, _, _, numel = storage.value
    return "storage", kind, numel


def storages(value: Value) -> Iterable[PersistentId]:
    """The storages that an object refers to."""
    return [one for one in inside([value]) if isinstance(one, PersistentId) and storage_of(one) is not None]


def _shown(value: Value) -> str | None:
    """A value as a user would write it, where that is short."""
    if value is not None and not isinstance(value, (bool, int, float, str)):
        return None
    written = repr(value)
    return written if len(written) <= _LONGEST else None
