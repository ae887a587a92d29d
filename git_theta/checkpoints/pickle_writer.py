"""Writing what `pickle_data` reads: a pickle that builds what a description says.

Like the reader, this neither builds nor imports anything. Descriptions that protocol 2 can express are
written in it, for that is what torch.load(weights_only=True) reads; the others in protocol 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial

from git_theta.checkpoints.pickle_values import (
    Global,
    Made,
    Members,
    Pairs,
    PersistentId,
    Text2,
    Value,
)
from git_theta.errors import ThetaError

_MARK = b"("


def write_pickle(root: Value, instead: Mapping[int, Value] | None = None) -> bytes:
    """The pickle. An object that stands in several places is written once, and referred to.

    Args:
        instead: by id of an object what is written in its place.

    Raises:
        ThetaError: the description cannot come from a pickle, such as a tuple inside itself.
    """
    writer = _Writer(instead or {})
    writer.write(root)
    return b"\x80" + bytes((writer.protocol,)) + b"".join(writer.parts) + b"."


class _Writer:
    def __init__(self, instead: Mapping[int, Value]) -> None:
        self.instead = instead
        self.protocol = 2
        self.parts: list[bytes] = []
        self.memo: dict[object, int] = {}
        self.begun: set[int] = set()
        # What is still to be done, last first. A stack of our own, because descriptions from foreign
        # files can be nested deeper than Python's goes.
        self.todo: list[Callable[[], None]] = []

    def write(self, root: Value) -> None:
        self.todo.append(partial(self.save, root))
        while self.todo:
            self.todo.pop()()

    def then(self, *steps: Callable[[], None]) -> None:
        self.todo.extend(reversed(steps))

    def saving(self, *values: Value) -> list[Callable[[], None]]:
        return [partial(self.save, value) for value in values]

    def emitting(self, code: bytes, protocol: int = 2) -> Callable[[], None]:
        return partial(self.emit, code, protocol)

    def emit(self, code: bytes, protocol: int = 2) -> None:
        self.parts.append(code)
        if protocol > 2:
            self.protocol = 5

    def put(self, key: object) -> None:
        number = self.memo[key] = len(self.memo)
        self.emit(b"q" + bytes((number,)) if number < 256 else b"r" + struct.pack("<I", number))

    def save(self, value: Value) -> None:
        value = self.instead.get(id(value), value)
        key = value if isinstance(value, (str, Global)) else id(value)
        if key in self.memo:
            number = self.memo[key]
            self.emit(b"h" + bytes((number,)) if number < 256 else b"j" + struct.pack("<I", number))
        elif isinstance(value, (tuple, list, Pairs, Members, Made, PersistentId)) and value != ():
            if id(value) in self.begun:
                raise ThetaError("the checkpoint holds an object inside itself, which cannot be written")
            self.begun.add(id(value))
            self.save_container(value)
        else:
            self.save_plain(value)

    def save_plain(self, value: Value) -> None:
        if value is None or value is True or value is False:
            self.emit({None: b"N", True: b"\x88", False: b"\x89"}[value])
        elif isinstance(value, int):
            self.emit(_integer(value))
        elif isinstance(value, float):
            self.emit(b"G" + struct.pack(">d", value))
        elif isinstance(value, str):
            self.emit(_sized(b"X", value.encode("utf-8", "surrogatepass"), 4))
            self.put(value)
        elif isinstance(value, bytes):
            self.emit(_sized(b"B", value, 4), 3)
        elif isinstance(value, bytearray):
            self.emit(_sized(b"\x96", bytes(value), 8), 5)
        elif isinstance(value, Text2):
            self.emit(_sized(b"T", value.raw, 4))
        elif isinstance(value, Global):
            if "\n" in value.module + value.name:
                raise ThetaError(f"a checkpoint cannot refer to {value.module + '.' + value.name!r}")
            self.emit(f"c{value.module}\n{value.name}\n".encode())
            self.put(value)
        elif value == ():
            self.emit(b")")
        else:
            raise ThetaError(f"a checkpoint cannot hold a {type(value).__name__}")

    def save_container(self, value: Value) -> None:
        memo = partial(self.put, id(value))
        if isinstance(value, tuple):
            self.then(self.emitting(_MARK), *self.saving(*value), self.emitting(b"t"), memo)
        elif isinstance(value, list):
            self.then(self.emitting(b"]"), memo, *self.filling(value, [], b"e"))
        elif isinstance(value, Pairs):
            self.then(self.emitting(b"}"), memo, *self.filling([], value.pairs, b"e"))
        elif isinstance(value, PersistentId):
            self.then(*self.saving(value.value), self.emitting(b"Q"), memo)
        elif isinstance(value, Members) and value.frozen:
            self.then(self.emitting(_MARK), *self.saving(*value.items), self.emitting(b"\x91", 4), memo)
        elif isinstance(value, Members):
            self.then(self.emitting(b"\x8f", 4), memo, *self.filling(value.items, [], b"\x90"))
        else:
            self.save_made(value, memo)

    def save_made(self, value: Made, memo: Callable[[], None]) -> None:
        steps = self.saving(value.callee, value.args)
        if value.kwargs is not None:
            steps += [*self.saving(value.kwargs), self.emitting(b"\x92", 4)]
        else:
            steps.append(self.emitting(b"R" if value.how == "reduce" else b"\x81"))
        steps += [memo, *self.filling(value.items, value.pairs, b"e")]
        for state in value.states:
            steps += [*self.saving(state), self.emitting(b"b")]
        self.then(*steps)

    def filling(
        self, items: list[Value], pairs: list[tuple[Value, Value]], append: bytes
    ) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = []
        if items:
            steps += [self.emitting(_MARK), *self.saving(*items), self.emitting(append)]
        if pairs:
            flat = [part for pair in pairs for part in pair]
            steps += [self.emitting(_MARK), *self.saving(*flat), self.emitting(b"u")]
        return steps


def _integer(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K" + struct.pack("<B", value)
    if 0 <= value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return _sized(b"\x8a", raw, 1) if len(raw) < 256 else _sized(b"\x8b", raw, 4)


def _sized(opcode: bytes, data: bytes, width: int) -> bytes:
    return opcode + len(data).to_bytes(width, "little") + data
