"""dense: predicts nothing. Its values are stored as they are, in byte planes (see objects.codec)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from git_theta.dtypes import DType
from git_theta.errors import DamagedObject
from git_theta.tensors import Tensor
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target


class Dense:
    """The first version of a tensor, and every tensor that nothing known is near to."""

    name = "dense"

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """Always possible."""
        yield Proposal(self.name, ())

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """There is none: a dense tensor has no residual."""
        raise DamagedObject("a dense tensor is stored with a residual")
