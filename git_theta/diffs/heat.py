"""The numbers behind the pictures: relative change by layer and component, and a histogram of changes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from git_theta.diffs import layers
from git_theta.diffs.report import Report, Row, total

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

State = Literal["changed", "unchanged", "added", "removed", "unknown"]

_NUMBERED = re.compile(r"(?<![^./])\d+(?![^./])")  # a part of a name that is a number
_BIAS = 127  # of float32 exponents, which the bins are
_RARE = 1e-6  # bins at the ends that hold a smaller share of the changes are left out


@dataclass(frozen=True)
class Cell:
    """One component of one layer.

    Attributes:
        value: relative norm of the change; None where there is none.
        names: the tensors in it: several where they differ by a number only, as experts do.
    """

    state: State
    value: float | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class HeatMap:
    """Relative change by layer (rows) and component (columns); None where a layer has no such component."""

    layers: tuple[str, ...]
    components: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest positive value; 0.1 and 1 where there is none."""
        values = [cell.value for row in self.cells for cell in row if cell and cell.value]
        return (min(values), max(values)) if values else (0.1, 1.0)


@dataclass(frozen=True)
class Bars:
    """How many entries changed by how much: bins are powers of two, of either sign.

    Attributes:
        exponents: of the bins: from 2**e up to 2**(e + 1).
        falling, rising: entries whose value fell, or rose, by that much.
        still: entries that did not change.
    """

    exponents: tuple[int, ...]
    falling: tuple[int, ...]
    rising: tuple[int, ...]
    still: int


def heat_map(report: Report) -> HeatMap:
    """The heat map of a report. Tensors of no layer stand under their own name's first parts."""
    changed: dict[tuple[str, str], list[Row]] = {}
    still: dict[tuple[str, str], list[str]] = {}
    for row in report.rows:
        changed.setdefault(_place(row.name), []).append(row)
    for name in report.unchanged:
        still.setdefault(_place(name), []).append(name)
    places = [*changed, *still]
    names = sorted({layer for layer, _ in places}, key=_outside_last)
    components = _components(places)
    cells = tuple(
        tuple(
            _cell(changed.get((layer, component), ()), still.get((layer, component), ()))
            for component in components
        )
        for layer in names
    )
    return HeatMap(tuple(names), tuple(components), cells)


def bars(report: Report) -> Bars | None:
    """The histogram over all tensors; None if differences were not counted (see compare_checkpoints)."""
    counted = [row.change.bins for row in report.rows if row.change and row.change.bins is not None]
    if not counted:
        return None
    counts = _summed(counted)
    rising, falling = counts[1:255], counts[257:511]  # 0 is zero and too small for float32, 255 infinite
    both = rising + falling
    used = [place for place, number in enumerate(both) if number > _RARE * both.sum()]
    span = range(used[0], used[-1] + 1) if used else range(0)
    return Bars(
        tuple(place + 1 - _BIAS for place in span),
        tuple(int(falling[place]) for place in span),
        tuple(int(rising[place]) for place in span),
        int(counts[0] + counts[256]),
    )


def _summed(counted: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    result: NDArray[np.int64] = sum(counted[1:], counted[0])
    return result


def _place(name: str) -> tuple[str, str]:
    """Layer and component, without the numbers of experts; for tensors of no layer, split at the last dot."""
    layer, component = layers.split(name)
    if layer:
        return layer, _NUMBERED.sub("#", component)
    head, dot, tail = name.rpartition(".")
    return (head, tail) if dot else ("", name)


def _outside_last(layer: str) -> tuple[bool, object]:
    """Numbered layers in their order, then what is outside of them."""
    return not any(part.isdigit() for part in layer.replace("/", ".").split(".")), layers.natural(layer)


def _components(places: Iterable[tuple[str, str]]) -> list[str]:
    """The components of numbered layers, then those that only tensors outside of them have."""
    outside: dict[str, bool] = {}
    for layer, component in places:
        outside[component] = _outside_last(layer)[0] and outside.get(component, True)
    return sorted(outside, key=lambda component: (outside[component], layers.natural(component)))


def _cell(rows: Sequence[Row], still: Sequence[str]) -> Cell | None:
    if not rows:
        return Cell("unchanged", 0.0, tuple(still)) if still else None
    names = tuple(row.name for row in rows)
    totals = total(rows)
    if totals.change is not None and totals.change.norm is not None:
        value = totals.change.relative_norm
        return Cell("changed", value if value is not None and math.isfinite(value) else None, names)
    state: State = "changed"
    if any(row.unknown for row in rows):
        state = "unknown"
    elif all(row.status == "added" for row in rows):
        state = "added"
    elif all(row.status == "removed" for row in rows):
        state = "removed"
    return Cell(state, None, names)
