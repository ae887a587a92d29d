"""delta: predicts the base itself. For fine-tuning; sparse changes are found by the residual coder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.dtypes import DType
from git_theta.tensors import Tensor
from git_theta.updates.checks import alike, only_base
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target

if TYPE_CHECKING:
    from git_theta.tensors import Bits


class Delta:
    """The base's bits, whatever they mean."""

    name = "delta"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """The nearest base of the same dtype and as many items."""
        for base in alike(target, bases)[:1]:
            yield Proposal(self.name, (base,))

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The base itself."""
        return _Same(only_base(self.name, dtype, shape, bases))


@dataclass(frozen=True)
class _Same:
    base: Tensor

    def predict(self, start: int, stop: int, out: Bits) -> None:
        self.base.read(start, stop, out)
