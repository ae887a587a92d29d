"""What is known of a tensor that changed, and the table of the numbers that are shown of it.

A metric is added here: in `METRICS`, and where it does not follow from what is measured, with a field of
`Change` that `diffs.metrics` fills. Options, tables, pages, totals and JSON all go through the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from git_theta.diffs import text
from git_theta.dtypes import DType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Change:
    """How a tensor's values differ from an older one's.

    Norms, and what follows from them, are None for dtypes without arithmetic. They leave out entries that
    are NaN or infinite on either side.

    Attributes:
        elements: compared ones.
        changed: elements whose bits differ (whose values differ, in a cast).
        norm: 2-norm of new - old, of all entries: for matrices the Frobenius norm.
        old_norm, new_norm: 2-norms of both sides.
        max_abs: the largest absolute difference.
        cosine: of old and new as vectors; None if one is zero.
        nans, infinities: elements that became NaN, or infinite.
        rank: numerical rank of new - old, where it is low; see diffs.rank.
        bins: differences by sign and exponent (see diffs.blocks.BINS), where asked for.
    """

    elements: int
    changed: int
    norm: float | None = None
    old_norm: float | None = None
    new_norm: float | None = None
    max_abs: float | None = None
    cosine: float | None = None
    nans: int = 0
    infinities: int = 0
    rank: int | None = None
    bins: NDArray[np.int64] | None = field(default=None, compare=False)

    @property
    def relative_norm(self) -> float | None:
        """norm / old_norm; None where the old tensor is zero and the new one is not."""
        if self.norm == 0:
            return 0.0
        return self.norm / self.old_norm if self.norm is not None and self.old_norm else None

    @property
    def rms(self) -> float | None:
        """Root mean square of the differences: the norm scaled by the root of the number of entries."""
        if self.norm is None:
            return None
        return self.norm / math.sqrt(self.elements) if self.elements else 0.0

    @property
    def changed_fraction(self) -> float:
        return self.changed / self.elements if self.elements else 0.0


@dataclass(frozen=True)
class Metric:
    """A number of a change that people can ask for.

    Attributes:
        field: its name in JSON.
        of: the number, or None where it is not known or does not apply.
        title: over the column; `plain` where only ASCII can be shown.
        meaning: for people who meet it the first time.
        importance: its place where there is not room for all.
        write: the number as people read it.
        total: its place among the numbers over several tensors, taken as one vector; None for a number that
            only a single tensor has.
        order: what rows are sorted by, the largest first; None where they cannot be.
    """

    field: str
    of: Callable[[Change], float | None]
    title: str
    plain: str
    meaning: str
    importance: int
    write: Callable[[Any], str] = text.number
    total: int | None = None
    order: Callable[[Change], float | None] | None = None

    def value(self, change: Change | None) -> float | None:
        """The number, or None where there is none."""
        return None if change is None else self.of(change)

    def show(self, change: Change | None) -> str:
        value = self.value(change)
        return "" if value is None else self.write(value)


def _farthest(change: Change) -> float | None:
    """From zero to something is farther than anything."""
    value = change.relative_norm
    return math.inf if value is None and change.norm else value


METRICS: dict[str, Metric] = {
    "relative": Metric(
        "relative_norm",
        lambda change: change.relative_norm,
        "‖Δ‖/‖w‖",
        "relative",
        "norm of the change over the norm of the old tensor",
        importance=1,
        total=2,
        order=_farthest,
    ),
    "norm": Metric(
        "norm",
        lambda change: change.norm,
        "‖Δ‖",
        "norm",
        "2-norm of new - old, over all entries: for a matrix its Frobenius norm",
        importance=3,
        total=1,
        order=lambda change: change.norm,
    ),
    "rms": Metric(
        "rms",
        lambda change: change.rms,
        "RMS Δ",
        "rms",
        "root mean square of the change: ‖Δ‖₂/√n for a vector, ‖Δ‖_F/√(mn) for a matrix",
        importance=7,
        total=3,
    ),
    "max": Metric(
        "max_abs",
        lambda change: change.max_abs,
        "max |Δ|",
        "max",
        "largest absolute change of an entry",
        importance=5,
        total=4,
    ),
    "cosine": Metric(
        "cosine",
        lambda change: change.cosine,
        "cosine",
        "cosine",
        "of old and new values, each taken as one vector",
        importance=6,
        write=text.cosine,
        total=5,
    ),
    "changed": Metric(
        "changed_fraction",
        lambda change: change.changed_fraction,
        "entries",
        "entries",
        "share of entries whose bits changed (in a cast: whose values changed)",
        importance=2,
        write=text.fraction,
        total=6,
        order=lambda change: change.changed_fraction,
    ),
    "rank": Metric(
        "rank",
        lambda change: change.rank,
        "rank",
        "rank",
        "numerical rank of the change, where it is at most 64",
        importance=4,
        write=str,
    ),
}
"""By the names that people choose them by, in the order in which tables show them."""


def by_importance() -> list[str]:
    """The names of all metrics, those first that are shown where there is not room for all."""
    return sorted(METRICS, key=lambda name: METRICS[name].importance)


def of_rows() -> list[Metric]:
    """The metrics of a row of JSON, in their order there: those first that totals have, too."""
    return sorted(METRICS.values(), key=lambda metric: (metric.total is None, metric.total))


def of_totals() -> list[Metric]:
    """The metrics of several tensors taken together, in the order in which they are told."""
    return [metric for metric in of_rows() if metric.total is not None]


def sorts() -> list[str]:
    """What rows can be sorted by: these metrics, or the tensors' names."""
    return [*(name for name, metric in METRICS.items() if metric.order is not None), "name"]


