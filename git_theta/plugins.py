"""Finding plug-ins: the built-in ones and those of other packages.

All are entry points. Importing importlib.metadata and asking it for every installed package costs tens of
milliseconds, in a process that Git starts for every `git add`. So git-theta's own entry points are read
from the one file that lists them, and other packages are only looked at when these have no answer; and of
those, importlib.metadata is only asked where one of their files mentions the group.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from git_theta import __version__
from git_theta.errors import ThetaError

_T = TypeVar("_T")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_PACKAGE = "git-theta"
_PACKAGES = (".dist-info", ".egg-info", ".egg")
_OWN = re.compile(r"git_theta[-.]")


class Registry(Generic[_T]):
    """The plug-ins of one entry-point group. Each entry point names a class without constructor arguments.

    Args:
        group: name of the entry-point group.
        what: what a plug-in is, for messages.
        obeys: whether an object of the class follows the rules of the interface, given its name.
    """

    def __init__(self, group: str, what: str, obeys: Callable[[str, _T], bool]) -> None:
        self.group = group
        self._what = what
        self._obeys = obeys
        self._loaded: dict[str, _T] = {}

    def by_name(self, name: str) -> _T:
        """The plug-in of that name. Raises ThetaError, listing the known ones, where there is none."""
        known = self._own if name in self._own else self._all
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            raise ThetaError(
                f"there is no {self._what} {name!r}; known: {', '.join(sorted(known))}",
                f"did you mean {near[0]}?" if near else "pip install the package that brings it",
            )
        return self._load(name, *known[name])

    def names(self) -> tuple[str, ...]:
        """The names of all plug-ins, the built-in ones first. Raises ThetaError if two have the same."""
        return tuple(self._all)

    @cached_property
    def _own(self) -> Mapping[str, tuple[str, str]]:
        return {name: (value, _PACKAGE) for group, name, value in _own_entry_points() if group == self.group}

    @cached_property
    def _all(self) -> Mapping[str, tuple[str, str]]:
        """Entry point and package by name."""
        found = dict(self._own)
        if not _others_mention(self.group):
            return MappingProxyType(found)
        from importlib.metadata import entry_points

        for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
            package = point.dist.name if point.dist else point.value
            if point.name in found:
                if found[point.name][0] == point.value:
                    continue  # git-theta's own, or a package that is found twice on the path
                raise ThetaError(
                    f"the {self._what} {point.name!r} of package {package} has a name that is taken; "
                    f"taken: {', '.join(found)}",
                    f"pip uninstall {package}",
                )
            found[point.name] = point.value, package
        return MappingProxyType(found)

    def _load(self, name: str, value: str, package: str) -> _T:
        if name not in self._loaded:
            module, _, attribute = value.partition(":")
            try:
                plugin: _T = getattr(import_module(module), attribute)()
            except Exception as error:
                raise ThetaError(
                    f"the {self._what} {name!r} of package {package} cannot be loaded: {error!r}",
                    f"pip install --upgrade {package}, or pip uninstall {package}",
                ) from error
            if not _NAME.match(name) or not self._obeys(name, plugin):
                raise ThetaError(
                    f"the {self._what} {name!r} of package {package} breaks the interface's rules",
                    f"pip uninstall {package}",
                )
            self._loaded[name] = plugin
        return self._loaded[name]


@cache
def _own_entry_points() -> tuple[tuple[str, str, str], ...]:
    """Group, name and value of git-theta's entry points."""
    # The file that pip wrote when it installed git-theta. Its place is known but for the folder; where that
    # fails (an unusual kind of installation), importlib.metadata finds it.
    for folder in sys.path:
        path = Path(folder, f"git_theta-{__version__}.dist-info", "entry_points.txt")
        try:
            return tuple(_entries(path.read_text(encoding="utf-8")))
        except OSError:
            continue
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        points = distribution(_PACKAGE).entry_points
    except PackageNotFoundError:
        raise ThetaError("git-theta is not installed as a package", "pip install git-theta") from None
    return tuple((point.group, point.name, point.value) for point in points)


def _others_mention(group: str) -> bool:
    """Whether importlib.metadata may know an entry point of this group in another package than git-theta."""
    for folder in sys.path:
        try:
            packages = [one for one in Path(folder).iterdir() if one.name.endswith(_PACKAGES)]
        except FileNotFoundError:
            continue
        except OSError:
            return True  # an archive
        for package in packages:
            try:
                text = (package / "entry_points.txt").read_bytes()
            except FileNotFoundError:
                if package.suffix == ".egg":
                    return True
                continue
            except OSError:
                continue
            if group.encode() in text and not _OWN.match(package.name):
                return True
    return False


def _entries(text: str) -> list[tuple[str, str, str]]:
    section, found = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[] \t")
        elif "=" in line:
            name, value = line.split("=", 1)
            found.append((section, name.strip(), value.strip()))
    return found
