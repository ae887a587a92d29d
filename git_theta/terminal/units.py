"""The one writer of numbers and lists for people: sizes, counts, shares, lists with a limit, aligned tables.

Sizes are decimal, as disks, networks and Git LFS count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from git_theta.terminal.showing import printable

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def human_size(nbytes: float) -> str:
    """A size with its unit: "67 MB", "2.8 GB", "512 B"."""
    value, unit = float(nbytes), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def counted(number: int, what: str, plural: str = "") -> str:
    """A count of things: "1 tensor", "2 tensors", "2 entries".

    Args:
        plural: of `what`, where an s is not enough.
    """
    return f"{number} {what if number == 1 else plural or f'{what}s'}"


def percent(part: float, whole: float = 1.0) -> str:
    """A share: "100%", "81.8%", "0.99%"; never rounded to 0% or 100% when it is not."""
    share = part / whole if whole else 0.0
    if share in (0, 1):
        return f"{100 * share:.0f}%"
    if share >= 0.09995:
        return f"{min(99.9, 100 * share) if share < 1 else max(100.1, 100 * share):.1f}%"
    return f"{100 * share:.2f}%" if share >= 0.0005 else f"{100 * share:.1g}%"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are: "a, b, c and 4 more"."""
    shown = ", ".join(map(printable, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def and_more(left: int, what: str = "", ellipsis: str = "...") -> list[str]:
    """The last line of a list of lines of which so many are left out: "... and 4 more tensors"; or no line.

    Args:
        what: what each line is about: "tensor".
    """
    if left <= 0:
        return []
    return [f"{ellipsis} and {left} more" + (f" {what}{'' if left == 1 else 's'}" if what else "")]


def joined(words: Sequence[str]) -> str:
    """Words as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


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
