"""Numbers and names as people read them; nothing here depends on the terminal."""

from __future__ import annotations

import math
import unicodedata

from git_theta.terminal.showing import printable
from git_theta.terminal.units import percent

__all__ = [
    "cosine",
    "count",
    "fit",
    "fraction",
    "number",
    "printable",
    "shape",
    "width",
]

_UNITS = ("", "K", "M", "G", "T", "P")


def count(number: int) -> str:
    """A count in at most five characters: 999, 50.3M, 1.76G."""
    value, unit = float(number), 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value /= 1000
        unit += 1
    return f"{number}" if unit == 0 else f"{value:.3g}{_UNITS[unit]}"


def number(value: float | None) -> str:
    """A measurement in at most nine characters: 0.01065, 1.20e-05, 123.4; "-" if there is none."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:#.4g}".rstrip(".") if 1e-3 <= abs(value) < 9999.5 else f"{value:.2e}"


def cosine(value: float) -> str:
    """A cosine, with as many nines, up to nine, as it takes to tell it from 1: 0.9321, 0.99988, 0.9999981."""
    away = 1 - abs(value)
    if away <= 0:
        return f"{value:.0f}"
    digits = min(9, max(4, 1 - math.floor(math.log10(away))))
    closest = 1 - 10**-digits
    return f"{max(-closest, min(closest, value)):.{digits}f}"


def fraction(value: float | None) -> str:
    """A share as a percentage; "-" if there is none."""
    return "-" if value is None else percent(value)


def shape(lengths: tuple[int, ...] | None, times: str = "×") -> str:
    """A shape: 1024×4096; "scalar" for one of no dimensions."""
    if lengths is None:
        return "-"
    return times.join(map(str, lengths)) if lengths else "scalar"


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def fit(text: str, columns: int, ellipsis: str = "…") -> str:
    """A text cut in the middle, and padded on the right, to take exactly that many columns."""
    excess = width(text) - columns
    if excess > 0:
        keep = max(0, columns - width(ellipsis))
        head, tail = _prefix(text, keep - keep // 2), _prefix(text[::-1], keep // 2)[::-1]
        text = head + (ellipsis if columns else "") + tail
    return text + " " * (columns - width(text))


def _prefix(text: str, columns: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += width(character)
        if taken > columns:
            return text[:index]
    return text
