"""Checks that the update kinds share: of bases, and of parameters that may be damaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from git_theta.dtypes import DType
from git_theta.errors import DamagedObject, ThetaError
from git_theta.tensors import Tensor, retyped
from git_theta.updates.interface import Base, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def alike(target: Target, bases: Sequence[Base]) -> list[Base]:
    """The bases of the target's dtype with as many items."""
    return [
        base
        for base in bases
        if base.tensor.dtype == target.dtype and base.tensor.items == target.tensor.items
    ]


def only_base(kind: str, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor]) -> Tensor:
    """The one base that there must be, read as dtype and shape. Raises DamagedObject."""
    with parameters_of(kind):
        (base,) = bases
        return retyped(base, dtype, shape)


@contextmanager
def parameters_of(kind: str) -> Iterator[None]:
    """Turns what wrong parameters lead to into DamagedObject."""
    try:
        yield
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DamagedObject(f"the parameters of update {kind!r} do not fit its tensor ({error})") from None
    except ThetaError as error:
        raise DamagedObject(
            f"the parameters of update {kind!r} do not fit its tensor ({error.message})"
        ) from None


def integer(value: Any, least: int, most: int) -> int:
    """An integer between bounds, both included. Raises ValueError."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is no integer from {least} to {most}")
    return value


def array(arrays: Mapping[str, NDArray[np.integer[Any]]], name: str, kind: str, size: int) -> NDArray[Any]:
    """A parameter array of that many items, viewed as NumPy type `kind`. Raises KeyError, ValueError."""
    found = arrays[name]
    if found.itemsize != int(kind[-1]) or found.shape != (size,):
        raise ValueError(f"array {name!r} is not {size} items of {kind[-1]} bytes")
    return found.view(kind)
