"""Tensors seen as matrices: their first dimension by all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from git_theta.tensors import Tensor, chunks
from git_theta.updates.sampling import sampled

if TYPE_CHECKING:
    from git_theta.tensors import Bits


def matrix_shape(tensor: Tensor) -> tuple[int, int] | None:
    """Rows and columns in items; None for what has fewer than two dimensions, or no items."""
    if len(tensor.shape) < 2 or not tensor.items:
        return None
    return tensor.shape[0], tensor.items // tensor.shape[0]


def row_blocks(tensor: Tensor, columns: int) -> Iterator[tuple[int, Bits]]:
    """All rows in order, some at a time: the first one's number and the bits, 2-D.

    Reads each chunk once; a block lasts until the next one is asked for.
    """
    left: Bits = np.empty(0, tensor.dtype.storage)
    row = 0
    for start, stop in chunks(tensor):
        bits = tensor.read(start, stop)
        if left.size:
            bits = np.concatenate([left, bits])
        count = bits.size // columns
        yield row, bits[: count * columns].reshape(count, columns)
        row += count
        left = bits[count * columns :].copy()


def sampled_rows(tensor: Tensor, columns: int) -> tuple[int, int]:
    """The whole rows that lie in the kept chunk: first and one past the last."""
    kept = sampled(tensor)
    return -(-kept.start // columns), kept.stop // columns


def submatrix(tensor: Tensor, columns: int, rows: int, most_columns: int) -> Bits:
    """A sample of a matrix from the kept chunk, 2-D: at most so many rows and columns, spread evenly."""
    first, last = sampled_rows(tensor, columns)
    if last <= first:
        return np.empty((0, 0), tensor.dtype.storage)
    bits = tensor.read(first * columns, last * columns).reshape(last - first, columns)
    row_step = max(1, (last - first) // rows)
    column_step = max(1, columns // most_columns)
    return bits[::row_step, ::column_step][:rows, :most_columns]
