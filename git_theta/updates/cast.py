"""cast: predicts the base converted to another dtype, as when fp32 weights are released as bf16 or fp8."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from git_theta import scratch
from git_theta.dtypes import DType, dtype
from git_theta.tensors import Tensor
from git_theta.updates.arithmetic import blocks
from git_theta.updates.checks import only_base, parameters_of
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target
from git_theta.values import Overflow, from_float, is_number, to_float

if TYPE_CHECKING:
    from git_theta.tensors import Bits

_OVERFLOWS = ("saturate", "nan")


class Cast:
    """The nearest value, ties to even; NaN keeps its sign alone.

    Parameters: `from`, the base's dtype; for 8-bit floats `overflow`, what becomes of numbers too large.
    """

    name = "cast"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """The first base of another dtype with the same elements."""
        for base in bases:
            if _convertible(base.tensor.dtype, target.dtype) and base.tensor.items == target.tensor.items:
                values = {"from": base.tensor.dtype.name}
                if not _is_float8(target.dtype):
                    yield Proposal(self.name, (base,), Parameters(values))
                    return
                for overflow in _OVERFLOWS:  # torch saturates, others do not
                    yield Proposal(self.name, (base,), Parameters({**values, "overflow": overflow}))
                return

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The base's values, rounded."""
        source, overflow = _source(dtype, parameters)
        return _Converted(only_base(self.name, source, shape, bases), dtype, overflow)


def _source(target: DType, parameters: Parameters) -> tuple[DType, Overflow]:
    with parameters_of("cast"):
        source, overflow = dtype(parameters.values["from"]), parameters.values.get("overflow", "nan")
        if not _convertible(source, target) or overflow not in _OVERFLOWS:
            raise ValueError(f"{source.name} to {target.name}, overflow {overflow!r}")
        return source, cast("Overflow", overflow)


@dataclass(frozen=True)
class _Converted:
    base: Tensor
    dtype: DType
    overflow: Overflow

    def predict(self, start: int, stop: int, out: Bits) -> None:
        with scratch.borrow(stop - start, self.base.dtype.storage) as bits:
            self.base.read(start, stop, bits)
            for first, last in blocks(0, stop - start):
                values = to_float(bits[first:last], self.base.dtype)
                from_float(values, self.dtype, out[first:last], self.overflow)


def _convertible(source: DType, target: DType) -> bool:
    same_parts = source.components == target.components
    return source != target and same_parts and is_number(source) and is_number(target)


def _is_float8(dtype: DType) -> bool:
    return dtype.kind == "float" and dtype.itemsize == 1
