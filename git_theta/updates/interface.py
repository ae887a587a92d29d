"""What an update is: how a tensor's bits are obtained from other tensors, exactly.

Every update *predicts* the tensor from its bases and parameters; what the prediction misses is stored as a
residual (see updates.residual). The residual makes every update exact, so a kind is only ever a way to
make residuals small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from git_theta.dtypes import DType
from git_theta.tensors import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from git_theta.tensors import Bits


@dataclass(frozen=True)
class Parameters:
    """What a prediction needs besides its bases.

    Attributes:
        values: small ones, as JSON can write them; part of what is stored.
        arrays: large ones by name: 1-D little-endian integer arrays of 1, 2, 4 or 8 bytes an item. They
            are compressed and stored in the object; the dtype of an array read back is the unsigned one,
            so kinds say in `values` how to view it.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.integer[Any]]] = field(default_factory=dict)


class Predictor(Protocol):
    """A prediction that can be evaluated range by range, on any machine with the same bits."""

    def predict(self, start: int, stop: int, out: Bits) -> None:
        """Fill `out` with the predicted bits of items [start, stop). Thread-safe."""
        ...


@dataclass(frozen=True)
class Target:
    """The tensor that is to be stored, and what is known about it."""

    name: str
    tensor: Tensor

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape


@dataclass(frozen=True)
class Base:
    """A stored tensor that a target may be predicted from.

    Attributes:
        of: digests of what it is predicted from itself.
        stored: bytes that its own update takes.
        depth: updates between it and dense data.
        chain: bytes of these updates, along the path on which they take the most.
    """

    name: str
    digest: str
    tensor: Tensor
    of: tuple[str, ...] = ()
    stored: int = 0
    depth: int = 0
    chain: int = 0


@dataclass(frozen=True)
class Proposal:
    """One way to predict a target: an update kind, its bases in order, and its parameters."""

    update: str
    bases: tuple[Base, ...]
    parameters: Parameters = field(default_factory=Parameters)


class Update(Protocol):
    """An update kind: the plug-in interface of the entry-point group `git_theta.plugins.updates`.

    The entry point names a class without constructor arguments.

    Attributes:
        name: kebab-case, as manifests record it.
    """

    name: str

    def propose(self, target: Target, bases: Sequence[Base]) -> Iterable[Proposal]:
        """Predictions that may be worth trying for this target, from cheap evidence on samples.

        Deterministic. Yields nothing where the kind does not apply.
        """
        ...

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Predictor:
        """The prediction of a tensor of this dtype and shape.

        Raises:
            DamagedObject: the parameters do not fit (they may come from a damaged or hostile object).
        """
        ...
