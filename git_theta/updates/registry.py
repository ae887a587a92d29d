"""The update kinds by name: the built-in ones, and those of plug-in packages."""

from __future__ import annotations

from git_theta.errors import UPGRADE, NewerObject, ThetaError
from git_theta.plugins import Registry
from git_theta.updates.interface import Update

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
        NewerObject: it is of a newer git-theta, or of a package that is not installed.
        ThetaError: it cannot be loaded.
    """
    try:
        return by_name(name)
    except ThetaError:
        if name in names():
            raise
        raise NewerObject(
            f"stored by the update kind {name!r}, which is not known here: it is of a newer git-theta, or "
            "of a plug-in package",
            f"{UPGRADE}, or pip install the package that brings {name!r}",
        ) from None


def names() -> tuple[str, ...]:
    """The names of all kinds, the built-in ones first."""
    return _registry.names()


def _obeys(name: str, kind: Update) -> bool:
    methods = (getattr(kind, method, None) for method in ("propose", "predictor"))
    return getattr(kind, "name", None) == name and name not in ALIASES and all(map(callable, methods))


_registry: Registry[Update] = Registry(GROUP, "update kind", _obeys)
