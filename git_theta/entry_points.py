"""The entry points of plug-ins: which packages bring some, and what each is called.

Importing importlib.metadata and asking it for every installed package costs tens of milliseconds, in a
process that Git starts for every `git add`. So git-theta's own entry points are read from the one file that
lists them, and those of other packages here as well: one that cannot be read must not hide the others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from git_theta import __version__
from git_theta.errors import ThetaError

_GROUPS = b"git_theta.plugins"
_PACKAGE = "git-theta"
_OWN = re.compile(r"git_theta[-.]")
_NAME_LINE = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)
_INFO = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}
"""Endings of the folders in which installed packages describe themselves, and the file with the name."""


@dataclass(frozen=True)
class Entry:
    """An entry point.

    Attributes:
        value: MODULE:CLASS.
        removal: what to type to be rid of its package.
    """

    group: str
    name: str
    value: str
    package: str = _PACKAGE
    removal: str = ""

    @property
    def built_in(self) -> bool:
        return self.package == _PACKAGE


@cache
def own_entry_points() -> tuple[Entry, ...]:
    # The file that pip wrote when it installed git-theta. Its place is known but for the folder; where that
    # fails (an unusual kind of installation), importlib.metadata finds it.
    for folder in sys.path:
        path = Path(folder, f"git_theta-{__version__}.dist-info", "entry_points.txt")
        try:
            rows, _ = _rows(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        return tuple(Entry(*row) for row in rows)
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        points = distribution(_PACKAGE).entry_points
    except PackageNotFoundError:
        raise ThetaError("git-theta is not installed as a package", "pip install git-theta") from None
    return tuple(Entry(point.group, point.name, point.value) for point in points)


def other_entry_points() -> Iterator[Entry]:
    """What other packages bring; of those that are there twice, the one that Python would import."""
    seen = set()
    for folder in map(Path, sys.path):
        packages: list[tuple[str, Sequence[Entry]]] = []
        with suppress(Exception):  # what cannot be read has no packages for Python either
            is_archive = folder.is_file() or folder.suffix == ".egg"
            packages += _archived(folder) if is_archive else _installed(folder)
        for package, entries in packages:
            name = re.sub(r"[-_.]+", "-", package).lower()
            if name != _PACKAGE and name not in seen:
                seen.add(name)
                yield from entries


def _installed(folder: Path) -> Iterator[tuple[str, Sequence[Entry]]]:
    """Packages in a folder that have plug-ins of git-theta, and their entry points."""
    for info in sorted(folder.iterdir()):
        if info.suffix not in _INFO or _OWN.match(info.name):
            continue
        try:
            written = (info / "entry_points.txt").read_bytes()
        except OSError:
            continue
        if _GROUPS in written:
            yield _described(info, written)


def _described(info: Path, written: bytes) -> tuple[str, Sequence[Entry]]:
    rows, sound = _rows(written.decode(errors="backslashreplace"))
    try:
        match = _NAME_LINE.search((info / _INFO[info.suffix]).read_text(encoding="utf-8"))
        written.decode()
    except (OSError, ValueError):
        match = None
    package = match[1] if match else info.name.partition("-")[0]
    if match and sound:
        return package, [Entry(*row, package, f"pip uninstall {package}") for row in rows]
    from git_theta.terminal.showing import word

    # pip does not get by what it cannot read either.
    return package, [Entry(*row, package, f"rm -r {word(str(info))}") for row in rows]


def _archived(path: Path) -> Iterator[tuple[str, Sequence[Entry]]]:
    """The same of an archive, which importlib.metadata can read."""
    from importlib.metadata import distributions

    for found in distributions(path=[str(path)]):
        text = found.read_text("entry_points.txt") or ""
        if _GROUPS.decode() in text:
            package = found.metadata["Name"] or path.name
            yield package, [Entry(*row, package, f"pip uninstall {package}") for row in _rows(text)[0]]


def _rows(text: str) -> tuple[list[tuple[str, str, str]], bool]:
    """Group, name and value of each entry point in such a file, and whether all of its lines are sound."""
    section, found, sound = "", [], True
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[] \t")
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            sound = sound and bool(equals)
            found.append((section, name.strip(), value.strip()))
    return found, sound
