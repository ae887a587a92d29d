"""A comparison as one HTML file: heat map, histogram and a table that sorts, with nothing to download.

The page works by mouse and by keyboard, in light and dark, and without scripts (then it does not sort).
`#sort=norm` after its address, with any column of `change.METRICS` or `name`, opens it sorted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from git_theta.diffs import text
from git_theta.diffs.change import METRICS
from git_theta.diffs.heat import Bars, Cell, HeatMap, bars, heat_map
from git_theta.diffs.notes import kind, notes
from git_theta.diffs.report import Report, Row, ordered
from git_theta.diffs.summary import facts
from git_theta.terminal.style import Style
from git_theta.terminal.units import counted, listed

SHADES = 9
"""Steps of colour in the heat map."""

_CELL_WIDTH, _CELL_HEIGHT = 46, 17
_LETTER = 6.4  # width of a letter of the labels, in the units of the picture
_BAR_WIDTH, _BARS_HEIGHT = 18, 150
_STYLE = Style(width=120)


def render(report: Report) -> str:
    """The page.

    Args:
        report: compared with `binned=True`, else there is no histogram.
    """
    counts = bars(report)
    parts = [
        f"<h1>{escape(_title(report))}</h1>",
        *(f'<p class="kind">{_arrows(escape(guess.text))}</p>' for guess in report.kinds),
        *(f'<p class="{fact.kind}">{escape(fact.words)}</p>' for fact in facts(report, _STYLE)),
        "<h2>Relative change by layer and component</h2>",
        _legend(heat := heat_map(report)),
        f'<div class="wide">{_heat(heat)}</div>',
    ]
    if counts is not None:
        parts += [
            "<h2>Entries by the size of their change</h2>",
            f'<div class="wide">{_histogram(counts)}</div>',
        ]
        parts.append(
            f"<p>Each bar is a factor of two, its height on a logarithmic scale; "
            f"{text.count(counts.still)} entries did not change.</p>"
        )
    parts += [
        f"<h2>{counted(len(report.rows), 'tensor')}</h2>",
        f'<div class="wide">{_table(report.rows)}</div>',
    ]
    body = "\n".join(parts)
    source = files("git_theta.diffs")
    css = source.joinpath("page.css").read_text(encoding="utf-8")
    script = source.joinpath("page.js").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{escape(_title(report))}</title>
<style>
{css}</style>
</head>
<body>
{body}
<div id="hint" role="status" hidden></div>
<script>
{script}</script>
</body>
</html>
"""


def _title(report: Report) -> str:
    sides = " → ".join(text.printable(side.label) for side in (report.old, report.new) if side and side.label)
    return f"{text.printable(report.path)}  {sides}".strip()


def _arrows(words: str) -> str:
    return words.replace("-&gt;", "→")


def _legend(heat: HeatMap) -> str:
    low, high = heat.bounds
    states = sorted({cell.state for row in heat.cells for cell in row if cell} - {"changed"})
    scale = "".join(f'<i class="s{shade}"></i>' for shade in range(SHADES))
    keys = "".join(f'<span class="key"><i class="{state}"></i> {state}</span>' for state in states)
    return f'<p class="legend">{low:.2g} {scale} {high:.2g} {keys}</p>'


def _heat(heat: HeatMap) -> str:
    left = 12 + _LETTER * max((text.width(_short(name)) for name in heat.layers), default=0)
    top = 12 + 0.75 * _LETTER * max((text.width(_short(name)) for name in heat.components), default=0)
    width = left + _CELL_WIDTH * len(heat.components) + 90
    height = top + _CELL_HEIGHT * len(heat.layers) + 4
    lines = [
        f'<svg class="heat" role="img" aria-label="heat map" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">'
    ]
    for column, name in enumerate(heat.components):
        x = left + _CELL_WIDTH * (column + 0.4)
        lines.append(
            f'<text transform="translate({x:.1f} {top - 5:.1f}) rotate(-45)">{escape(_short(name))}</text>'
        )
    for line, (name, cells) in enumerate(zip(heat.layers, heat.cells, strict=True)):
        y = top + _CELL_HEIGHT * line
        lines.append(
            f'<text x="{left - 6:.1f}" y="{y + 12:.1f}" text-anchor="end">{escape(_short(name))}</text>'
        )
        for column, cell in enumerate(cells):
            if cell is not None:
                lines.append(_rectangle(cell, heat.bounds, left + _CELL_WIDTH * column, y))
    return "\n".join([*lines, "</svg>"])


