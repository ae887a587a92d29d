"""Finding plug-ins: the built-in ones and those of other packages, of which some may be broken.

All are entry points; other packages than git-theta are only looked at when its own have no answer.

Whoever asks for a plug-in by its name gets it, or an error that says what to do about its package. Whoever
asks which plug-ins there are gets those that work; a line on standard error names each of the others, once.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, wraps
from importlib import import_module
from threading import Lock
from typing import Any, Generic, TypeVar

from git_theta.entry_points import Entry, other_entry_points, own_entry_points
from git_theta.errors import BrokenPlugin, ThetaError, too_little_memory

_T = TypeVar("_T")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")


class Registry(Generic[_T]):
    """The plug-ins of one entry-point group. Each entry point names a class without constructor arguments.

    Args:
        group: name of the entry-point group.
        what: what a plug-in is, for messages.
        flaw: how an object of the class breaks the rules of its interface, in words; "" if it does not. That
            it has the name of its entry point, in kebab-case, is checked here.
        results: by methods of the interface, a function of what such a method gave, and of what it was given;
            it returns what is handed on, or raises TypeError for what the method must not give. In a plug-in
            of another package these methods raise BrokenPlugin for that, and for all that they must not
            raise: whoever calls them needs no `calling`.
        expected: what these methods may raise.
    """

    def __init__(
        self,
        group: str,
        what: str,
        flaw: Callable[[_T], str],
        results: Mapping[str, Callable[..., Any]],
        expected: tuple[type[Exception], ...] = (ThetaError,),
    ) -> None:
        self.group = group
        self._what = what
        self._flaw = flaw
        self._results = results
        self._expected = expected
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
                    yes = plugin is not None and bool(question(plugin))
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
            known = name not in self._own and name in self._all
            if isinstance(error, BrokenPlugin) or not known or too_little_memory(error):
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
    def _own(self) -> Mapping[str, tuple[Entry, ...]]:
        return {entry.name: (entry,) for entry in own_entry_points() if entry.group == self.group}

    @cached_property
    def _all(self) -> Mapping[str, tuple[Entry, ...]]:
        """The entry points by name: more than one where packages want the same name."""
        found = dict(self._own)
        others = [entry for entry in other_entry_points() if entry.group == self.group]
        for entry in sorted(others, key=lambda entry: (entry.name, entry.value)):
            before = found.get(entry.name, ())
            if entry.value not in [one.value for one in before]:  # else it is a package that is there twice
                found[entry.name] = (*before, entry)
        return found

    def _load(self, entry: Entry) -> _T:
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

    def _made(self, entry: Entry) -> _T:
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
        if not entry.built_in:
            self._guard(entry, plugin)
        return plugin

    def _guard(self, entry: Entry, plugin: _T) -> None:
        """Have the methods of a plug-in name its package where they fail; see `results`."""
        for name, made in self._results.items():
            if (method := getattr(plugin, name, None)) is None:
                continue  # not every plug-in needs all
            try:
                object.__setattr__(plugin, name, self._guarded(plugin, method, made))
            except AttributeError:
                raise self._fault(entry, "breaks the interface's rules: it has __slots__") from None

    def _guarded(
        self, plugin: _T, method: Callable[..., Any], made: Callable[..., Any]
    ) -> Callable[..., Any]:
        @wraps(method)
        def guarded(*arguments: Any, **named: Any) -> Any:
            with self.calling(plugin, *self._expected):
                return made(method(*arguments, **named), *arguments, **named)

        return guarded

    def _fault(self, entry: Entry, why: str) -> BrokenPlugin:
        remedy = f"pip install --upgrade {entry.package}, or {entry.removal}"
        if not entry.removal.startswith("pip"):
            remedy = entry.removal
        return BrokenPlugin(f"the {self._what} {entry.name!r} of package {entry.package} {why}", remedy)

    def _taken(self, entry: Entry, by: Entry) -> BrokenPlugin:
        return BrokenPlugin(
            f"the {self._what} {entry.name!r} of package {entry.package} has a name that is taken, "
            f"by package {by.package}",
            entry.removal,
        )


def lacking(plugin: object, *methods: str) -> str:
    """What a plug-in has not of the methods that it needs, in words; "" if it has all."""
    absent = [name for name in methods if not callable(getattr(plugin, name, None))]
    return f"it has no method {', '.join(absent)}" if absent else ""


def one_of(*types: type) -> Callable[..., Any]:
    """What `results` says of a method that gives an object of one of these types."""

    def made(found: Any, *given: Any, **named: Any) -> Any:
        if not isinstance(found, types):
            kinds = " or ".join("nothing" if one is type(None) else one.__name__ for one in types)
            raise TypeError(f"it gave {reprlib.repr(found)}, not {kinds}")
        return found

    return made


def anything(found: Any, *given: Any, **named: Any) -> Any:
    """What `results` says of a method of which the result is not used, or only whether it is true."""
    return found


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
