"""What a PyTorch pickle holds, as a tree of parts: tensors, containers, and everything else.

Dicts and what is like them (an OrderedDict, a module with its attributes) are divided by key; lists, tuples
and other objects only where they hold tensors. What torch makes of several tensors or of tensors and numbers,
such as a quantized tensor, is one part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from blake3 import blake3

from git_theta.checkpoints.pickle_values import (
    Global,
    Made,
    Members,
    Pairs,
    PersistentId,
    Value,
    children,
    pairs_of_early,
    step_of,
)
from git_theta.checkpoints.pickle_writer import write_pickle
from git_theta.checkpoints.torch_tensors import Leaf, unique

Kind = Literal["tensor", "group", "container", "alias", "value"]
Place = tuple[str, int, int]
"""Which collection of an object: pairs, items, args, or the attributes (of a state with these numbers)."""

_MOST_PAIRS = (
    1000  # a dict of more, without tensors, is a table (a vocabulary) that means something as a whole
)
_DICTS = ("OrderedDict", "defaultdict")


@dataclass(eq=False)
class Node:
    """A part of what a pickle holds: one tensor, one container, or one other value.

    Attributes:
        path: the steps that lead there, joined with dots; unique, and for tensors as the layout has it.
        value: what the pickle describes there.
        place: the collection of the parent's value that it is in.
        key: of a pair; a number elsewhere.
        leaves: the tensors in it; of a container's, those that are in no part below it.
        below: the parts in a container, in order.
        original: of an alias, the path of the container that it is.
    """

    path: str
    kind: Kind
    value: Value
    parent: Node | None
    place: Place
    key: Value
    leaves: tuple[Leaf, ...] = ()
    below: list[Node] = field(default_factory=list)
    original: str = ""


def parts_of(root: Value, leaves: Iterable[Leaf]) -> Node:
    """The tree of what a pickle describes.

    Args:
        leaves: its tensors, as named_tensors finds them.
    """
    return _Division(root, list(leaves)).root


def nodes(node: Node) -> Iterator[Node]:
    """A part and all below it, in order."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(reversed(one.below))


def collection(value: Value, place: Place) -> list[Value] | None:
    """The list of an object that its parts at this place are kept in; None where there is none to edit."""
    kind, number, part = place
    if kind == "pairs" and isinstance(value, (Pairs, Made)):
        return value.pairs
    if kind == "items" and isinstance(value, (list, Members, Made)):
        return value if isinstance(value, list) else value.items
    if kind == "attributes" and isinstance(value, Made) and number < len(value.states):
        parts = _state_parts(value.states[number])
        found = parts[part] if part < len(parts) else None
        return found.pairs if isinstance(found, Pairs) else None
    return None


def emptied(value: Value) -> Value | None:
    """A container of the same kind that holds nothing; None where there is none such."""
    if isinstance(value, Pairs):
        return Pairs()
    if not isinstance(value, Made) or value.items or isinstance(value.kwargs, Pairs):
        return None
    made_from = value.args if isinstance(value.args, tuple) else (value.args,)
    if any(isinstance(one, (list, tuple, Pairs, Made)) for one in made_from):
        return None
    states: list[Value] = []
    for state in value.states:
        parts = tuple(Pairs() if isinstance(part, Pairs) else part for part in _state_parts(state))
        if any(isinstance(part, (list, tuple, Made)) for part in parts):
            return None
        states.append(parts if isinstance(state, tuple) and len(state) == 2 else parts[0])
    return Made(value.how, value.callee, value.args, None, [], [], states)


def digest(*values: Value, instead: Mapping[int, Value] | None = None) -> str:
    """One digest of several values, by which they are compared; the order within sets does not count."""
    replaced = dict(instead or {})
    for one in inside(values):
        if isinstance(one, Members):
            replaced[id(one)] = Members(sorted(one.items, key=write_pickle), one.frozen)
    return blake3(write_pickle(values, replaced)).hexdigest()


