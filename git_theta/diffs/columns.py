"""The numbers that tables of changes can show, by the names that users choose them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from git_theta.diffs import text


@dataclass(frozen=True)
class Metric:
    """A column of numbers.

    Attributes:
        field: the attribute of a Change, and of Totals, that has the number; also its name in JSON.
        title: over the column; `plain` where only ASCII can be shown.
        explanation: for people who meet it the first time.
    """

    field: str
    title: str
    plain: str
    explanation: str
    write: Callable[[Any], str] = text.number

    def value(self, measured: object) -> float | None:
        """The number, or None where it is not known or does not apply."""
        found: float | None = getattr(measured, self.field, None)
        return found

    def show(self, measured: object) -> str:
        value = self.value(measured)
        return "" if value is None else self.write(value)


METRICS: Mapping[str, Metric] = {
    "relative": Metric(
        "relative_norm", "‖Δ‖/‖w‖", "relative", "norm of the change over norm of the old tensor"
    ),
    "norm": Metric("norm", "‖Δ‖", "norm", "2-norm (Frobenius norm) of the change"),
    "rms": Metric("rms", "RMS Δ", "rms", "root mean square of the change"),
    "max": Metric("max_abs", "max |Δ|", "max", "largest absolute change of an entry"),
    "cosine": Metric("cosine", "cosine", "cosine", "cosine of old and new values", text.cosine),
    "changed": Metric("changed_fraction", "entries", "entries", "share of entries changed", text.fraction),
    "rank": Metric("rank", "rank", "rank", "numerical rank of the change, where it is low", str),
}
"""In the order in which they are shown."""

BY_IMPORTANCE = ("relative", "changed", "norm", "rank", "max", "cosine", "rms")
"""Which are shown first where there is not room for all."""