def _rectangle(cell: Cell, bounds: tuple[float, float], x: float, y: float) -> str:
    names = listed(cell.names, 2)
    hint = f"{names}: {cell.state if not cell.value else text.number(cell.value)}"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_CELL_WIDTH - 1}" height="{_CELL_HEIGHT - 1}" '
        f'class="{_shade(cell, bounds)}" data-hint="{escape(hint)}"/>'
    )


def _shade(cell: Cell, bounds: tuple[float, float]) -> str:
    if not cell.value:
        return "unchanged" if cell.value == 0 else cell.state
    low, high = map(math.log, bounds)
    place = (math.log(cell.value) - low) / (high - low) if high > low else 1.0
    return f"s{min(SHADES - 1, int(place * SHADES))}"


def _histogram(counts: Bars) -> str:
    number = len(counts.exponents)
    middle = _BAR_WIDTH * (number + 1)
    most = math.log10(max((*counts.falling, *counts.rising, 1)) + 1)
    lines = [
        f'<svg class="bars" role="img" aria-label="histogram" width="{2 * middle}" '
        f'height="{_BARS_HEIGHT + 30}" viewBox="0 0 {2 * middle} {_BARS_HEIGHT + 30}">'
    ]
    for sign, side, way in (("−", counts.falling, "fell"), ("", counts.rising, "rose")):
        for place, (exponent, amount) in enumerate(zip(counts.exponents, side, strict=True), 1):
            x = middle + _BAR_WIDTH * (place if way == "rose" else -place) - _BAR_WIDTH / 2
            height = _BARS_HEIGHT * math.log10(amount + 1) / most
            hint = f"{amount:,} entries {way} by {2.0**exponent:.1e} or more"
            lines.append(
                f'<rect x="{x:.1f}" y="{_BARS_HEIGHT - height:.1f}" width="{_BAR_WIDTH - 2}" '
                f'height="{height:.1f}" class="{way}" data-hint="{hint}"/>'
            )
            if place % 4 == 2:
                label = f"{sign}{2.0**exponent:.0e}"
                lines.append(
                    f'<text x="{x + _BAR_WIDTH / 2 - 1:.1f}" y="{_BARS_HEIGHT + 16}" '
                    f'text-anchor="middle">{label}</text>'
                )
    return "\n".join([*lines, "</svg>"])


def _table(rows: Sequence[Row]) -> str:
    heads = [("name", "tensor", ""), ("status", "status", ""), ("kind", "dtype and shape", "")]
    heads += [(name, metric.title, metric.meaning) for name, metric in METRICS.items()]
    cells = "".join(
        f'<th scope="col" data-column="{name}" title="{escape(explanation)}"{_number_class(name)}>'
        f'<button type="button">{escape(title)}</button></th>'
        for name, title, explanation in heads
    )
    lines = [f'<table id="tensors"><thead><tr>{cells}</tr></thead>', "<tbody>"]
    lines += [_line(row) for row in ordered(rows, "relative")]
    return "\n".join([*lines, "</tbody></table>"])


def _number_class(column: str) -> str:
    return ' class="number"' if column in METRICS else ""


def _line(row: Row) -> str:
    name = escape(text.printable(row.name))
    remarks = "".join(f'<small class="{note.kind}">{escape(note.words)}</small>' for note in notes(row))
    cells = [f'<th scope="row" data-value="{name}">{name}{remarks}</th>']
    cells.append(f'<td class="{row.status}">{row.status}</td>')
    cells.append(f"<td>{escape(kind(row, _STYLE))}</td>")
    for metric in METRICS.values():
        value = metric.value(row.change)
        sortable = f' data-value="{value!r}"' if value is not None and math.isfinite(value) else ""
        cells.append(f'<td class="number"{sortable}>{escape(metric.show(row.change))}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _short(name: str) -> str:
    return text.fit(text.printable(name), 32).rstrip()
