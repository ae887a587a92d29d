"""Ours and theirs against their base, as a terminal shows them: a line for each layer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from git_theta.diffs import text
from git_theta.diffs.agreement import Agreement, together
from git_theta.diffs.outlook import apart
from git_theta.diffs.renames import in_words
from git_theta.diffs.three_way import TaskLayer, TaskRow, ThreeWay, changed
from git_theta.terminal.style import Style
from git_theta.terminal.units import counted

_COLUMNS: tuple[tuple[str, Callable[[Agreement], str]], ...] = (
    ("ours", lambda found: text.number(found.ours_relative)),
    ("theirs", lambda found: text.number(found.theirs_relative)),
    ("cosine", lambda found: "-" if found.cosine is None else f"{found.cosine:+.3f}"),
    ("conflicts", lambda found: text.fraction(found.conflict_fraction)),
    ("overlap", lambda found: text.fraction(found.overlap_fraction)),
)
_WIDTH = 9
_PULLS_APART = -0.3
_EXPLANATION = (
    "ours, theirs: norm of the task vector over norm of the base. cosine: of the two task vectors. "
    "conflicts: share of the entries changed on both sides that moved in opposite directions. "
    "overlap: entries changed on both sides, of those changed on either."
)


def render(report: ThreeWay, style: Style, *, tensors: bool = False) -> str:
    """The text to print, with its last newline.

    Args:
        tensors: whether to show the tensors of each layer as well.
    """
    lines = [_heading(report, style)]
    lines += _wrapped(report.verdict, style, "1;33")
    lines += _wrapped(_counts(report), style)
    lines += [line for words in _renames(report, style) for line in _wrapped(words, style)]
    if report.rows:
        name_width = max(text.width(name) for name, _ in _names(report, tensors))
        name_width = max(len("tensor"), min(name_width, style.width - (_WIDTH + 1) * len(_COLUMNS) - 2))
        titles = "".join(f" {title:>{_WIDTH}}" for title, _ in _COLUMNS)
        lines += ["", style.paint(f"  {text.fit('tensor', name_width)}{titles}", "2")]
        for layer in report.layers:
            lines += _layer_lines(layer, style, name_width, tensors)
        colour = "31" if report.weights is not None and apart(report.weights) else "1"
        lines += _line("all", report.agreement, style, name_width, colour)
        lines += ["", *_wrapped(_EXPLANATION, style, "2")]
    return "".join(line.rstrip() + "\n" for line in lines)


def _heading(report: ThreeWay, style: Style) -> str:
    base, ours, theirs = map(text.printable, report.labels)
    return style.paint(
        f"diff --theta {text.printable(report.path)}: {base}, ours {ours}, theirs {theirs}", "1"
    )


def _counts(report: ThreeWay) -> str:
    both = sum(row.both for row in report.rows)
    same = sum(row.same for row in report.rows)
    ours = sum(changed(row.ours) and not changed(row.theirs) for row in report.rows)
    theirs = sum(changed(row.theirs) and not changed(row.ours) for row in report.rows)
    words = f"{counted(both, 'tensor')} changed on both sides, {ours} only by ours, {theirs} only by theirs"
    return f"{words}, {same} alike by both, {report.unchanged} by neither"


def _renames(report: ThreeWay, style: Style) -> Iterator[str]:
    """For each side that renamed tensors, how."""
    for number, side in enumerate(("ours", "theirs"), 1):
        renamed = [row for row in report.rows if getattr(row, side) == "renamed"]
        pairs = [(row.names[0] or "", row.names[number] or "") for row in renamed]
        if pairs:
            how = in_words(pairs).replace("->", style.arrow)
            yield f"{side} renamed {counted(len(pairs), 'tensor')}{how}"


def _names(report: ThreeWay, tensors: bool) -> Iterator[tuple[str, Agreement | None]]:
    for layer in report.layers:
        if layer.name:
            yield text.printable(layer.name), layer.agreement
        if tensors or not layer.name:
            yield from ((_name(row), row.agreement) for row in layer.rows)


def _name(row: TaskRow) -> str:
    component = row.name[len(row.layer) + 1 :] if row.layer else row.name
    return text.printable(f"  {component}" if row.layer else component)


def _layer_lines(layer: TaskLayer, style: Style, width: int, tensors: bool) -> Iterator[str]:
    if layer.name:
        yield from _line(text.printable(layer.name), layer.agreement, style, width, "1" if tensors else "")
    if tensors or not layer.name:
        for row in layer.rows:
            yield from _line(_name(row), row.agreement or together(()), style, width)
            yield from _notes(row, style)
    else:
        for row in layer.rows:
            if row.unknown:
                yield from _notes(row, style)


def _line(name: str, found: Agreement, style: Style, width: int, colour: str = "") -> Iterator[str]:
    cells = "".join(f" {write(found):>{_WIDTH}}" for _, write in _COLUMNS)
    if found.cosine is not None and found.cosine < _PULLS_APART:
        colour = "31"
    yield style.paint(f"  {text.fit(name, width, style.ellipsis)}{cells}".rstrip(), colour)


def _notes(row: TaskRow, style: Style) -> Iterator[str]:
    if row.unknown:
        yield from _wrapped(f"  {text.printable(row.name)}: unknown: {row.unknown}", style, "33")
    elif row.agreement is None or "renamed" in (row.ours, row.theirs):
        words = f"ours {row.ours}, theirs {row.theirs}" + (", alike" if row.same else "")
        if "renamed" in (row.ours, row.theirs):
            words += f"; was {text.printable(row.names[0] or '')}"
        yield from _wrapped(f"    {words}", style, "2")


def _wrapped(words: str, style: Style, colour: str = "") -> Sequence[str]:
    lines = textwrap.wrap(words, max(20, style.width - 2))
    return ["  " + style.paint(line, colour) for line in lines]
