"""Finding plug-ins: the built-in ones and those of other packages, of which some may be broken.

All are entry points. Importing importlib.metadata and asking it for every installed package costs tens of
milliseconds, in a process that Git starts for every `git add`. So git-theta's own entry points are read
from the one file that lists them, and other packages are only looked at when these have no answer; their
files are read here as well, because one that cannot be read must not hide the others.

Whoever asks for a plug-in by its name gets it, or an error that says what to do about its package. Whoever
asks which plug-ins there are gets those that work; a line on standard error names each of the others, once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from git_theta import __version__
from git_theta.errors import BrokenPlugin, ThetaError, too_little_memory

_T = TypeVar("_T")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_GROUPS = b"git_theta.plugins"
_PACKAGE = "git-theta"
_OWN = re.compile(r"git_theta[-.]")
_NAME_LINE = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)
_INFO = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}
"""Endings of the folders in which installed packages describe themselves, and the file with the name."""


@dataclass(frozen=True)
class _Entry:
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


class Registry(Generic[_T]):
    """The plug-ins of one entry-point group. Each entry point names a class without constructor arguments.

    Args:
        group: name of the entry-point group.
        what: what a plug-in is, for messages.
        flaw: how an object of the class breaks the rules of its interface, in words; "" if it does not. That
            it has the name of its entry point, in kebab-case, is checked here.
    """

    def __init__(self, group: str, what: str, flaw: Callable[[_T], str]) -> None:
        self.group = group
        self._what = what
        self._flaw = flaw
        self._loaded: dict[str, _T] = {}
        self._broken: dict[str, tuple[str, str]] = {}

    def by_name(self, name: str) -> _T:
        """The plug-in of that name.

        Raises:
            BrokenPlugin: there is one, but it cannot be used.
            ThetaError: there is none. Lists the known ones.
        """
        known = self._own if name in self._own else self._all
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            raise ThetaError(
                f"there is no {self._what} {name!r}; known: {', '.join(sorted(known))}",
                f"did you mean {near[0]}?" if near else "pip install the package that brings it",
            )
        entry, *others = known[name]
        if others and not entry.built_in:
            raise self._taken(others[0], entry)
        return self._load(entry)

    def names(self) -> tuple[str, ...]:
        """The names of all plug-ins, the built-in ones first; broken ones, too."""
        return tuple(self._all)

    def usable(self, name: str) -> _T | None:
        """The plug-in of a name that `names` gives, or None where it is broken, which a warning says."""
        try:
            return self.by_name(name)
        except BrokenPlugin as error:
            if name in self._own:
                raise
            warn(error)
            return None

    def find(self, question: Callable[[_T], object]) -> Iterator[_T]:
        """The plug-ins for which the answer is yes, the built-in ones first; a warning names broken ones.

        Other packages are looked at only when one goes on after the built-in plug-ins.
        """
        for name in self._each():
            plugin = self.usable(name)
            try:
                with self.calling(plugin):
                    yes = plugin is not None and question(plugin)
            except BrokenPlugin as error:
                warn(error)
                continue
            if yes and plugin is not None:
                yield plugin

    def broken(self, *questions: Callable[[_T], object]) -> list[BrokenPlugin]:
        """What is wrong with the plug-ins of other packages. Warnings do not say it again.

        Args:
            questions: what each is asked besides.
        """
        found = []
        for entry, *others in self._all.values():
            found += [self._taken(other, entry) for other in others]
            if entry.built_in or others:
                continue
            try:
                plugin = self._load(entry)
                for question in questions:
                    with self.calling(plugin):
                        question(plugin)
            except BrokenPlugin as error:
                found.append(error)
        _told.update(error.message for error in found)
        return found

    def flaw(self, name: str, plugin: _T) -> str:
        """How a plug-in breaks the rules of its interface, in words; "" if it does not.

        Args:
            name: of its entry point.
        """
        own = getattr(plugin, "name", None)
        if own != name:
            return f"its entry point is called so, but its name is {own!r}"
        if not _NAME.match(name):
            return "its name is not lower case with hyphens"
        return self._flaw(plugin)

    @contextmanager
    def calling(self, plugin: _T | None, *expected: type[Exception]) -> Iterator[None]:
        """Where a plug-in of another package is called. What is wrong with git-theta's own passes.

        Args:
            expected: what it may raise by the rules of its interface.

        Raises:
            BrokenPlugin: it has raised anything else.
        """
        try:
            yield
        except expected:
            raise
        except (Exception, SystemExit) as error:
            name = getattr(plugin, "name", "")
            if name in self._own or name not in self._all or too_little_memory(error):
                raise
            raise self._fault(self._all[name][0], f"has failed: {error!r}") from error

    def _each(self) -> Iterator[str]:
        yield from self._own
        for name, (entry, *others) in self._all.items():
            if not entry.built_in:
                yield name
                continue
            for other in others:
                warn(self._taken(other, entry))

    @cached_property
    def _own(self) -> Mapping[str, tuple[_Entry, ...]]:
        return {entry.name: (entry,) for entry in _own_entry_points() if entry.group == self.group}

    @cached_property
    def _all(self) -> Mapping[str, tuple[_Entry, ...]]:
        """The entry points by name: more than one where packages want the same name."""
        found = dict(self._own)
        others = [entry for entry in _other_entry_points() if entry.group == self.group]
        for entry in sorted(others, key=lambda entry: (entry.name, entry.value)):
            before = found.get(entry.name, ())
            if entry.value not in [one.value for one in before]:  # else it is a package that is there twice
                found[entry.name] = (*before, entry)
        return found

    def _load(self, entry: _Entry) -> _T:
        if entry.name in self._broken:
            raise BrokenPlugin(*self._broken[entry.name])
        if entry.name not in self._loaded:
            try:
                self._loaded[entry.name] = self._made(entry)
            except BrokenPlugin as error:
                # What it says, and not the error itself: who catches that may name a file in it.
                self._broken[entry.name] = error.message, error.remedy
                raise
        return self._loaded[entry.name]

    def _made(self, entry: _Entry) -> _T:
        module, _, attribute = entry.value.partition(":")
        try:
            plugin: _T = getattr(import_module(module), attribute)()
        except (Exception, SystemExit) as error:
            if entry.built_in or too_little_memory(error):
                raise
            raise self._fault(entry, f"cannot be loaded: {error!r}") from error
        try:
            flaw = self.flaw(entry.name, plugin)
        except Exception as error:
            raise self._fault(entry, f"breaks the interface's rules: {error!r}") from error
        if flaw:
            raise self._fault(entry, f"breaks the interface's rules: {flaw}")
        return plugin

    def _fault(self, entry: _Entry, why: str) -> BrokenPlugin:
        remedy = f"pip install --upgrade {entry.package}, or {entry.removal}"
        if not entry.removal.startswith("pip"):
            remedy = entry.removal
        return BrokenPlugin(f"the {self._what} {entry.name!r} of package {entry.package} {why}", remedy)

    def _taken(self, entry: _Entry, by: _Entry) -> BrokenPlugin:
        return BrokenPlugin(
            f"the {self._what} {entry.name!r} of package {entry.package} has a name that is taken, "
            f"by package {by.package}",
            entry.removal,
        )


def lacking(plugin: object, *methods: str) -> str:
    """What a plug-in has not of the methods that it needs, in words; "" if it has all."""
    absent = [name for name in methods if not callable(getattr(plugin, name, None))]
    return f"it has no method {', '.join(absent)}" if absent else ""


def warn(error: BrokenPlugin) -> None:
    """Say in a line what is wrong with a plug-in, once in a process."""
    from git_theta.terminal.showing import printable

    with _lock:
        if error.message in _told:
            return
        _told.add(error.message)
    text = printable(" ".join(error.message.split()))
    print(f"git-theta: {text}; see: git theta doctor", file=sys.stderr, flush=True)


_told: set[str] = set()
_lock = Lock()


@cache
def _own_entry_points() -> tuple[_Entry, ...]:
    # The file that pip wrote when it installed git-theta. Its place is known but for the folder; where that
    # fails (an unusual kind of installation), importlib.metadata finds it.
    for folder in sys.path:
        path = Path(folder, f"git_theta-{__version__}.dist-info", "entry_points.txt")
        try:
            rows, _ = _rows(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        return tuple(_Entry(*row) for row in rows)
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        points = distribution(_PACKAGE).entry_points
    except PackageNotFoundError:
        raise ThetaError("git-theta is not installed as a package", "pip install git-theta") from None
    return tuple(_Entry(point.group, point.name, point.value) for point in points)


def _other_entry_points() -> Iterator[_Entry]:
    """What other packages bring; of those that are there twice, the one that Python would import."""
    seen = set()
    for folder in map(Path, sys.path):
        packages: list[tuple[str, Sequence[_Entry]]] = []
        with suppress(Exception):  # what cannot be read has no packages for Python either
            is_archive = folder.is_file() or folder.suffix == ".egg"
            packages += _archived(folder) if is_archive else _installed(folder)
        for package, entries in packages:
            name = re.sub(r"[-_.]+", "-", package).lower()
            if name != _PACKAGE and name not in seen:
                seen.add(name)
                yield from entries


def _installed(folder: Path) -> Iterator[tuple[str, Sequence[_Entry]]]:
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


def _described(info: Path, written: bytes) -> tuple[str, Sequence[_Entry]]:
    rows, sound = _rows(written.decode(errors="backslashreplace"))
    try:
        match = _NAME_LINE.search((info / _INFO[info.suffix]).read_text(encoding="utf-8"))
        written.decode()
    except (OSError, ValueError):
        match = None
    package = match[1] if match else info.name.partition("-")[0]
    if match and sound:
        return package, [_Entry(*row, package, f"pip uninstall {package}") for row in rows]
    from git_theta.terminal.showing import word

    # pip does not get by what it cannot read either.
    return package, [_Entry(*row, package, f"rm -r {word(str(info))}") for row in rows]


def _archived(path: Path) -> Iterator[tuple[str, Sequence[_Entry]]]:
    """The packages with plug-ins in an archive (zip or egg), and their entry points."""
    from importlib.metadata import distributions

    for found in distributions(path=[str(path)]):
        text = found.read_text("entry_points.txt") or ""
        if _GROUPS.decode() in text:
            package = found.metadata["Name"] or path.name
            yield package, [_Entry(*row, package, f"pip uninstall {package}") for row in _rows(text)[0]]


def _rows(text: str) -> tuple[list[tuple[str, str, str]], bool]:
    """Parse entry_points.txt: (group, name, value) rows, and whether every line could be read."""
    section, found, sound = "", [], True
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[] \t")
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            sound = sound and bool(equals)
            found.append((section, name.strip(), value.strip()))
    return found, sound
