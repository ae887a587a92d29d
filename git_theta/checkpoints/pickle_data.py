"""Pickles read as data: what a pickle would build, described; nothing is built, imported or called.

A pickle is a program for a small stack machine. Here the machine runs, but where Python would look up a
global or call something, it writes down that this would have been done. So the worst that a hostile pickle
can do is to describe something odd.

What is read are protocols 2 to 5, which is what torch.save writes. Protocols 0 and 1, copyreg's extension
registry and out-of-band buffers are not (`UnreadPickle`).

Source: the opcodes as documented in Python's pickletools module.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from git_theta.checkpoints.pickle_values import Global, Made, Members, Pairs, PersistentId, Text2, Value
from git_theta.errors import DamagedCheckpoint

MAX_BYTES = 64 << 20
"""The longest pickle that is read."""

MAX_OPCODES = 4_000_000
"""How many opcodes of it are run: about 100,000 tensors, or some seconds."""

MAX_OBJECTS = 1_000_000
"""How many containers and calls it may describe: ten for each of these tensors, or some 400 MB."""


class UnreadPickle(Exception):
    """A pickle that may well be good, but is too large or of a kind that is not read."""


def read_pickle(data: bytes) -> Value:
    """What a pickle describes. Bytes after its end are ignored.

    Raises:
        DamagedCheckpoint: it is cut off, or no pickle that Python's pickler writes.
        UnreadPickle: see there.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise DamagedCheckpoint(
            f"the pickle is damaged or cut off at its byte {machine.at}: {type(error).__name__}"
        ) from None


class _Machine:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Value] = []
        self.outer: list[list[Value]] = []  # the stacks below each mark
        self.memo: dict[int, Value] = {}

    def run(self) -> Value:
        data, opcodes, makes, left = self.data, _OPCODES, _MAKES, MAX_OBJECTS
        for _ in range(MAX_OPCODES):
            opcode = data[self.at]
            self.at += 1
            if opcode == 0x2E:  # STOP
                return self.stack.pop()
            opcodes[opcode](self)
            left -= makes[opcode]
            if left < 0:
                raise UnreadPickle("the pickle describes more objects than are read")
        raise UnreadPickle("the pickle has more opcodes than are read")

    def take(self, count: int) -> bytes:
        start = self.at
        self.at = start + count
        if self.at > len(self.data):
            raise ValueError("cut off")
        return self.data[start : self.at]

    def number(self, count: int) -> int:
        if count == 1:
            self.at += 1
            return self.data[self.at - 1]
        return int.from_bytes(self.take(count), "little")

    def line(self) -> str:
        stop = self.data.index(b"\n", self.at)
        text = self.data[self.at : stop].decode()
        self.at = stop + 1
        return text

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list[Value]:
        items = self.stack
        self.stack = self.outer.pop()
        return items


_Opcode = Callable[[_Machine], None]


def _unread(machine: _Machine) -> None:
    raise UnreadPickle(f"the pickle uses an opcode that is not read, at its byte {machine.at - 1}")


def _constant(value: Value) -> _Opcode:
    return lambda machine: machine.stack.append(value)


def _fresh(make: Callable[[], Value]) -> _Opcode:
    return lambda machine: machine.stack.append(make())


def _integer(count: int, *, signed: bool = False) -> _Opcode:
    return lambda machine: machine.push(int.from_bytes(machine.take(count), "little", signed=signed))


def _long(width: int) -> _Opcode:
    # The length of LONG4 is signed in Python's own reader; a negative one is beyond any pickle's end here.
    return lambda machine: machine.push(
        int.from_bytes(machine.take(machine.number(width)), "little", signed=True)
    )


def _text(width: int) -> _Opcode:
    # surrogatepass: as pickle writes str; whoever uses it as a name must look at it.
    return lambda machine: machine.push(machine.take(machine.number(width)).decode("utf-8", "surrogatepass"))


def _raw(width: int, make: Callable[[bytes], Value]) -> _Opcode:
    return lambda machine: machine.push(make(machine.take(machine.number(width))))


