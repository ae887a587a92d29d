"""A checkpoint, or one of its tensors, as a terminal shows it: `git theta show`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.diffs import layers, text
from git_theta.terminal.style import Style
from git_theta.terminal.units import counted

if TYPE_CHECKING:
    from git_theta.diffs.statistics import Histogram, Statistics

_CORNER = (6, 8)
_HISTOGRAM_WIDTH = 40
_COLUMNS: tuple[tuple[str, Callable[[Statistics], str]], ...] = (
    ("norm", lambda found: text.number(found.norm)),
    ("mean", lambda found: text.number(found.mean)),
    ("std", lambda found: text.number(found.std)),
    ("min", lambda found: text.number(found.minimum)),
    ("max", lambda found: text.number(found.maximum)),
    ("zeros", lambda found: text.fraction(found.sparsity)),
)
_WIDTH = 10


@dataclass(frozen=True)
class Shown:
    """A tensor of a checkpoint.

    Attributes:
        dtype: its name.
        statistics: None where they are not known, for the reason `unknown`.
        note: what else is to be said of it: that it is another name of a tensor, say.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    statistics: Statistics | None = None
    unknown: str = ""
    note: str = ""


def table(tensors: Sequence[Shown], style: Style) -> str:
    """All tensors in the order of their names, and how many parameters they have together."""
    times = style.sign("×", "x")
    rows = sorted(tensors, key=lambda shown: layers.natural(shown.name))
    names = [text.printable(shown.name) for shown in rows]
    kinds = [f"{shown.dtype} {text.shape(shown.shape, times)}" for shown in rows]
    kind_width = max(map(len, kinds), default=0)
    columns = _COLUMNS
    longest = max(map(text.width, names), default=len("tensor"))
    while len(columns) > 1 and longest + 2 + kind_width + (_WIDTH + 1) * len(columns) > style.width:
        columns = columns[:-1]
    room = style.width - 2 - kind_width - (_WIDTH + 1) * len(columns)
    name_width = max(len("tensor"), min(longest, room))
    titles = "".join(f" {title:>{_WIDTH}}" for title, _ in columns)
    lines = [style.paint(f"{text.fit('tensor', name_width)}  {'':{kind_width}}{titles}", "2")]
    for shown, name, kind in zip(rows, names, kinds, strict=True):
        cells = ""
        if shown.statistics is not None:
            cells = "".join(f" {write(shown.statistics):>{_WIDTH}}" for _, write in columns)
        lines.append(f"{text.fit(name, name_width, style.ellipsis)}  {kind:{kind_width}}{cells}")
        lines += [style.paint(f"    {words}", "33") for words in _remarks(shown)]
    parameters = sum(math.prod(shown.shape) for shown in rows if not shown.note)
    lines.append(f"{counted(len(rows), 'tensor')}, {text.count(parameters)} parameters")
    if left_out := [title for title, _ in _COLUMNS[len(columns) :]]:
        width = longest + 2 + kind_width + (_WIDTH + 1) * len(_COLUMNS)
        words = f"no room for {', '.join(left_out)}; COLUMNS={width} before the command makes some"
        lines += [style.paint(line, "2") for line in textwrap.wrap(words, style.width)]
    return "".join(line.rstrip() + "\n" for line in lines)


def tensor(
    shown: Shown,
    style: Style,
    *,
    histogram: Histogram | None = None,
    corner: Sequence[Sequence[float]] = (),
) -> str:
    """One tensor: its statistics, how its values are distributed, and the first of them.

    Args:
        corner: rows of values, see `diffs.statistics.corner`.
    """
    kind = f"{shown.dtype} {text.shape(shown.shape, style.sign('×', 'x'))}"
    lines = [style.paint(f"{text.printable(shown.name)}  {kind}", "1")]
    lines += [style.paint(f"  {words}", "33") for words in _remarks(shown)]
    if shown.statistics is not None:
        lines += [f"  {title:5} {write(shown.statistics)}" for title, write in _COLUMNS]
    if histogram is not None:
        lines += ["", *_histogram(histogram, style)]
    if corner:
        more = style.ellipsis if math.prod(shown.shape) > sum(map(len, corner)) else ""
        lines.append("")
        lines += ["  " + " ".join(f"{text.number(value):>{_WIDTH}}" for value in row) for row in corner]
        lines += [f"  {more}"] if more else []
    return "".join(line.rstrip() + "\n" for line in lines)


def _remarks(shown: Shown) -> list[str]:
    remarks = [shown.note] if shown.note else []
    if shown.unknown:
        remarks.append(f"unknown: {shown.unknown}")
    found = shown.statistics
    if found is not None and (found.nans or found.infinities):
        remarks.append(f"{found.nans} NaN, {found.infinities} infinite")
    return remarks


def _histogram(found: Histogram, style: Style) -> list[str]:
    most = max(found.counts) or 1
    width = max(1, min(_HISTOGRAM_WIDTH, style.width - 34))
    lines = []
    for low, amount in zip(found.edges, found.counts, strict=False):
        length = round(width * amount / most)
        bar = style.sign("█", "#") * (length or int(amount > 0))
        lines.append(
            f"  {text.number(low):>{_WIDTH}}  {style.paint(f'{bar:{width}}', '36')}  {text.count(amount)}"
        )
    return lines