def frame(node: Node) -> str:
    """The digest of a container without what it holds: its type, its key, and how it is made."""
    value = node.value
    keyed = isinstance(value, Made) or node.place[0] in ("pairs", "attributes")
    key = node.key if keyed else None
    if isinstance(value, Pairs):
        return digest("dict", key)
    if not isinstance(value, Made):
        items = value.items if isinstance(value, Members) else value
        return digest(type(value).__name__, key, len(items))
    instead = {id(one.value): "part" for one in node.below if one.place[0] in ("args", "items", "state")}
    states = [
        tuple("attributes" if isinstance(part, Pairs) else part for part in _state_parts(state))
        for state in value.states
    ]
    return digest(
        "made", key, value.how, value.callee, value.args, value.kwargs, value.items, states, instead=instead
    )


def numbered(value: Value) -> int | None:
    """How many entries a list or the like has; None for other objects."""
    if isinstance(value, Made):
        return len(value.items) or None
    if isinstance(value, Members):
        return len(value.items)
    return len(value) if isinstance(value, (list, tuple)) else None


class _Division:
    def __init__(self, root: Value, leaves: list[Leaf]) -> None:
        self._leaves: dict[int, list[Leaf]] = {}
        for leaf in leaves:
            self._leaves.setdefault(id(leaf.value), []).append(leaf)
        self._holders = _holders(root, self._leaves)
        self._taken = {leaf.name: 1 for leaf in leaves}
        self._entered: dict[int, str] = {}
        self.root = self._node("", root, None, ("", 0, 0), None)
        stack = self._below(self.root)
        while stack:  # in the order in which named_tensors goes, for it names what is met again
            path, parent, place, key, value = stack.pop()
            node = self._node(path, value, parent, place, key)
            parent.below.append(node)
            stack += self._below(node)

    def _below(self, node: Node) -> list[tuple[str, Node, Place, Value, Value]]:
        """What is in a container, last first."""
        if node.kind != "container":
            return []
        start = f"{node.path}." if node.parent is not None else ""
        slots = _slots(node.value, self._holders)
        return [(start + step, node, place, key, value) for step, place, key, value in slots][::-1]

    def _node(self, path: str, value: Value, parent: Node | None, place: Place, key: Value) -> Node:
        found = self._leaves.get(id(value))
        if found:
            return self._tensor(path if parent is not None else "tensor", value, parent, place, key, found)
        if isinstance(value, Made) and pairs_of_early(value):
            value.pairs[:0] = [(pair[0], pair[1]) for pair in value.args[0]]
            value.args = ()
        holds = id(value) in self._holders
        if not (_divides(value) if holds else _is_dict(value)):
            inner = self._inner(value) if holds else ()
            name = unique(path, self._taken)
            return Node(name, "group" if inner else "value", value, parent, place, key, inner)
        if id(value) in self._entered:
            name = unique(path, self._taken)
            return Node(name, "alias", value, parent, place, key, original=self._entered[id(value)])
        self._entered[id(value)] = path
        return Node(path, "container", value, parent, place, key)

    def _tensor(
        self, path: str, value: Value, parent: Node | None, place: Place, key: Value, found: list[Leaf]
    ) -> Node:
        own = next((one for one in found if one.name == path or one.name.startswith(f"{path}#")), found[0])
        if len(found) > 1:
            found.remove(own)
        plain = own.call is not None and own.call.owner is value and not own.call.subclass
        inner = () if plain else self._inner(value)
        kind: Kind = "tensor" if own.dtype is not None and own.call is not None and not inner else "group"
        return Node(own.name, kind, value, parent, place, key, (own, *inner))

    def _inner(self, value: Value) -> tuple[Leaf, ...]:
        """The tensors inside an object."""
        found = (leaf for one in inside([value]) for leaf in self._leaves.get(id(one), ()))
        return tuple(leaf for leaf in found if leaf.value is not value)


