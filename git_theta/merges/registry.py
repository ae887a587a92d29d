"""The merge strategies by name: the built-in ones, and those of plug-in packages."""

from __future__ import annotations

from functools import cache
from typing import Any

from git_theta.merges.interface import Strategy
from git_theta.merges.options import canonical
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


def _obeys(name: str, strategy: Strategy[Any]) -> bool:
    return isinstance(strategy, Strategy) and strategy.name == name


_registry: Registry[Strategy[Any]] = Registry(GROUP, "merge strategy", _obeys)
