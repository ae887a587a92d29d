"""Values that were read from JSON, checked before anything relies on them."""

from __future__ import annotations

import re
from typing import Any

from git_theta.dtypes import DType, dtype

LIMIT = 1 << 62
"""Sizes and counts from here on come from nowhere but damage or an attack."""
MOST_DIMENSIONS = 64  # what NumPy and torch can hold
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")


def text(value: Any) -> str:
    """A string. Raises TypeError, or ValueError for halves of surrogate pairs, which UTF-8 cannot write."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()
    return value


def number(value: Any) -> int:
    """A size, count or position. Raises ValueError."""
    if type(value) is not int or not 0 <= value < LIMIT:
        raise ValueError(f"{value!r} is not a size")
    return value


def digest(value: Any) -> str:
    """A digest or an oid, 64 hexadecimal digits. Raises ValueError."""
    if not isinstance(value, str) or not _HEX64.match(value):
        raise ValueError(f"{value!r} is not a digest")
    return value


def dtype_and_shape(name: Any, lengths: Any) -> tuple[DType, tuple[int, ...]]:
    """A dtype and a shape of which a tensor can be.

    Raises:
        TypeError, ValueError, ThetaError: there can be no such tensor.
    """
    if not isinstance(lengths, list) or len(lengths) > MOST_DIMENSIONS:
        raise ValueError(f"{str(lengths)[:40]} is not a shape")
    shape, kind = tuple(map(number, lengths)), dtype(text(name))
    # Without its zeros too: what multiplies in 64 bits overflows before it meets the zero.
    if kind.nbytes(tuple(filter(None, shape))) >= LIMIT:
        raise ValueError(f"shape {list(shape)} takes more than {LIMIT} bytes")
    return kind, shape
