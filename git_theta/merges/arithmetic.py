"""Linear combinations of tensors, exactly defined, in NumPy: no torch is needed for them.

The result of most simple merges is Σ cᵢ xᵢ. It is computed in float32 where every input and the result have
at most 16 bits an item, else in float64: each product is rounded, then each sum, from the first input to the
last, inputs with coefficient 0 left out; then the result is rounded once to the dtype of the merged tensor,
to nearest, ties to even. So the bits are the same on every machine, and an update of kind `combine` can
predict them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from git_theta.dtypes import DType
from git_theta.merges.interface import Strategy
from git_theta.values import to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

Arithmetic = Literal["f32", "f64"]


@dataclass(frozen=True)
class Linear:
    """How a merged tensor follows from its inputs.

    Attributes:
        coefficients: over [base, *models]; inputs with coefficient 0 were not read.
        arithmetic: what it was computed in.
    """

    coefficients: tuple[float, ...]
    arithmetic: Arithmetic


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


def combine(coefficients: Sequence[float], inputs: Iterable[Floats], out: Floats) -> None:
    """Fill `out` with Σ cᵢ xᵢ, computed in its type.

    Args:
        inputs: of the type and length of `out`; each is overwritten before the next is asked for.
    """
    kind = out.dtype.type
    out.fill(0)
    with np.errstate(all="ignore"):
        for place, (coefficient, values) in enumerate(zip(coefficients, inputs, strict=True)):
            if place == 0:
                np.multiply(values, kind(coefficient), out=out)
            else:
                np.multiply(values, kind(coefficient), out=values)
                np.add(out, values, out=out)


def widened(bits: Bits, dtype: DType, out: Floats) -> Floats:
    """The values of items in `out`, which may be wider than the dtype needs."""
    if out.dtype == np.float64 and dtype.itemsize < 4:
        np.copyto(out, to_float(bits, dtype))
        return out
    return to_float(bits, dtype, out)
