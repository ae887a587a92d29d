"""The skeleton: the file's other bytes, and where the tensors lie between them."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from git_theta.dtypes import dtype
from git_theta.errors import DamagedManifest, DamagedObject
from git_theta.filters import skeleton
from git_theta.filters.skeleton import Piece
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.tensors import ArrayTensor

names = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), unique=True, max_size=6)


def manifest_of(tensors: dict[str, int], stored: bytes, between: int) -> Manifest:
    """Of a file with tensors of these names and sizes."""
    lines = [TensorLine(name, dtype("U8"), (size,), "0" * 64) for name, size in sorted(tensors.items())]
    size = sum(tensors.values()) + between
    return Manifest("x", size, "", tuple(lines), (), blake3(stored).hexdigest(), len(stored))


@given(names, st.data())
def test_the_pieces_are_those_of_the_file_in_its_order(order: list[str], data: st.DataObject) -> None:
    file, skeleton_bytes, gaps, sizes = [], bytearray(), [], {}
    for name in order:
        gap = data.draw(st.binary(max_size=4))
        gaps.append(len(gap))
        skeleton_bytes += gap
        file += ([gap] if gap else []) + [name]
        sizes[name] = data.draw(st.integers(0, 9))
    if end := data.draw(st.binary(max_size=4)):
        skeleton_bytes += end
        file.append(end)
    stored = skeleton.pack(order, gaps, bytes(skeleton_bytes))
    manifest = manifest_of(sizes, stored, len(skeleton_bytes))
    pieces, between = skeleton.pieces(manifest, stored)
    assert file == [
        piece.tensor.name if piece.tensor else bytes(between[piece.start : piece.stop]) for piece in pieces
    ]


def test_the_stored_form() -> None:
    stored = skeleton.pack(["b", "a"], [3, 0], b"abcde")
    assert stored == struct.pack("<5Q", 2, 3, 0, 1, 0) + b"abcde"
    manifest = manifest_of({"a": 1, "b": 2}, stored, 5)
    a, b = manifest.tensors
    assert skeleton.pieces(manifest, stored)[0] == [
        Piece(0, 3),
        Piece(tensor=b),
        Piece(tensor=a),
        Piece(3, 5),
    ]


HUGE = 1 << 63


@pytest.mark.parametrize(
    "numbers",
    [
        (),
        (2,),
        (1, 0, 0),
        (3, 0, 0, 0, 0, 1, 2),
        (2, 3, 3, 0, 1),
        (2, HUGE, HUGE, 0, 1),
        (2, 0, 0, 0, 0),
        (2, 0, 0, 1, 2),
        (2, 0, 0, HUGE, 0),
        (HUGE, 0, 0, 0, 1),
    ],
)
def test_damage_is_refused(numbers: tuple[int, ...]) -> None:
    stored = struct.pack(f"<{len(numbers)}Q", *numbers) + b"abcde"
    with pytest.raises(DamagedManifest):
        skeleton.pieces(manifest_of({"a": 1, "b": 2}, stored, 5), stored)


class Shelf:
    """Gives any stored tensor the same bytes, and says how many were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, -1

    def tensor(self, digest: str, storage: dict[str, StorageLine], kind: object, shape: tuple[int]) -> object:
        self.asked = shape[0]
        return ArrayTensor(dtype("U8"), shape, self.data)


def test_reading_checks_the_digest_and_the_sizes_before_it_reads() -> None:
    stored = skeleton.pack(["a"], [2], b"abc")
    manifest = manifest_of({"a": 7}, stored, 3)
    assert skeleton.read(manifest, Shelf(stored)) == stored  # type: ignore[arg-type]
    with pytest.raises(DamagedObject, match="not what the manifest says"):
        skeleton.read(manifest, Shelf(stored[:-1] + b"x"))  # type: ignore[arg-type]
    bomb = skeleton.LARGEST + 1
    overhead = len(stored) - 3
    for wrong in (
        replace(manifest, size=manifest.size + 1),
        replace(manifest, skeleton_size=1 << 60),
        replace(manifest, size=7 + bomb, skeleton_size=overhead + bomb),
        replace(manifest, skeleton_size=0),
    ):
        shelf = Shelf(stored)
        with pytest.raises(DamagedManifest):
            skeleton.read(wrong, shelf)  # type: ignore[arg-type]
        assert shelf.asked == -1