def _float(machine: _Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _skip(count: int) -> _Opcode:
    def skip(machine: _Machine) -> None:
        machine.take(count)

    return skip


def _put(width: int) -> _Opcode:
    def put(machine: _Machine) -> None:
        machine.memo[machine.number(width)] = machine.stack[-1]

    return put


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(width: int) -> _Opcode:
    return lambda machine: machine.stack.append(machine.memo[machine.number(width)])


def _mark(machine: _Machine) -> None:
    machine.outer.append(machine.stack)
    machine.stack = []


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _pop_to_mark(machine: _Machine) -> None:
    machine.pop_mark()


def _duplicate(machine: _Machine) -> None:
    machine.push(machine.stack[-1])


def _tuple(machine: _Machine) -> None:
    items = tuple(machine.pop_mark())
    machine.push(items)


def _tuple_of(count: int) -> _Opcode:
    def make(machine: _Machine) -> None:
        items = tuple(machine.stack[-count:])
        if len(items) < count:
            raise IndexError
        machine.stack[-count:] = [items]

    return make


def _list(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.push(items)


def _dict(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.push(Pairs(_paired(items)))


def _frozenset(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.push(Members(items, frozen=True))


def _append(machine: _Machine) -> None:
    item = machine.stack.pop()
    _items_of(machine.stack[-1]).append(item)


def _appends(machine: _Machine) -> None:
    items = machine.pop_mark()
    _items_of(machine.stack[-1]).extend(items)


def _items_of(container: Value) -> list[Value]:
    if type(container) is list:
        return container
    if isinstance(container, Members) and container.frozen:
        raise TypeError
    items: list[Value] = container.items
    return items


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1].pairs.append((key, value))


def _set_items(machine: _Machine) -> None:
    items = machine.pop_mark()
    machine.stack[-1].pairs.extend(_paired(items))


def _paired(items: list[Value]) -> list[tuple[Value, Value]]:
    return list(zip(items[::2], items[1::2], strict=True))


def _global(machine: _Machine) -> None:
    module = machine.line()
    machine.push(Global(module, machine.line()))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(module) is not str or type(name) is not str:
        raise TypeError
    machine.push(Global(module, name))


def _reduce(machine: _Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = Made("reduce", machine.stack[-1], args)


def _new(machine: _Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = Made("new", machine.stack[-1], args)


def _new_with_names(machine: _Machine) -> None:
    kwargs, args = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1] = Made("new", machine.stack[-1], args, kwargs)


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    machine.stack[-1].states.append(state)


def _persistent(machine: _Machine) -> None:
    machine.stack[-1] = PersistentId(machine.stack[-1])


def _no_opcode(machine: _Machine) -> None:
    raise ValueError("no opcode")


_KNOWN: dict[str, _Opcode] = {
    "\x80": _skip(1),  # PROTO
    "\x95": _skip(8),  # FRAME
    "N": _constant(None),
    "\x88": _constant(True),
    "\x89": _constant(False),
    "K": _integer(1),  # BININT1
    "M": _integer(2),  # BININT2
    "J": _integer(4, signed=True),  # BININT
    "\x8a": _long(1),  # LONG1
    "\x8b": _long(4),  # LONG4
    "G": _float,  # BINFLOAT
    "X": _text(4),  # BINUNICODE
    "\x8c": _text(1),  # SHORT_BINUNICODE
    "\x8d": _text(8),  # BINUNICODE8
    "U": _raw(1, Text2),  # SHORT_BINSTRING
    "T": _raw(4, Text2),  # BINSTRING
    "C": _raw(1, bytes),  # SHORT_BINBYTES
    "B": _raw(4, bytes),  # BINBYTES
    "\x8e": _raw(8, bytes),  # BINBYTES8
    "\x96": _raw(8, bytearray),  # BYTEARRAY8
    ")": _constant(()),
    "\x85": _tuple_of(1),
    "\x86": _tuple_of(2),
    "\x87": _tuple_of(3),
    "(": _mark,
    "t": _tuple,
    "]": _fresh(list),
    "l": _list,
    "a": _append,
    "e": _appends,
    "}": _fresh(Pairs),
    "d": _dict,
    "s": _set_item,
    "u": _set_items,
    "\x8f": _fresh(Members),
    "\x90": _appends,  # ADDITEMS
    "\x91": _frozenset,
    "q": _put(1),
    "r": _put(4),
    "\x94": _memoize,
    "h": _get(1),
    "j": _get(4),
    "0": _pop,
    "1": _pop_to_mark,
    "2": _duplicate,
    "c": _global,
    "\x93": _stack_global,
    "R": _reduce,
    "\x81": _new,
    "\x92": _new_with_names,
    "b": _build,
    "Q": _persistent,  # BINPERSID
    # Protocols 0 and 1, copyreg's extensions, out-of-band buffers:
    **dict.fromkeys("FILSVPgpio\x82\x83\x84\x97\x98", _unread),
}
_MAKES = bytes(chr(code) in "\x85\x86\x87t]l}d\x8f\x91R\x81\x92Q" for code in range(256))
"""Which opcodes make an object that holds others."""
_OPCODES = tuple(_KNOWN.get(chr(code), _no_opcode) for code in range(256))
