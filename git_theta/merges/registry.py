"""The merge strategies by name: the built-in ones, and those of plug-in packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from math import isfinite
from typing import Any, get_args

from git_theta.errors import BrokenPlugin, ThetaError
from git_theta.merges import options as of_strategies
from git_theta.merges.interface import BaseUse, Coefficients, Strategy, Unit
from git_theta.merges.options import canonical, describe
from git_theta.plugins import Registry, one_of

APPLY = "apply"
"""What operations that apply a change use."""

SIDE = "side"
"""Takes the side that its option names."""

GROUP = "git_theta.plugins.merges"


def by_name(name: str) -> Strategy[Any]:
    """The strategy of that name; hyphens and underscores, upper and lower case are the same.

    Besides those that `names` lists, there are `apply` and `side`.

    Raises:
        ThetaError: there is none, or it cannot be loaded. Lists the known ones.
    """
    if canonical(name) == APPLY:
        return _apply()
    return _side() if canonical(name) == SIDE else _registry.by_name(canonical(name))


@cache
def _apply() -> Strategy[Any]:
    from git_theta.merges.strategies.applied import Apply

    return Apply()


@cache
def _side() -> Strategy[Any]:
    from git_theta.merges.strategies.named_side import NamedSide

    return NamedSide()


def names() -> list[str]:
    """The names of all strategies, sorted."""
    return sorted(_registry.names())


def usable(name: str) -> Strategy[Any] | None:
    """The strategy of a name that `names` gives, or None where it is broken, which a warning says."""
    return _registry.usable(name)


def calling(strategy: Strategy[Any]) -> AbstractContextManager[None]:
    """Where a strategy of another package computes: raises BrokenPlugin for what it raises by mistake.

    Its other methods are guarded wherever they are called.
    """
    return _registry.calling(strategy, ThetaError)


def parse(strategy: Strategy[Any], values: Mapping[str, str], origin: str) -> Any:
    """As merges.options.parse, of a strategy that may be of another package."""
    with _registry.calling(strategy, ThetaError):
        return of_strategies.parse(strategy, values, origin)


def fit(strategy: Strategy[Any], options: Any, count: int, chosen: Sequence[int] | None = None) -> Any:
    """As merges.options.fit, of a strategy that may be of another package."""
    with _registry.calling(strategy, ThetaError):
        return of_strategies.fit(strategy, options, count, chosen)


def broken() -> list[BrokenPlugin]:
    """What is wrong with the strategies of other packages."""
    return _registry.broken()


def flaw(strategy: Strategy[Any]) -> str:
    """How a strategy breaks the rules of its interface, in words; "" if it does not."""
    return _registry.flaw(strategy.name, strategy)


def _flaw(strategy: Strategy[Any]) -> str:
    if not isinstance(strategy, Strategy):
        return "it is no git_theta.merges.interface.Strategy"
    if strategy.name in (APPLY, SIDE):
        return f"no strategy of a package can be called {strategy.name}"
    absent = [name for name in _DESCRIPTION if not hasattr(strategy, name)]
    if absent:
        return f"it does not say its {', '.join(absent)}"
    wrong = [name for name in _DESCRIPTION[:-1] if not isinstance(getattr(strategy, name), str)]
    if wrong:
        return f"its {', '.join(wrong)} is no text"
    if strategy.base not in get_args(BaseUse):
        return f"its base is {strategy.base!r}, and not one of {', '.join(get_args(BaseUse))}"
    most = strategy.least if strategy.most is None else strategy.most
    if not (isinstance(strategy.least, int) and isinstance(most, int) and 1 <= strategy.least <= most):
        return f"it merges from {strategy.least!r} to {strategy.most!r} models"
    if strategy.takes is not None and not isinstance(strategy.takes, str):
        return f"it takes {strategy.takes!r}"
    describe(strategy)
    if strategy.statistics and not hasattr(strategy.options, strategy.statistics):
        return f"it has no option {strategy.statistics}, which its statistics are to come from"
    with suppress(ThetaError):  # there may be some that must be given
        hash(strategy.options())
    return ""


def _unit(found: Any, options: Any) -> Any:
    if found not in get_args(Unit):
        raise TypeError(f"it gave {found!r}, not one of {', '.join(get_args(Unit))}")
    return found


def _coefficients(found: Any, options: Any, count: int) -> Any:
    one_of(Coefficients, type(None))(found)
    if found is not None and not (len(found.values) == 1 + count and all(map(isfinite, found.values))):
        raise TypeError(f"it gave {found!r}")
    return found


_DESCRIPTION = ("summary", "formula", "reference", "use", "options")
_RESULTS: Mapping[str, Callable[..., Any]] = {
    "needs_base": one_of(bool),
    "unit": _unit,
    "surveys": one_of(bool),
    "coefficients": _coefficients,
}
_registry: Registry[Strategy[Any]] = Registry(GROUP, "merge strategy", _flaw, _RESULTS)
