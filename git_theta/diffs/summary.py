"""The first lines of every comparison that people read: what kind of change, how much of it, warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from git_theta.diffs import text
from git_theta.diffs.change import of_totals
from git_theta.diffs.notes import Note
from git_theta.diffs.report import Report, Side
from git_theta.terminal.style import Style
from git_theta.terminal.units import counted, human_size, listed

_INDENT = "  "
_COLOURS = {"plain": "", "name": "36", "alarm": "1;31", "unknown": "33"}
_TIED = "\xa0"  # a space at which no line is broken


def summary(report: Report, style: Style) -> Iterator[str]:
    """The lines, the first of them naming both sides as Git does."""
    no_file = report.old is None and report.new is None  # on any side: a link, for one
    old = f"a/{text.printable(report.old_path or report.path)}" if report.old or no_file else "/dev/null"
    new = f"b/{text.printable(report.path)}" if report.new or no_file else "/dev/null"
    for line in (f"diff --theta {old} {new}", *map(text.printable, report.header)):
        yield style.paint(line, "1")
    for kind in report.kinds:
        yield from _wrapped(kind.text.replace("->", style.arrow), style, "1;33")
    for fact in facts(report, style):
        yield from _wrapped(fact.words, style, _COLOURS[fact.kind])


def facts(report: Report, style: Style) -> Iterator[Note]:
    """How much changed, the numbers over all tensors, and warnings; spaces in a number do not break."""
    for words in report.notes:
        yield Note(f"! {words}", "unknown")
    if report.rows:
        yield Note(_amount(report))
    numbers = _numbers(report, style)
    if numbers:
        yield Note(numbers)
    totals = report.totals
    change = totals.change
    if change is not None and change.nans + change.infinities:
        names = [row.name for row in report.rows if row.change and row.change.nans + row.change.infinities]
        infinite = counted(change.infinities, "infinite entry", "infinite entries")
        words = f"! new: {change.nans} NaN, {infinite}, in {listed(names)}"
        yield Note(words, "alarm")
    if totals.unknown:
        reason = next(row.unknown for row in report.rows if row.unknown)
        yield Note(f"! {counted(totals.unknown, 'tensor')} could not be compared: {reason}", "unknown")


def stored(report: Report) -> str:
    """What the change took in the store, or "" where that is not known.

    What some tensors only took is known where each has an object of its own.
    """
    if report.stored is None:
        return ""
    sizes = [row.stored for row in report.rows if row.status != "removed"]
    if not report.only or not report.stored:
        return f"{human_size(report.stored)} stored"
    if None in sizes:
        return f"{human_size(report.stored)} stored for all tensors"
    return f"{human_size(sum(filter(None, sizes)))} stored"


def _amount(report: Report) -> str:
    words = report.amount.text()
    side: Side | None = report.new or report.old
    if side is not None:
        words += f"; {text.count(report.totals.parameters)} of {text.count(side.parameters)} parameters"
    return "; ".join(filter(None, (words, stored(report))))


def _numbers(report: Report, style: Style) -> str:
    parts = []
    for metric in of_totals():
        if cell := metric.show(report.totals.change):
            parts.append(f"{style.sign(metric.title, metric.plain)} {cell}".replace(" ", _TIED))
    return ", ".join(parts)


def _wrapped(words: str, style: Style, colour: str = "") -> Iterator[str]:
    for line in textwrap.wrap(words, max(20, style.width - len(_INDENT))):
        yield _INDENT + style.paint(line.replace(_TIED, " "), colour)
