"""The merge strategies by name: the built-in ones, and those of plug-in packages."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from git_theta.errors import BrokenPlugin, ThetaError
from git_theta.merges.interface import Strategy
from git_theta.merges.options import canonical, describe
from git_theta.plugins import Registry

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
    """Where a strategy of another package is called: raises BrokenPlugin for what it raises by mistake."""
    return _registry.calling(strategy, ThetaError, OSError)


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
    describe(strategy)
    return ""


_DESCRIPTION = ("summary", "formula", "reference", "use", "options")
_registry: Registry[Strategy[Any]] = Registry(GROUP, "merge strategy", _flaw)
