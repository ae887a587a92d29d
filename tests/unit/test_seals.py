"""Files with a checksum: no bit of them can be another one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from git_theta.regular import is_in_the_way, open_regular, read_regular
from git_theta.seals import opened, sealed

FIELDS = {"head": "0" * 40, "path": "a/ä.safetensors", "applies": False, "tensors": ["x", "y"]}


def test_what_was_sealed_is_opened() -> None:
    text = sealed(FIELDS).encode()
    assert opened(text) == FIELDS
    assert json.loads(text)["tensors"] == ["x", "y"], "it is JSON that people can read"
    assert opened(sealed({}).encode()) == {}


def test_no_bit_can_be_another_one() -> None:
    text = sealed(FIELDS).encode()
    for bit in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        assert opened(bytes(flipped)) is None, bit


def test_no_part_is_taken_for_the_whole() -> None:
    text = sealed(FIELDS).encode()
    assert all(opened(text[:length]) is None for length in range(len(text)))
    assert all(opened(other) is None for other in (text + b" ", text * 2, b"[]", b"7", b"\xff", b"[" * 99999))


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device", "nothing"])
def test_what_is_no_file_is_neither_opened_nor_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "link":
        (tmp_path / "other").write_text("text")
        path.symlink_to(tmp_path / "other")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    before = len(list(Path("/dev/fd").iterdir()))
    for flags in (os.O_RDONLY, os.O_RDWR):
        with pytest.raises(OSError, match=r"regular|link|No such|directory"):
            open_regular(path, flags)
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert is_in_the_way(path) == (kind != "nothing")


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    assert not is_in_the_way(str(tmp_path / "file"))
    assert read_regular(tmp_path / "file") == b"text"
    assert not is_in_the_way(tmp_path / "file" / "below")
