"""Finding the merge strategies: the built-in ones and those of plug-in packages.

All are entry points of the group `git_theta.plugins.merges`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from git_theta.errors import ThetaError
from git_theta.merges.interface import Strategy
from git_theta.merges.options import canonical

GROUP = "git_theta.plugins.merges"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")


def names() -> list[str]:
    """The names of all strategies, sorted."""
    return sorted(_entry_points())


def by_name(name: str) -> Strategy[Any]:
    """The strategy of that name; hyphens and underscores, upper and lower case are the same.

    Raises:
        ThetaError: there is none, or it cannot be loaded. Lists the valid ones.
    """
    wanted = canonical(name)
    if wanted not in _entry_points():
        raise ThetaError(
            f"there is no merge strategy {name!r}; known: {', '.join(names())}",
            "see: git theta strategies",
        )
    return _load(wanted)


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (not _is_own(point), point.name)):
        if point.name in found and point.value != found[point.name].value:
            raise ThetaError(
                f"the merge strategy {point.name!r} of package {_package(point)} has a name that is taken; "
                f"taken: {', '.join(sorted(found))}",
                f"pip uninstall {_package(point)}",
            )
        found.setdefault(point.name, point)
    if not found:
        raise ThetaError("git-theta is not installed as a package", "pip install git-theta")
    return MappingProxyType(found)


@cache
def _load(name: str) -> Strategy[Any]:
    point = _entry_points()[name]
    try:
        strategy: Strategy[Any] = point.load()()
    except Exception as error:
        raise ThetaError(
            f"the merge strategy {name!r} of package {_package(point)} cannot be loaded: {error!r}",
            f"pip install --upgrade {_package(point)}, or pip uninstall {_package(point)}",
        ) from error
    if not isinstance(strategy, Strategy) or strategy.name != name or not _NAME.match(name):
        raise ThetaError(
            f"the merge strategy {name!r} of package {_package(point)} breaks the rules for strategies: it "
            "must be a git_theta.merges.interface.Strategy, and have its entry point's kebab-case name",
            f"pip uninstall {_package(point)}",
        )
    return strategy


def _is_own(point: EntryPoint) -> bool:
    return _package(point) == "git-theta"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
