"""The update kinds by name: the built-in ones, and those of plug-in packages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.errors import UPGRADE, BrokenPlugin, NewerObject, ThetaError
from git_theta.plugins import Registry, lacking, warn
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target, Update

if TYPE_CHECKING:
    from git_theta.dtypes import DType
    from git_theta.tensors import Bits, Tensor

GROUP = "git_theta.plugins.updates"
ALIASES = {"sparse": "delta", "ia3": "scale"}
"""What the original Git-Theta called the kinds that do the same here."""


def by_name(name: str) -> Update:
    """The update kind of that name, or of which it is the old name.

    Raises:
        ThetaError: there is none, or it cannot be loaded. Lists the known ones.
    """
    return _registry.by_name(ALIASES.get(name, name))


def stored_by(name: str) -> Update:
    """The update kind that something is stored by.

    Raises:
        NewerObject: it is of a newer git-theta, or of a package that is not installed or broken.
    """
    try:
        return by_name(name)
    except BrokenPlugin as error:
        raise NewerObject(error.message, error.remedy) from error
    except ThetaError:
        raise NewerObject(
            f"stored by the update kind {name!r}, which is not known here: it is of a newer git-theta, or "
            "of a plug-in package",
            f"{UPGRADE}, or pip install the package that brings {name!r}",
        ) from None


def names() -> tuple[str, ...]:
    """The names of all kinds, the built-in ones first."""
    return _registry.names()


def usable(name: str) -> Update | None:
    """The kind of a name that `names` gives, or None where its package is broken, which a warning says."""
    return _registry.usable(name)


@contextmanager
def calling(kind: Update) -> Iterator[None]:
    """Where a kind is called, which may be of another package.

    Raises:
        NewerObject: it has failed in a way that its interface does not know; a warning has said so.
    """
    try:
        with _registry.calling(kind, ThetaError):
            yield
    except BrokenPlugin as error:
        warn(error)
        raise NewerObject(error.message, error.remedy) from error


def predictor(
    kind: Update, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
) -> Predictor:
    """The prediction of a kind, which may be of another package.

    Raises:
        DamagedObject: the parameters do not fit.
        NewerObject: see `calling`.
    """
    with calling(kind):
        return _Called(kind, kind.predictor(dtype, shape, bases, parameters))


@dataclass(frozen=True)
class _Called:
    """A prediction whose failures name the package."""

    kind: Update
    predictor: Predictor

    def predict(self, start: int, stop: int, out: Bits) -> None:
        with calling(self.kind):
            self.predictor.predict(start, stop, out)


def broken() -> list[BrokenPlugin]:
    """What is wrong with the kinds of other packages."""
    return _registry.broken()


def flaw(kind: Update) -> str:
    """How an update kind breaks the rules of its interface, in words; "" if it does not."""
    return _registry.flaw(kind.name, kind)


def _flaw(kind: Update) -> str:
    if kind.name in ALIASES:
        return f"{kind.name} is what the original Git-Theta called another kind"
    return lacking(kind, "propose", "predictor")


def _proposals(found: Iterable[Proposal], target: Target, bases: Sequence[Base]) -> list[Proposal]:
    """What a kind proposes. Raises TypeError where it is nothing that can be stored."""
    proposals = list(found)
    there = {base.digest for base in bases}
    for one in proposals:
        parameters = one.parameters
        if one.update not in names():
            raise TypeError(f"it proposed an update of kind {one.update!r}, which nobody has")
        if not there.issuperset(base.digest for base in one.bases):
            raise TypeError(f"it proposed {one.update!r} from other bases than those that it was given")
        json.dumps(parameters.values)
        for name, array in parameters.arrays.items():
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise TypeError(f"it proposed the array {name!r} of {array.dtype} and shape {array.shape}")
    return proposals


def _predictor(found: Predictor, *given: object) -> Predictor:
    if absent := lacking(found, "predict"):
        raise TypeError(f"it gave no prediction: {absent}")
    return found


_RESULTS: Mapping[str, Callable[..., Any]] = {"propose": _proposals, "predictor": _predictor}
_registry: Registry[Update] = Registry(GROUP, "update kind", _flaw, _RESULTS)
