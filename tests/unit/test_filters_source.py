"""The bytes that a filter is given: read once, in any pieces, from a stream or a file."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.checkpoints.layout import Span
from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.filters.file_tensors import FileTensor
from git_theta.filters.source import Content, DescriptorStream


class Stream:
    """A stream out of memory; says how far it was read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def readinto(self, view: memoryview) -> int:
        part = self.data[self.at : self.at + len(view)]
        view[: len(part)] = part
        self.at += len(part)
        return len(part)


def read(content: Content, sizes: list[int]) -> bytes:
    """What comes in pieces of these sizes, and then to the end."""
    found = bytearray()
    for size in [*sizes, 1 << 20]:
        buffer = memoryview(bytearray(size))
        found += buffer[: content.readinto(buffer)]
    return bytes(found)


@given(st.binary(max_size=300), st.lists(st.integers(0, 350), max_size=3), st.lists(st.integers(0, 100)))
def test_looking_at_the_head_uses_nothing_up(data: bytes, heads: list[int], sizes: list[int]) -> None:
    content = Content(Stream(data))
    for count in heads:
        assert content.head(count) == data[:count]
    assert read(content, sizes) == data


@given(st.binary(max_size=300), st.integers(0, 350), st.lists(st.integers(0, 100), max_size=4))
def test_a_spooled_file_is_read_again_and_again(data: bytes, count: int, sizes: list[int]) -> None:
    content = Content(Stream(data))
    assert content.head(count) == data[:count]
    file = io.BytesIO()
    content.spool(file)
    assert (content.size, file.getvalue()) == (len(data), data)
    for start in (0, len(data) // 2):
        content.seek(start)
        assert read(content, sizes) == data[start:]
    assert content.head(count) == data[:count]
    assert content.file() is file


def test_the_head_does_not_grow_out_of_what_lies_behind() -> None:
    content = Content(Stream(b"0123456789"))
    assert content.head(3) == b"012"
    assert read(content, [])[:5] == b"01234"
    assert content.head(8) == b"012", "what was read past the head is gone"


def test_what_is_left_has_a_limit() -> None:
    stream = Stream(bytes(5 << 20))
    with pytest.raises(ThetaError, match="5242880 bytes"):
        Content(stream).rest(1 << 20)
    assert stream.at == 5 << 20, "git waits until everything is read"
    assert Content(Stream(b"text")).rest(4) == b"text"
    assert Content(Stream(b"")).rest(0) == b""


def test_what_is_left_can_be_forgotten() -> None:
    stream = Stream(bytes(3 << 20))
    content = Content(stream)
    content.head(100)
    content.drain()
    assert stream.at == 3 << 20
    content.drain()


def test_draining_after_spooling_touches_no_file() -> None:
    content, file = Content(Stream(b"data")), io.BytesIO()
    content.spool(file)
    file.close()
    content.drain()


def test_a_format_that_streams_cannot_have_the_file() -> None:
    with pytest.raises(RuntimeError):
        Content(Stream(b"data")).file()


def test_contents_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        content = Content.of(file)
        assert (content.size, content.head(3)) == (10, b"012")
        content.seek(4)
        assert content.rest(100) == b"456789"


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_a_descriptor_gives_everything_however_it_arrives(pieces: list[bytes]) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        for piece in pieces:
            os.write(writing, piece)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert Content(DescriptorStream(reading)).rest(1000) == b"".join(pieces)
    finally:
        writer.join()
        os.close(reading)


def test_a_tensor_does_not_outlive_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tensor"
    path.write_bytes(bytes(8))
    with path.open("rb") as file:
        tensor = FileTensor(Span("w", dtype("F32"), (2,), 0), file)
        assert not tensor.read(0, 2).any()
    other = tmp_path / "other"
    other.write_bytes(b"\1" * 8)
    with (
        other.open("rb"),
        pytest.raises(ValueError, match="closed file"),
    ):  # which has the number of the first
        tensor.read(0, 2)
