"""A comparison as a picture: a heat map of relative change, and a histogram. Needs the extra `plot`.

The same comparison gives the same bytes with one version of matplotlib: no dates, no random identifiers.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Literal

from git_theta.diffs import text
from git_theta.diffs.heat import Bars, Cell, HeatMap, bars, heat_map
from git_theta.diffs.report import Report
from git_theta.errors import ThetaError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = Literal["png", "svg"]

_MOST_LAYERS = 160  # more would be thinner than a line of pixels
_GREYS = {"unchanged": "#f1f1f1", "added": "#9fd6a8", "removed": "#e5a3a3", "unknown": "#f3d98b"}
_CHANGED = "#c8c8c8"  # changed, but by how much is not known
_ABOVE = {
    "loc": "lower right",
    "bbox_to_anchor": (1.0, 1.0),
    "fontsize": 7,
    "frameon": False,
    "borderaxespad": 0.1,
}
_FALLING, _RISING = "#b5654a", "#3b6ea5"


def render(report: Report, kind: Picture) -> bytes:
    """The picture as a file's bytes.

    Args:
        report: compared with `binned=True`, else there is no histogram.

    Raises:
        ThetaError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise ThetaError(
            "pictures need matplotlib, which is not installed", "pip install 'git-theta[plot]'"
        ) from None
    settings = {"svg.hashsalt": "git-theta", "svg.fonttype": "none", "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(settings):
        figure = Figure(layout="constrained")
        (FigureCanvasAgg if kind == "png" else FigureCanvasSVG)(figure)
        _draw(figure, report)
        target = io.BytesIO()
        metadata = {"Software": None} if kind == "png" else {"Date": None}
        figure.savefig(target, format=kind, dpi=100, metadata=metadata)
    return target.getvalue()


def _draw(figure: Figure, report: Report) -> None:
    heat, counts = heat_map(report), bars(report)
    rows = min(len(heat.layers), _MOST_LAYERS)
    height = max(2.2, 0.24 * rows) + 1.6
    width = max(7.0, 2.2 + 0.62 * len(heat.components))
    figure.set_size_inches(width, height + (2.6 if counts else 0.3))
    figure.suptitle(_title(report), fontsize=11, x=0.01, ha="left")
    if counts:
        upper, lower = figure.subplots(2, 1, height_ratios=(height, 2.1))
        _draw_bars(lower, counts)
    else:
        upper = figure.subplots()
    _draw_heat(figure, upper, heat)


def _title(report: Report) -> str:
    sides = " -> ".join(side.label for side in (report.old, report.new) if side and side.label)
    first = text.printable(f"{report.path}  {sides}".strip()).replace("->", "→")
    kinds = "; ".join(kind.text for kind in report.kinds).replace("->", "→")
    return "\n".join(line if len(line) <= 100 else f"{line[:99]}…" for line in (first, kinds) if line)


def _draw_heat(figure: Figure, axes: Axes, heat: HeatMap) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    axes.set_title("relative change ‖Δ‖/‖w‖ by layer and component", fontsize=9, loc="left")
    low, high = heat.bounds
    low = low if low < high else high / 10
    scale = ScalarMappable(LogNorm(low, high), colormaps["viridis_r"])
    shades = [[_shade(cell, scale) for cell in row] for row in heat.cells]
    if shades and shades[0]:
        axes.imshow(shades, aspect="auto", interpolation="nearest")
    step = max(1, math.ceil(len(heat.layers) / 48))
    names = [_short(name) for name in heat.layers]
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=7)
    columns = [_short(name) for name in heat.components]
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=7, rotation_mode="anchor")
    axes.set_xticks([place - 0.5 for place in range(1, len(columns))], minor=True)
    axes.set_yticks([place - 0.5 for place in range(1, len(names))], minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    states = {cell.state for row in heat.cells for cell in row if cell}
    _draw_legend(axes, sorted(states & _GREYS.keys()))
    if any(cell and cell.value for row in heat.cells for cell in row):
        ticks = [low * (high / low) ** (place / 4) for place in range(5)]
        colours = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.01, ticks=ticks)
        colours.ax.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=7)
        colours.ax.set_yticks([], minor=True)
        colours.outline.set_visible(False)


def _draw_legend(axes: Axes, states: list[str]) -> None:
    from matplotlib.patches import Patch

    if states:
        patches = [Patch(color=_GREYS[state], label=state) for state in states]
        axes.legend(handles=patches, ncols=len(patches), **_ABOVE)


def _shade(cell: Cell | None, scale: object) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    if cell is None:
        return 1.0, 1.0, 1.0, 0.0
    if cell.value:
        colour: tuple[float, ...] = scale.to_rgba(cell.value)  # type: ignore[attr-defined]
        return colour
    return to_rgba(_GREYS.get("unchanged" if cell.value == 0 else cell.state, _CHANGED))


def _draw_bars(axes: Axes, counts: Bars) -> None:
    axes.set_title("entries by the size of their change", fontsize=9, loc="left")
    number = len(counts.exponents)
    if number:
        places = range(1, number + 1)
        axes.bar([-place for place in places], counts.falling, width=0.9, color=_FALLING, label="fell")
        axes.bar(list(places), counts.rising, width=0.9, color=_RISING, label="rose")
    step = max(1, math.ceil(number / 7))
    ticks = range(0, number, step)
    sizes = [
        f"{2.0 ** counts.exponents[tick]:.0e}".replace("e-0", "e-").replace("e+0", "e+") for tick in ticks
    ]
    axes.set_xticks(
        [-(tick + 1) for tick in ticks] + [tick + 1 for tick in ticks],
        [f"−{size}" for size in sizes] + sizes,
        fontsize=7,
    )
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.set_xlabel(
        f"change (each bar a factor of two); {text.count(counts.still)} entries did not change", fontsize=8
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if number:
        axes.legend(**_ABOVE, ncols=2)


def _short(name: str) -> str:
    return text.fit(text.printable(name), 32).rstrip() if len(name) > 32 else text.printable(name)
