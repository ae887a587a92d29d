"""What is known of a tensor that changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
