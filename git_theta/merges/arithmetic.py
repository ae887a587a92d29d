"""Linear combinations of tensors, exactly defined, in NumPy: no torch is needed for them.

The result of most simple merges is Σ cᵢ xᵢ. It is computed in float32 where every input and the result have
at most 16 bits an item, else in float64: each product is rounded, then each sum, from the first input to the
last, inputs with coefficient 0 left out (see updates.arithmetic.weighted_sum); then the result is rounded
once to the dtype of the merged tensor, to nearest, ties to even. So the bits are the same on every machine,
and an update of kind `combine` predicts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from git_theta.dtypes import DType
from git_theta.merges.interface import Strategy

Arithmetic = Literal["f32", "f64"]


@dataclass(frozen=True)
class Linear:
    """How a merged tensor follows from its inputs.

    Attributes:
        coefficients: over [base, *models]; what has coefficient 0 adds nothing.
        arithmetic: what it was computed in.
        regular: whether every entry is this sum, rounded: in none was an input or a result not finite, for
            which there are rules of their own (see inputs.Holes).
    """

    coefficients: tuple[float, ...]
    arithmetic: Arithmetic
    regular: bool = True


def linear_coefficients(strategy: Strategy[Any], options: Any, count: int) -> tuple[float, ...] | None:
    """The coefficients over [base, *models] of a strategy that is a fixed linear combination, else None.

    Args:
        options: fitted to `count` models (merges.options.fit).
    """
    found = strategy.coefficients(options, count)
    return found.values if found else None


def arithmetic_for(dtypes: Iterable[DType]) -> Arithmetic:
    """What a linear combination of inputs and a result of these float dtypes is computed in."""
    return "f32" if all(dtype.itemsize <= 2 for dtype in dtypes) else "f64"


def float_type(arithmetic: Arithmetic) -> np.dtype[np.floating[Any]]:
    """NumPy's type for that."""
    return np.dtype(np.float32 if arithmetic == "f32" else np.float64)


def round_to_odd(values: NDArray[np.float64]) -> None:
    """Round to float32 in place so that rounding the result to a narrower type is as rounding at once.

    What float32 cannot hold becomes its neighbour whose last bit is 1: never a tie, and on the right side.
    """
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    bits = narrow.view(np.uint32)
    inexact = (narrow != values) & np.isfinite(values)
    bits[inexact & (np.abs(narrow) > np.abs(values))] -= 1
    bits[inexact] |= 1
    values[:] = narrow
