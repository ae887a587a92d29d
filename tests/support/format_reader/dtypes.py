"""Dtypes, and what is said where something breaks a rule of the page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

CHUNK = 4 << 20
BITS = {
    "BOOL": 8,
    "U8": 8,
    "U16": 16,
    "U32": 32,
    "U64": 64,
    "I8": 8,
    "I16": 16,
    "I32": 32,
    "I64": 64,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "C32": 32,
    "C64": 64,
    "C128": 128,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
PARTS = {"C32": "F16", "C64": "F32", "C128": "F64"}
MANTISSA = {"F16": 10, "BF16": 7, "F32": 23, "F64": 52}
BIAS = {"F8_E4M3": 7, "F8_E4M3FNUZ": 8, "F8_E5M2": 15, "F8_E5M2FNUZ": 16}
RAW = {"F8_E8M0", "F4", "F6_E2M3", "F6_E3M2"}


class Refused(Exception):
    """What is stored breaks a rule of the page."""


def need(holds: Any, what: str) -> None:
    if not holds:
        raise Refused(what)


def width_of(dtype: str) -> int:
    return max(1, BITS[dtype] // (16 if dtype in PARTS else 8))


def size_of(dtype: str, shape: Iterable[int]) -> int:
    return (int(np.prod(list(shape), dtype=object)) * BITS[dtype] + 7) // 8


def is_float(dtype: str) -> bool:
    return dtype[0] in "BCF" and dtype not in RAW | {"BOOL"}
