"""Finding the checkpoint formats: the built-in ones and those of plug-in packages.

All are entry points of the group `git_theta.plugins.checkpoints`. Loading importlib.metadata and asking it
for the entry points of every installed package costs tens of milliseconds, in a process that Git starts for
every `git add`. So git-theta's own formats come first, from the one file that lists them, and the others
are only looked for when these have no answer.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from git_theta import __version__
from git_theta.checkpoints.layout import Format
from git_theta.errors import ThetaError

GROUP = "git_theta.plugins.checkpoints"
OPAQUE = "opaque"
"""What manifests call the format of a file that no format recognises; no plug-in may have this name."""

PROBE = 4096
"""How many first bytes of a file `detect` is given, where the file has that many."""

_INSTALLED = f"git_theta-{__version__}.dist-info/entry_points.txt"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")


def detect(head: bytes, pathname: str) -> Format | None:
    """The format of a file, or None where no format recognises it.

    The first bytes decide. Where several formats recognise them, the one that lists the file's suffix is
    taken, else the first: built-in ones before others, then by name.

    Args:
        head: the first PROBE bytes of the file, or all that it has.
        pathname: its name.
    """
    for known in (_built_in, formats):
        fitting = [one for one in known().values() if one.recognises(head[: one.probe])]
        named = [one for one in fitting if pathname.lower().endswith(one.suffixes)]
        if named:
            return named[0]
    return fitting[0] if fitting else None


def by_name(name: str) -> Format:
    """The format that a manifest names. Raises ThetaError, listing the known ones, where there is none."""
    known: Mapping[str, Format] = _built_in()
    if name not in known:
        known = formats()
    if name not in known:
        raise ThetaError(
            f"no checkpoint format is called {name!r}; known: {', '.join(sorted(known))}",
            "pip install the plug-in package that brings it",
        )
    return known[name]


@cache
def formats() -> Mapping[str, Format]:
    """Every format by name, the built-in ones first.

    Raises:
        ThetaError: a plug-in cannot be loaded, breaks the interface, or has a name that is taken.
    """
    from importlib.metadata import entry_points

    found = dict(_built_in())
    own = dict(_own_entry_points())
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if own.get(point.name) == point.value:
            continue
        package = point.dist.name if point.dist else point.value
        if point.name in found:
            raise ThetaError(
                f"the checkpoint format {point.name!r} of package {package} has a name that is taken; "
                f"taken: {', '.join(found)}",
                f"pip uninstall {package}",
            )
        found[point.name] = _load(point.name, point.value, package)
    return MappingProxyType(found)


@cache
def _built_in() -> Mapping[str, Format]:
    return {name: _load(name, value, "git-theta") for name, value in _own_entry_points()}


@cache
def _own_entry_points() -> tuple[tuple[str, str], ...]:
    # The file that pip wrote when it installed git-theta. Its place is known but for the folder; where
    # that fails (an unusual kind of installation), importlib.metadata finds it.
    for folder in sys.path:
        try:
            with open(f"{folder or '.'}/{_INSTALLED}", encoding="utf-8") as file:
                return tuple(_entries(file.read()))
        except OSError:
            continue
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        points = distribution("git-theta").entry_points
    except PackageNotFoundError:
        raise ThetaError("git-theta is not installed as a package", "pip install git-theta") from None
    return tuple((point.name, point.value) for point in points if point.group == GROUP)


def _entries(text: str) -> list[tuple[str, str]]:
    section, found = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[] \t")
        elif section == GROUP and "=" in line:
            name, value = line.split("=", 1)
            found.append((name.strip(), value.strip()))
    return found


def _load(name: str, value: str, package: str) -> Format:
    module, _, attribute = value.partition(":")
    try:
        loaded: Format = getattr(import_module(module), attribute)()
    except Exception as error:
        raise ThetaError(
            f"the checkpoint format {name!r} of package {package} cannot be loaded: {error!r}",
            f"pip install --upgrade {package}, or pip uninstall {package}",
        ) from error
    if loaded.name != name or not _NAME.match(name) or name == OPAQUE or not 0 < loaded.probe <= PROBE:
        raise ThetaError(
            f"the checkpoint format {name!r} of package {package} breaks the rules for formats: its entry "
            f"point and itself must have the same kebab-case name, and it may probe at most {PROBE} bytes",
            f"pip uninstall {package}",
        )
    return loaded