def _divides(value: Value) -> bool:
    """Whether an object that holds tensors is a container for them, rather than made of them."""
    if not isinstance(value, Made) or value.how == "new":
        return isinstance(value, (Pairs, Made, list, tuple, Members))
    module = value.callee.module if isinstance(value.callee, Global) else ""
    return not module.startswith("torch.")


def _holders(root: Value, leaves: Mapping[int, object]) -> set[int]:
    """The ids of all objects that are tensors or hold one, however deep."""
    above: dict[int, list[Value]] = {}
    stack, entered = [root], set()
    while stack:
        value = stack.pop()
        if id(value) in entered:
            continue
        entered.add(id(value))
        for _, child in children(value):
            if isinstance(child, (list, tuple, Pairs, Members, Made, PersistentId)):
                above.setdefault(id(child), []).append(value)
                stack.append(child)
    found = set(leaves)
    waiting = list(found)
    while waiting:
        for value in above.get(waiting.pop(), ()):
            if id(value) not in found:
                found.add(id(value))
                waiting.append(id(value))
    return found


def inside(values: Iterable[Value]) -> Iterator[Value]:
    """Objects and what they hold, each once."""
    stack, entered = list(reversed(list(values))), set()
    while stack:
        value = stack.pop()
        if not isinstance(value, (list, tuple, Pairs, Members, Made, PersistentId)) or id(value) in entered:
            continue
        entered.add(id(value))
        yield value
        stack.extend(reversed([child for _, child in children(value)]))


def _is_dict(value: Value) -> bool:
    """Whether an object without tensors is divided by its keys."""
    if isinstance(value, Pairs):
        return len(value.pairs) <= _MOST_PAIRS
    if not isinstance(value, Made) or len(value.pairs) > _MOST_PAIRS:
        return False
    named = isinstance(value.callee, Global) and value.callee.module == "collections"
    return bool(value.pairs) or (named and value.callee.name in _DICTS)


def _slots(value: Value, holders: Collection[int]) -> Iterator[tuple[str, Place, Value, Value]]:
    """What a container holds: (step of the path, place, key, object), ordered as by pickle_values.children.

    Of what an object is made from, only what holds tensors is a part.
    """
    if isinstance(value, (list, tuple)):
        yield from _numbered("items" if isinstance(value, list) else "args", value)
    elif isinstance(value, Members):
        yield from _numbered("items", value.items)
    elif isinstance(value, Pairs):
        yield from _keyed("pairs", value.pairs)
    elif isinstance(value, Made):
        made_from = [*_numbered("args", value.args if isinstance(value.args, tuple) else ())]
        made_from += _numbered("items", value.items)
        yield from (one for one in made_from if id(one[3]) in holders)
        yield from _keyed("pairs", value.pairs)
        for number, state in enumerate(value.states):
            for part, one in enumerate(_state_parts(state)):
                if isinstance(one, Pairs):
                    yield from _keyed("attributes", one.pairs, number, part)
                elif id(one) in holders and isinstance(one, (list, tuple, Made)):
                    yield "state", ("state", number, part), None, one


def _numbered(kind: str, items: Iterable[Value]) -> Iterator[tuple[str, Place, Value, Value]]:
    return ((str(index), (kind, 0, 0), index, item) for index, item in enumerate(items))


def _keyed(
    kind: str, pairs: list[tuple[Value, Value]], number: int = 0, part: int = 0
) -> Iterator[tuple[str, Place, Value, Value]]:
    return (
        (step_of(index, key), (kind, number, part), key, value) for index, (key, value) in enumerate(pairs)
    )


def _state_parts(state: Value) -> tuple[Value, ...]:
    """(attributes, slots) or the attributes alone, as Python's pickle has it."""
    return state if isinstance(state, tuple) and len(state) == 2 else (state,)
