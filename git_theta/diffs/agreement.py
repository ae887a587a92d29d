"""How far two task vectors agree: what each side of a merge changed of a common base.

What that means for a merge was measured: see diffs.outlook. What says most is how far the weights themselves
lie apart, which the task vectors do not see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Two task vectors, or parts of them, against their base.

    Attributes:
        elements: compared ones.
        ours_changed, theirs_changed: elements whose bits differ from the base's.
        both_changed: elements that both sides changed.
        conflicts: those of them that one side made larger and the other smaller.
        base_norm: 2-norm of the base.
        ours_norm, theirs_norm: 2-norms of the task vectors.
        product: the inner product of the task vectors.
    """

    elements: int = 0
    ours_changed: int = 0
    theirs_changed: int = 0
    both_changed: int = 0
    conflicts: int = 0
    base_norm: float = 0.0
    ours_norm: float = 0.0
    theirs_norm: float = 0.0
    product: float = 0.0

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the task vectors; None if one of them is zero."""
        lengths = self.ours_norm * self.theirs_norm
        if not 0 < lengths < math.inf or not math.isfinite(self.product):
            return None
        return max(-1.0, min(1.0, self.product / lengths))

    @property
    def conflict_fraction(self) -> float | None:
        """Share of the entries that both sides changed whose signs conflict; None if there are none."""
        return self.conflicts / self.both_changed if self.both_changed else None

    @property
    def overlap_fraction(self) -> float | None:
        """Entries that both sides changed, as a share of those that either did."""
        either = self.ours_changed + self.theirs_changed - self.both_changed
        return self.both_changed / either if either else None

    @property
    def ours_relative(self) -> float | None:
        return self.ours_norm / self.base_norm if self.base_norm else None

    @property
    def theirs_relative(self) -> float | None:
        return self.theirs_norm / self.base_norm if self.base_norm else None


def together(parts: Iterable[Agreement]) -> Agreement:
    """The agreement of several tensors, or ranges of one, added up as if they were one vector."""
    parts = list(parts)
    return Agreement(
        sum(part.elements for part in parts),
        sum(part.ours_changed for part in parts),
        sum(part.theirs_changed for part in parts),
        sum(part.both_changed for part in parts),
        sum(part.conflicts for part in parts),
        math.hypot(*(part.base_norm for part in parts)),
        math.hypot(*(part.ours_norm for part in parts)),
        math.hypot(*(part.theirs_norm for part in parts)),
        sum(part.product for part in parts),
    )


@dataclass(frozen=True)
class Weights:
    """Ours and theirs themselves, or parts of them.

    Attributes:
        base, ours, theirs: 2-norms of their values.
        distance: 2-norm of ours minus theirs.
        product: the inner product of ours and theirs.
    """

    base: float = 0.0
    ours: float = 0.0
    theirs: float = 0.0
    distance: float = 0.0
    product: float = 0.0

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the models; None if one of them is zero."""
        lengths = self.ours * self.theirs
        if not 0 < lengths < math.inf or not math.isfinite(self.product):
            return None
        return max(-1.0, min(1.0, self.product / lengths))

    @property
    def relative_distance(self) -> float | None:
        """The distance of ours from theirs, as a multiple of the base's norm; None without one."""
        return self.distance / self.base if self.base else None


def alike(norm: float) -> Weights:
    """The weights of a tensor that is the same on all sides, from its norm alone."""
    return Weights(norm, norm, norm, 0.0, norm * norm)


def all_weights(parts: Iterable[Weights]) -> Weights:
    """The weights of several tensors, or ranges of one, added up as if they were one vector."""
    parts = list(parts)
    return Weights(
        math.hypot(*(part.base for part in parts)),
        math.hypot(*(part.ours for part in parts)),
        math.hypot(*(part.theirs for part in parts)),
        math.hypot(*(part.distance for part in parts)),
        sum(part.product for part in parts),
    )
