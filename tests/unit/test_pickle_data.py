"""Reading pickles as data, and writing them again."""

from __future__ import annotations

import collections
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.checkpoints import pickle_data
from git_theta.checkpoints.pickle_data import UnreadPickle, read_pickle
from git_theta.checkpoints.pickle_values import Global, Made, Members, Pairs, PersistentId, Text2
from git_theta.checkpoints.pickle_writer import write_pickle
from git_theta.errors import DamagedCheckpoint, ThetaError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300)
    | st.binary(max_size=9).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.sets(st.integers() | st.text(max_size=3), max_size=4)
        | st.frozensets(st.integers(), max_size=4)
    ),
    max_leaves=20,
)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self) -> int:
        return hash(self.x)


class Named(Point):
    def __getnewargs_ex__(self) -> Any:
        return (), {}


@settings(max_examples=150, deadline=None)
@given(PLAIN, st.integers(2, 5))
def test_plain_values_survive_reading_and_writing(value: Any, protocol: int) -> None:
    assert pickle.loads(write_pickle(read_pickle(pickle.dumps(value, protocol)))) == value


@pytest.mark.parametrize(
    "value",
    [
        collections.OrderedDict(a=1, b=[2]),
        collections.defaultdict(list, a=[1]),
        collections.Counter("abracadabra"),
        collections.deque([1, 2], maxlen=3),
        [Point(1), Point(2)],
        {Point(3): Path("a", "b")},
        complex(1, 2),
        "x" * 70_000,
        b"y" * 70_000,
        list(range(3000)),
        [1 << 2100, -(1 << 2100), -1, 255, 256, 65535, 65536, -(1 << 31), 1 << 31],
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_survive_reading_and_writing(value: Any, subtests: pytest.Subtests) -> None:
    for protocol in (2, 3, 4, 5):
        with subtests.test(protocol=protocol):
            assert pickle.loads(write_pickle(read_pickle(pickle.dumps(value, protocol)))) == value


def test_objects_made_with_named_arguments_survive() -> None:
    named = Named.__new__(Named)
    named.x = 4
    for protocol in (4, 5):
        assert pickle.loads(write_pickle(read_pickle(pickle.dumps(named, protocol)))) == named


def test_what_is_shared_stays_shared_and_circles_stay_circles() -> None:
    inner: list[Any] = [1]
    circle: dict[str, Any] = {"a": inner, "b": inner, "t": (inner, "word"), "u": "word"}
    circle["self"] = circle
    again = pickle.loads(write_pickle(read_pickle(pickle.dumps(circle, 2))))
    assert again["a"] is again["b"] is again["t"][0]
    assert again["self"] is again


def test_a_circle_that_no_pickle_can_express_is_refused() -> None:
    inner: list[Any] = []
    made = Made("reduce", Global("m", "f"), (inner,))
    inner.append(made)
    with pytest.raises(ThetaError, match="inside itself"):
        write_pickle(made)
    with pytest.raises(ThetaError, match="refer to"):
        write_pickle(Global("os\nsystem\n", "x"))
    with pytest.raises(ThetaError, match="object"):
        write_pickle(object())


def test_descriptions_of_torch_need_no_younger_protocol_than_2() -> None:
    value = Made(
        "reduce", Global("torch", "Size"), ((1, 2),), states=[Pairs([("a", PersistentId(("storage",)))])]
    )
    written = write_pickle(value)
    assert written[:2] == b"\x80\x02"
    assert write_pickle(Members())[:2] == b"\x80\x05"


def test_what_a_pickle_would_call_is_described() -> None:
    read = read_pickle(b"\x80\x02cos\nsystem\nX\x04\0\0\0exit\x85R.")
    assert (read.how, read.callee, read.args) == ("reduce", Global("os", "system"), ("exit",))
    read = read_pickle(b"\x80\x02cmodule\nClass\n)\x81}X\x01\0\0\0xK\x01sb.")
    assert (read.how, read.callee, read.states[0].pairs) == ("new", Global("module", "Class"), [("x", 1)])
    read = read_pickle(b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.")
    assert (read.callee, read.kwargs.pairs) == (Global("os", "system"), [])
    assert read_pickle(b"\x80\x02U\x02\xff\x00.").raw == b"\xff\x00"
    assert read_pickle(b"\x80\x02K\x07Q.").value == 7


def test_nothing_is_imported_or_executed(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    code = f"open({str(trap)!r}, 'w')"
    before = set(sys.modules)

    class Executed:
        def __reduce__(self) -> Any:
            return exec, (code,)

    for protocol in (2, 3, 4, 5):
        read = read_pickle(pickle.dumps([Executed()], protocol))
        write_pickle(read)
        assert read[0].args == (code,)
    read_pickle(b"\x80\x02cantigravity\nfly\n)R.")
    read_pickle(b"\x80\x02c__main__\nx\n)\x81}X\x09\0\0\0__class__cos\nsystem\nsb.")
    assert not trap.exists()
    assert set(sys.modules) == before


DAMAGED = {
    "nothing": b"",
    "no end": b"\x80\x02}",
    "empty stack": b"\x80\x02.",
    "unknown opcode": b"\x80\x02\xffN.",
    "no such memo": b"\x80\x02h\x07.",
    "no mark": b"\x80\x02t.",
    "append to a number": b"\x80\x02K\x01K\x02a.",
    "append to a frozen set": b"\x80\x04(\x91(K\x01\x90.",
    "set in a list": b"\x80\x02]K\x01K\x02s.",
    "state for a list": b"\x80\x02]}b.",
    "odd pairs": b"\x80\x02}(K\x01u.",
    "tuple of too few": b"\x80\x02K\x01\x86.",
    "not UTF-8": b"\x80\x02X\x01\0\0\0\xff.",
    "global without end": b"\x80\x02cos",
    "global of numbers": b"\x80\x04K\x01K\x02\x93.",
    "reduce of nothing": b"\x80\x02)R.",
    "text of 2**32 - 1 bytes": b"\x80\x02X\xff\xff\xff\xff.",
    "bytes of 2**60": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".",
    "number of 2**31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "half a float": b"\x80\x02G\0\0.",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_refuses(case: str) -> None:
    with pytest.raises(DamagedCheckpoint, match="pickle is damaged"):
        read_pickle(DAMAGED[case])


@pytest.mark.parametrize("opcodes", [b"I1\n", b"(i__main__\nx\n", b"\x82\x01", b"Pid\n", b"\x97"])
def test_kinds_that_are_not_read(opcodes: bytes) -> None:
    with pytest.raises(UnreadPickle):
        read_pickle(b"\x80\x02" + opcodes + b".")


def test_every_opcode_of_python_is_known() -> None:
    import pickletools

    known = {ord(opcode.code) for opcode in pickletools.opcodes} - {ord(".")}
    assert known == {
        code for code, run in enumerate(pickle_data._OPCODES) if run is not pickle_data._no_opcode
    }


@pytest.mark.slow
class TestBombs:
    """Small pickles that would cost a careless reader its memory or its stack."""

    def test_doubling_lists(self) -> None:
        # "Billion laughs": each list holds the one before it ten times over.
        code = b"\x80\x02]q\x00"
        for level in range(1, 200):
            code += (
                b"]("
                + b"h"
                + bytes((level - 1,))
                + (b"h" + bytes((level - 1,))) * 9
                + b"eq"
                + bytes((level,))
            )
        read = read_pickle(code + b".")
        assert len(read) == 10
        assert len(write_pickle(read)) < 2 * len(code)

    def test_deep_nesting(self) -> None:
        deep = read_pickle(b"\x80\x02)" + b"\x85" * 200_000 + b".")
        assert len(deep) == 1
        with_lists = read_pickle(b"\x80\x02" + b"]q\x00" + b"]h\x00aq\x00" * 50_000 + b".")
        assert len(with_lists) == 1
        assert write_pickle(read_pickle(b"\x80\x02N" + b"\x85" * 50_000 + b"."))[-1:] == b"."

    def test_endless_marks(self) -> None:
        with pytest.raises(DamagedCheckpoint):
            read_pickle(b"\x80\x02" + b"(" * 300_000)

    def test_a_huge_memo_index_costs_nothing(self) -> None:
        assert read_pickle(b"\x80\x02Nr\xff\xff\xff\xff.") is None

    def test_more_opcodes_than_are_run(self) -> None:
        with pytest.raises(UnreadPickle):
            read_pickle(b"N0" * (pickle_data.MAX_OPCODES // 2 + 1))

    @pytest.mark.parametrize("made", [b"]", b"}", b"\x8f", b"(l", b"(d", b"(t", b"(\x91", b"N\x85", b"NQ"])
    def test_more_objects_than_are_read(self, made: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pickle_data, "MAX_OBJECTS", 1000)
        assert read_pickle(b"(" + made * 999 + b"l.") is not None
        with pytest.raises(UnreadPickle):
            read_pickle(b"(" + made * 1001 + b"l.")


def test_python_2_strings_survive() -> None:
    read = read_pickle(b"\x80\x02U\x03abc.")
    assert isinstance(read, Text2)
    assert pickle.loads(write_pickle(read), encoding="bytes") == b"abc"
