"""The merge strategies by name: the built-in ones, and those of plug-in packages."""

from __future__ import annotations

from typing import Any

from git_theta.merges.interface import Strategy
from git_theta.merges.options import canonical
from git_theta.plugins import Registry

GROUP = "git_theta.plugins.merges"


def by_name(name: str) -> Strategy[Any]:
    """The strategy of that name; hyphens and underscores, upper and lower case are the same.

    Raises:
        ThetaError: there is none, or it cannot be loaded. Lists the known ones.
    """
    return _registry.by_name(canonical(name))


def names() -> list[str]:
    """The names of all strategies, sorted."""
    return sorted(_registry.names())


def _obeys(name: str, strategy: Strategy[Any]) -> bool:
    return isinstance(strategy, Strategy) and strategy.name == name


_registry: Registry[Strategy[Any]] = Registry(GROUP, "merge strategy", _obeys)
