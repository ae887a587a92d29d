"""Remarks about a tensor that changed, such as its new dtype or shape, the same in every rendering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from git_theta.diffs import text
from git_theta.diffs.report import Row
from git_theta.terminal.style import Style
from git_theta.terminal.units import listed


@dataclass(frozen=True)
class Note:
    """A remark, and what kind it is of, by which renderings colour it."""

    words: str
    kind: Literal["plain", "name", "alarm", "unknown"] = "plain"


def kind(row: Row, style: Style) -> str:
    """dtype and shape, with what changed about them: BF16 (50257→50157)×1024."""
    old, new = row.old_dtype or row.dtype, row.dtype or row.old_dtype
    dtype = f"{old}" if old == new else f"{old}{style.arrow}{new}"
    return f"{dtype} {_shapes(row, style)}"


def notes(row: Row) -> Iterator[Note]:
    """What is to be said of a row that has no column."""
    if row.status == "renamed":
        yield Note(f"was {text.printable(row.old_name or '')}", "name")
    if row.tied:
        yield Note(f"also called {listed(row.tied)}")
    if row.view_of:
        yield Note(f"shares the data of {text.printable(row.view_of)}")
    if row.compared:
        yield Note(f"compared: {row.compared}")
    if row.change is not None and (row.change.nans or row.change.infinities):
        yield Note(f"new: {row.change.nans} NaN, {row.change.infinities} infinite", "alarm")
    if row.unknown:
        yield Note(f"unknown: {row.unknown}", "unknown")


def _shapes(row: Row, style: Style) -> str:
    times = style.sign("×", "x")
    old, new = row.old_shape, row.shape
    if old is None or new is None or old == new:
        return text.shape(new if new is not None else old, times)
    if len(old) != len(new):
        return f"{text.shape(old, times)}{style.arrow}{text.shape(new, times)}"
    sides = (f"{a}" if a == b else f"({a}{style.arrow}{b})" for a, b in zip(old, new, strict=True))
    return times.join(sides)
