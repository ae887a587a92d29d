"""pkt-line framing: whatever pieces a pipe hands over, the packets are the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.drivers.pktline import LARGEST_PAYLOAD, PacketReader, PacketWriter, ProtocolError, widen_pipe
from git_theta.errors import ThetaError
from git_theta.filters.source import Content

lines = st.lists(
    st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=20).filter(bool), max_size=5
)


class Pipe:
    """A pipe that one thread writes to, and whose other end is read."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self.reading, self._writing = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(write,))
        self._thread.start()

    def _run(self, write: Callable[[int], None]) -> None:
        try:
            with suppress(BrokenPipeError):  # hypothesis ends examples early that grow too large
                write(self._writing)
        finally:
            os.close(self._writing)

    def close(self) -> None:
        os.close(self.reading)
        self._thread.join()


def in_pieces(data: bytes, cuts: list[int]) -> Callable[[int], None]:
    """Writes data in pieces that end at these places."""

    def write(descriptor: int) -> None:
        ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
        for start, stop in zip([0, *ends], ends, strict=False):
            os.write(descriptor, data[start:stop])

    return write


def packet(payload: bytes) -> bytes:
    return b"%04x" % (len(payload) + 4) + payload


def reading(data: bytes, cuts: list[int] | None = None) -> Iterator[PacketReader]:
    pipe = Pipe(in_pieces(data, cuts or []))
    try:
        yield PacketReader(pipe.reading)
    finally:
        pipe.close()


@given(st.lists(st.tuples(lines, st.lists(st.binary(max_size=50), max_size=4)), max_size=3), st.data())
@settings(max_examples=60, deadline=None)
def test_requests_and_contents_come_apart_again(
    requests: list[tuple[list[str], list[bytes]]], data: st.DataObject
) -> None:
    """As git sends them: lines, a flush packet, contents in packets of any size, a flush packet."""
    sent = bytearray()
    for wanted, contents in requests:
        sent += b"".join(packet(line.encode() + b"\n") for line in wanted) + b"0000"
        sent += b"".join(packet(piece) for piece in contents) + b"0000"
    cuts = data.draw(st.lists(st.integers(0, 500), max_size=8))
    for reader in reading(bytes(sent), cuts):
        for wanted, contents in requests:
            assert reader.lines() == wanted
            reader.start()
            found = bytearray()
            size = data.draw(st.integers(1, 64))
            while got := reader.readinto(buffer := memoryview(bytearray(size))):
                found += buffer[:got]
            assert found == b"".join(contents)
        assert reader.lines() is None


@given(lines, st.lists(st.integers(0, 3 * LARGEST_PAYLOAD), max_size=3))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(wanted: list[str], sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]

    def write(descriptor: int) -> None:
        writer = PacketWriter(descriptor)
        writer.lines(wanted)
        for piece in pieces:
            writer.contents(memoryview(piece))
        writer.flush()

    pipe = Pipe(write)
    try:
        reader = PacketReader(pipe.reading)
        assert reader.lines() == wanted
        reader.start()
        assert Content(reader).rest(1 << 30) == b"".join(pieces)
        assert reader.lines() is None
    finally:
        pipe.close()


def test_packets_are_as_large_as_git_allows_and_no_larger() -> None:
    sizes: list[int] = []

    def write(descriptor: int) -> None:
        PacketWriter(descriptor).contents(bytes(600 * LARGEST_PAYLOAD + 1))

    pipe = Pipe(write)
    try:
        with os.fdopen(os.dup(pipe.reading), "rb") as file:
            while header := file.read(4):
                sizes.append(int(header, 16))
                file.read(sizes[-1] - 4)
    finally:
        pipe.close()
    assert sizes == [65520] * 600 + [5]


def test_names_that_are_no_utf8_and_have_line_breaks_come_through() -> None:
    sent = packet(b"pathname=a\nb\xff \xc3\xa9\n") + b"0000"
    for reader in reading(sent):
        (line,) = reader.lines() or []
        assert os.fsencode(line) == b"pathname=a\nb\xff \xc3\xa9"
    read, write = os.pipe()
    PacketWriter(write).lines([line])
    assert os.read(read, 100) == sent
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    "sent",
    [
        b"00",
        b"0009abc",
        b"xyz0",
        b"0x1f",
        b"-001",
        b"+00a",
        b" 00a",
        b"0001",
        b"0002",
        b"0003",
        b"0009abcd\n00",
    ],
)
def test_what_is_no_protocol_is_an_error(sent: bytes) -> None:
    for reader in reading(sent):
        with pytest.raises(ProtocolError) as caught:
            reader.lines()
        assert isinstance(caught.value, ThetaError)


def test_a_pipe_that_git_closed() -> None:
    for reader in reading(b""):
        assert reader.lines() is None
    for reader in reading(packet(b"some contents")):
        reader.start()
        with pytest.raises(ProtocolError, match="closed"):
            reader.readinto(memoryview(bytearray(100)))


def test_empty_packets_are_no_end() -> None:
    for reader in reading(packet(b"") + packet(b"ab") + packet(b"") + packet(b"c") + b"0000"):
        reader.start()
        assert Content(reader).rest(10) == b"abc"


def test_what_is_no_pipe_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        widen_pipe(file.fileno())
    read, write = os.pipe()
    widen_pipe(write)
    os.close(read)
    os.close(write)
