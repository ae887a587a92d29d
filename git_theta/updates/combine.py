"""combine: predicts a linear combination of several bases, as averaging and interpolating models gives.

The tools that do this round at different places; what is recorded is the arithmetic that fits a sample:

    f32     products and sums in float32 (float64 for 64-bit floats)
    f64     in float64
    f64c32  in float64 with coefficients rounded to float32
    step    in float32, rounded to the dtype after every operation

"Model soups" (arXiv:2203.05482); "Linear Interpolation in Parameter Space is Good Enough for Fine-Tuned
Language Models" (arXiv:2211.12092).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from git_theta import kernels, scratch
from git_theta.dtypes import DType
from git_theta.tensors import Tensor, retyped
from git_theta.updates.arithmetic import BLOCK, blocks, in_kernels, settle, weighted_sum, widened
from git_theta.updates.checks import alike, parameters_of
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target
from git_theta.updates.sampling import estimate, pieces
from git_theta.values import carrier, from_float, to_float

if TYPE_CHECKING:
    from git_theta.tensors import Bits
    from git_theta.values import Floats

ARITHMETICS = ("f32", "f64", "f64c32", "step")
_TRIED = 3  # bases that a search combines
_WORTH = 0.7  # of the error of fewer bases
_DENOMINATORS = (1, 2, 3, 4, 5, 8, 10, 16, 20, 100)


class Combine:
    """A sum of products, in the order of the bases. Parameters: `arithmetic`, `coefficients`."""

    name = "combine"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """The nearest bases with coefficients by least squares on a sample, where these fit much better."""
        near = alike(target, bases)[:_TRIED]
        if target.dtype.kind not in ("float", "complex") or len(near) < 2:
            return
        wanted, *columns = (_sample(tensor) for tensor in (target.tensor, *(base.tensor for base in near)))
        usable = np.isfinite(wanted) & np.isfinite(columns).all(axis=0)
        if np.count_nonzero(usable) < 16:
            return
        wanted, columns = wanted[usable], [column[usable] for column in columns]
        best, chosen = float(((wanted - columns[0]) ** 2).sum()), tuple[int, ...]((0,))
        coefficients = [1.0]
        for count in range(2, len(near) + 1):
            for others in combinations(range(1, len(near)), count - 1):
                found, error = _coefficients([columns[number] for number in (0, *others)], wanted)
                if error < _WORTH**2 * best:
                    best, chosen, coefficients = error, (0, *others), found
        if len(chosen) > 1:
            yield combined(target, [near[number] for number in chosen], coefficients)

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The combination."""
        with parameters_of(self.name):
            arithmetic, given = parameters.values["arithmetic"], parameters.values["coefficients"]
            coefficients = tuple(float(number) for number in given if type(number) in (int, float))
            if dtype.kind not in ("float", "complex") or arithmetic not in ARITHMETICS:
                raise ValueError(f"{dtype.name}, arithmetic {arithmetic!r}")
            if not 1 <= len(bases) == len(coefficients) == len(given) <= kernels.MOST_INPUTS:
                raise ValueError(f"{len(given)} coefficients for {len(bases)} bases")
            if not all(map(isfinite, coefficients)):
                raise ValueError("a coefficient that is not finite")
            return _Combined(
                tuple(retyped(base, dtype, shape) for base in bases), dtype, arithmetic, coefficients
            )


def combined(target: Target, bases: Sequence[Base], coefficients: Sequence[float]) -> Proposal:
    """The proposal to store a target as this combination, with the arithmetic that fits best.

    For merges, which know the coefficients.

    Raises:
        DamagedObject, MissingObject: a base cannot be read.
    """
    proposals = [
        Proposal(
            "combine",
            tuple(bases),
            Parameters({"arithmetic": arithmetic, "coefficients": [float(one) for one in coefficients]}),
        )
        for arithmetic in ARITHMETICS
    ]
    return min(proposals, key=lambda proposal: estimate(proposal, target))


@dataclass(frozen=True)
class _Combined:
    bases: tuple[Tensor, ...]
    dtype: DType
    arithmetic: str
    coefficients: tuple[float, ...]

    def predict(self, start: int, stop: int, out: Bits) -> None:
        count = stop - start
        kind = np.dtype(np.float64) if self.arithmetic.startswith("f64") else carrier(self.dtype)
        with (
            scratch.borrow(count * (len(self.bases) - 1), self.dtype.storage) as others,
            scratch.borrow(2 * BLOCK, kind) as room,
        ):
            parts = [out, *others.reshape(len(self.bases) - 1, count)]
            for base, bits in zip(self.bases, parts, strict=True):
                base.read(start, stop, bits)
            if in_kernels(self.dtype) and self.arithmetic != "step":
                kernels.weighted_sum(tuple(parts), self._factors(), kind == np.float64, out)
                return
            for first, last in blocks(0, count):
                total, values = room[: last - first], room[BLOCK : BLOCK + last - first]
                self._sum([bits[first:last] for bits in parts], values, total)
                settle(total, self.dtype, out[first:last], out[first:last])

    def _sum(self, block: list[Bits], values: Floats, total: Floats) -> None:
        numbers = (widened(bits, self.dtype, values) for bits in block)
        if self.arithmetic == "step":
            self._sum_in_steps(numbers, total)
        else:
            weighted_sum(self._factors(), numbers, total)

    def _factors(self) -> tuple[float, ...]:
        if self.arithmetic == "f64c32":
            return tuple(np.array(self.coefficients, np.float32).tolist())
        return self.coefficients

    def _sum_in_steps(self, numbers: Iterable[Floats], total: Floats) -> None:
        """As `weighted_sum`, but rounded to the dtype after every operation."""
        kind = total.dtype.type
        with np.errstate(all="ignore"):
            for place, (factor, values) in enumerate(zip(self.coefficients, numbers, strict=True)):
                product = self._rounded(values * kind(factor))
                total[:] = self._rounded(total + product) if place else product

    def _rounded(self, values: Floats) -> Floats:
        return to_float(from_float(values, self.dtype), self.dtype)


def _sample(tensor: Tensor) -> NDArray[np.float64]:
    parts = [to_float(tensor.read(start, stop), tensor.dtype) for start, stop in pieces(tensor)]
    return np.concatenate(parts)[::8].astype(np.float64)


def _coefficients(
    columns: list[NDArray[np.float64]], wanted: NDArray[np.float64]
) -> tuple[list[float], float]:
    """Least squares, and the squared error; simple fractions where they fit about as well."""
    matrix = np.stack(columns, axis=1)
    scale = float(np.abs(matrix).max()) or 1.0
    found = np.linalg.lstsq(matrix / scale, wanted / scale, rcond=None)[0]
    error = _error(matrix, found, wanted)
    for denominator in _DENOMINATORS:
        simple = np.array([float(Fraction(round(one * denominator), denominator)) for one in found.tolist()])
        # Rounding to the dtype leaves an error in any case; half as much again is what noise may add.
        if _error(matrix, simple, wanted) <= 1.05 * error:
            return simple.tolist(), error
    return found.tolist(), error


def _error(matrix: NDArray[Any], coefficients: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(((matrix @ coefficients - wanted) ** 2).sum())
