"""Stored tensors and views as the tensors of a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from diff_examples import tensor, version

from git_theta.diffs.entries import entries, open_entry
from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.manifest import View

F32 = dtype("F32")
STORED = {"storage:w": tensor("F32", np.arange(12.0)), "wte": tensor("F32", np.arange(6.0).reshape(2, 3))}


def view(name: str, of: str, shape: tuple[int, ...], offset: int, strides: tuple[int, ...]) -> View:
    return View(name, of, F32, shape, offset, strides)


def read(*views: View, name: str) -> np.ndarray:
    """The values of a view as they are read."""
    side = version(STORED, views=views)
    assert side.manifest is not None
    entry = entries(side.manifest)[name]
    found = open_entry(entry, side.open)
    assert (found.dtype, found.shape, found.items) == (entry.dtype, entry.shape, entry.items)
    return found.read(0, found.items).view("<f4").reshape(found.shape)


def test_stored_tensors_are_entries() -> None:
    manifest = version(STORED).manifest
    assert manifest is not None
    assert sorted(entries(manifest)) == ["storage:w", "wte"]


def test_storage_that_only_views_are_in_is_no_tensor() -> None:
    manifest = version(STORED, views=[view("w", "storage:w", (3, 4), 0, (1, 3))]).manifest
    assert manifest is not None
    assert sorted(entries(manifest)) == ["w", "wte"]


def test_a_tied_tensor_is_the_same_data() -> None:
    manifest = version(STORED, views=[view("head", "wte", (2, 3), 0, (3, 1))]).manifest
    assert manifest is not None
    found = entries(manifest)
    assert found["head"].data == found["wte"].data
    assert found["head"].of == "wte"


def test_a_part_is_other_data_than_the_whole() -> None:
    manifest = version(
        STORED, views=[view("row", "wte", (3,), 0, (1,)), view("row2", "wte", (3,), 3, (1,))]
    ).manifest
    assert manifest is not None
    found = entries(manifest)
    assert len({found[name].data for name in ("wte", "row", "row2")}) == 3


def test_a_view_in_order_is_read_where_it_lies() -> None:
    found = read(view("w", "storage:w", (2, 3), 4, (3, 1)), name="w")
    assert found.tolist() == [[4, 5, 6], [7, 8, 9]]


def test_a_transposed_view_is_gathered() -> None:
    found = read(view("w", "storage:w", (3, 4), 0, (1, 3)), name="w")
    assert found.tolist() == np.arange(12).reshape(4, 3).T.tolist()


def test_a_view_with_gaps_is_gathered() -> None:
    assert read(view("w", "storage:w", (3,), 1, (4,)), name="w").tolist() == [1, 5, 9]


def test_a_scalar_view() -> None:
    assert read(view("w", "storage:w", (), 7, ()), name="w").tolist() == 7


def test_a_complex_view_is_gathered_in_whole_numbers() -> None:
    numbers = np.arange(6) + 1j
    stored = {"storage:w": ("C64", (6,), numbers.astype("<c8").tobytes())}
    side = version(stored, views=[View("w", "storage:w", dtype("C64"), (2, 2), 0, (1, 3))])
    assert side.manifest is not None
    found = open_entry(entries(side.manifest)["w"], side.open)
    assert found.read(0, found.items).view("<c8").tolist() == [0 + 1j, 3 + 1j, 1 + 1j, 4 + 1j]


def test_a_view_of_another_dtype_reads_the_same_bytes() -> None:
    side = version(
        {"s": ("U8", (8,), np.array([1.5, 2.5], "<f4").tobytes())},
        views=[View("w", "s", F32, (1,), 1, (1,))],
    )
    assert side.manifest is not None
    found = open_entry(entries(side.manifest)["w"], side.open)
    assert found.read(0, 1).view("<f4").tolist() == [2.5]


@pytest.mark.parametrize(
    ("shape", "offset", "strides", "words"),
    [
        ((3, 4), 1, (4, 1), "past the end"),
        ((2,), 0, (12,), "past the end"),
        ((1 << 40, 1 << 20), 0, (0, 0), "repeats"),
    ],
)
def test_views_that_do_not_fit_are_refused(
    shape: tuple[int, ...], offset: int, strides: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ThetaError, match=words):
        read(view("w", "storage:w", shape, offset, strides), name="w")


def test_parts_of_packed_data_are_not_read() -> None:
    side = version({"s": ("F4", (8,), bytes(4))}, views=[View("w", "s", dtype("F4"), (2,), 4, (1,))])
    assert side.manifest is not None
    with pytest.raises(ThetaError, match="packed"):
        open_entry(entries(side.manifest)["w"], side.open)


def test_an_empty_view_is_empty() -> None:
    assert read(view("w", "storage:w", (0, 4), 12, (4, 1)), name="w").size == 0


def test_files_of_no_known_format_have_no_tensors() -> None:
    manifest = version({"file": ("U8", (3,), b"abc")}, form="opaque").manifest
    assert manifest is not None
    assert entries(manifest) == {}
