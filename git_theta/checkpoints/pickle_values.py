"""What a pickle describes, as values that can be looked at without running anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Value = Any
"""None, bool, int, float, str, bytes, bytearray, list, tuple or one of the classes below."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that Python would import."""

    module: str
    name: str


@dataclass(eq=False, slots=True)
class Pairs:
    """A dict, as its pairs in order. Keys can be anything, as nothing is hashed."""

    pairs: list[tuple[Value, Value]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Members:
    """A set or frozenset, as its members in order."""

    items: list[Value] = field(default_factory=list)
    frozen: bool = False


@dataclass(eq=False, slots=True)
class Text2:
    """A str that Python 2 has pickled: bytes, which Python 3 reads as text."""

    raw: bytes


@dataclass(eq=False, slots=True)
class PersistentId:
    """Something outside the pickle that it refers to by this value."""

    value: Value


@dataclass(eq=False, slots=True)
class Made:
    """An object that Python would make by calling something.

    Attributes:
        how: `reduce` calls callee(*args), `new` calls callee.__new__(callee, *args, **kwargs).
        kwargs: of `new`, a Pairs; None where there are none.
        items: what is then appended to it (or added, as to a set).
        pairs: what is then set in it by key.
        states: what it is then given as state, one for each time.
    """

    how: Literal["reduce", "new"]
    callee: Value
    args: Value
    kwargs: Value = None
    items: list[Value] = field(default_factory=list)
    pairs: list[tuple[Value, Value]] = field(default_factory=list)
    states: list[Value] = field(default_factory=list)


_ORDERED = Global("collections", "OrderedDict")


def children(value: Value) -> Iterator[tuple[str, Value]]:
    """What an object holds, and the step of the path that leads there."""
    if isinstance(value, (list, tuple)):
        yield from _numbered(value)
    elif isinstance(value, Pairs):
        yield from _keyed(value.pairs)
    elif isinstance(value, Members):
        yield from _numbered(value.items)
    elif isinstance(value, Made):
        if pairs_of_early(value):
            yield from _keyed([(key, child) for key, child in value.args[0]])
        elif isinstance(value.args, tuple):
            yield from _numbered(value.args)
        if isinstance(value.kwargs, Pairs):
            yield from _keyed(value.kwargs.pairs)
        yield from _numbered(value.items)
        yield from _keyed(value.pairs)
        for state in value.states:
            # (attributes, slots) or the attributes alone, as Python's pickle has it.
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
            for part in parts:
                if isinstance(part, Pairs):
                    yield from _keyed(part.pairs)
                elif isinstance(part, (list, tuple, Made)):
                    yield "state", part


def pairs_of_early(made: Made) -> bool:
    """Whether this is an OrderedDict of Python 2, which is made from a list of pairs."""
    args = made.args
    pairs = args[0] if made.callee == _ORDERED and isinstance(args, tuple) and len(args) == 1 else None
    return isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)


def _numbered(items: list[Value] | tuple[Value, ...]) -> Iterator[tuple[str, Value]]:
    return ((str(index), item) for index, item in enumerate(items))


def _keyed(pairs: list[tuple[Value, Value]]) -> Iterator[tuple[str, Value]]:
    return ((step_of(index, key), value) for index, (key, value) in enumerate(pairs))


def step_of(index: int, key: Value) -> str:
    """The step of a path that leads to the value with this key, in the pair with this number."""
    name = text(key)
    if name is None:
        name = str(key) if isinstance(key, int) and abs(key) < 1 << 63 else f"#{index}"
    # A str of Python can hold half a surrogate pair, which no file can.
    return name.encode(errors="backslashreplace").decode()


def text(value: Value) -> str | None:
    """A str, of Python 2 or 3, as str; None for anything else."""
    if isinstance(value, Text2):
        return value.raw.decode(errors="backslashreplace")
    return value if isinstance(value, str) else None