def together(changes: Sequence[Change]) -> Change | None:
    """The change of several tensors, as if they were one vector; None where there are none."""
    if not changes:
        return None
    normed = [change for change in changes if change.norm is not None]
    return Change(
        sum(change.elements for change in changes),
        sum(change.changed for change in changes),
        norm=_hypot(normed, "norm"),
        old_norm=_hypot(normed, "old_norm"),
        new_norm=_hypot(normed, "new_norm"),
        max_abs=max((change.max_abs or 0.0 for change in normed), default=None),
        cosine=_cosine(normed),
        nans=sum(change.nans for change in changes),
        infinities=sum(change.infinities for change in changes),
    )


def _hypot(changes: Sequence[Change], name: str) -> float | None:
    return math.hypot(*(getattr(change, name) or 0.0 for change in changes)) if changes else None


def _cosine(changes: Sequence[Change]) -> float | None:
    """The cosine of all old and all new values, each seen as one vector."""
    known = [change for change in changes if change.old_norm is not None and change.new_norm is not None]
    old, new, moved = (_hypot(known, name) or 0.0 for name in ("old_norm", "new_norm", "norm"))
    products = (
        (change.cosine or 0.0) * (change.old_norm or 0.0) * (change.new_norm or 0.0) for change in known
    )
    return cosine(old, new, moved, math.fsum(products))


def comparable(old: DType, new: DType) -> bool:
    """Whether values of two dtypes can be subtracted, or at least their bits compared."""
    return old == new or ("raw" not in (old.kind, new.kind) and old.components == new.components)


def cosine(old: float, new: float, difference: float, product: float) -> float | None:
    """The cosine of the angle between two vectors.

    Of close ones it is computed from norms, so that 1 - cosine keeps its digits.

    Args:
        old, new, difference: 2-norms of both and of new - old.
        product: their inner product.
    """
    if not old or not new:
        return None
    relative, growth, lengths = difference / old, new / old, old * new
    if relative > 0.5 and 0 < lengths < math.inf and math.isfinite(product):
        value = product / lengths
    else:
        value = 1 - (relative**2 - (growth - 1) ** 2) / (2 * growth)
    return max(-1.0, min(1.0, value)) if math.isfinite(value) else None
