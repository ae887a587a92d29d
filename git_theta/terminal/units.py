"""Sizes and tables for people; decimal units, as disks, networks and Git LFS count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def human_size(nbytes: float) -> str:
    """A size with its unit: "67 MB", "2.8 GB", "512 B"."""
    value, unit = float(nbytes), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def percent(part: float, whole: float) -> str:
    """A share: "9.5 %", "0.02 %"."""
    share = 100 * part / whole if whole else 0.0
    digits = 1 if share >= 0.1 or not share else 2
    return f"{share:.{digits}f} %"


def align(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows of cells as lines of aligned columns.

    Args:
        right: numbers of the columns that are aligned to the right.
    """
    table = [list(row) for row in rows]
    if not table:
        return []
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    flush_right = set(right)
    return [
        "  ".join(
            cell.rjust(width) if column in flush_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
