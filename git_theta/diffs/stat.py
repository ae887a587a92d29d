"""A comparison in one line for each tensor, made from manifests alone: `git theta diff --stat`."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.diffs import text
from git_theta.diffs.report import Report, Row, ordered
from git_theta.diffs.summary import stored
from git_theta.terminal.style import Style
from git_theta.terminal.units import human_size

_BAR = 20
_MOST_OF_WIDTH = 0.5
_SIGNS = {"added": ("+", "32"), "removed": ("-", "31")}


def render(report: Report, style: Style, *, sort: str = "name", top: int | None = None) -> str:
    """The text to print, with its last newline: names, what happened, a bar as long as the bytes stored.

    Where the stored bytes are not known, tensors that share an object for one, parameters stand for them.
    """
    rows = ordered(report.rows, sort)[:top]
    lines = [style.paint(f" ! {words}", "33") for words in report.notes]
    if not report.rows:  # a header, a format: what is not about tensors
        lines += [f" {kind.text.replace('->', style.arrow)}" for kind in report.kinds]
    lines += _lines(rows, style) if rows else []
    last = f" {report.amount.text()}, {text.count(report.totals.parameters)} parameters"
    lines.append(", ".join(filter(None, (last, stored(report)))))
    return "".join(line.rstrip() + "\n" for line in lines)


def _lines(rows: Sequence[Row], style: Style) -> list[str]:
    names = [_name(row, style) for row in rows]
    whats = [_what(row) for row in rows]
    name_width = min(max(map(text.width, names)), int(_MOST_OF_WIDTH * style.width))
    what_width = max(map(len, whats))
    room = max(1, min(_BAR, style.width - name_width - what_width - 5))
    weights = _weights(rows)
    largest = max(weights) or 1
    lines = []
    for row, name, what, weight in zip(rows, names, whats, weights, strict=True):
        sign, colour = _SIGNS.get(row.status, ("~", "36"))
        bar = style.paint(sign * (max(1, round(room * weight / largest)) if weight else 0), colour)
        lines.append(f" {text.fit(name, name_width, style.ellipsis)} | {what:{what_width}} {bar}")
    return lines


def _name(row: Row, style: Style) -> str:
    if row.status == "renamed" and row.old_name is not None:
        return f"{text.printable(row.old_name)} {style.sign('⇒', '=>')} {text.printable(row.name)}"
    return text.printable(row.name)


def _what(row: Row) -> str:
    parts = [f"cast to {row.dtype}" if row.status == "cast" else str(row.status)]
    if row.view_of:
        parts.append(f"shares {text.printable(row.view_of)}")
    elif row.update:
        parts.append(row.update)
    if row.stored is not None:
        parts.append(human_size(row.stored))
    return ", ".join(parts)


def _weights(rows: Sequence[Row]) -> list[int]:
    known = [row.stored for row in rows if row.stored is not None]
    if known:
        return [row.stored or 0 for row in rows]
    return [row.elements for row in rows]
