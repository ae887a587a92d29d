"""What opens remotes that are no folders: the transports of plug-in packages; git-theta has none itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from git_theta.errors import BrokenPlugin, ThetaError
from git_theta.objects.store import LocalStore
from git_theta.plugins import Registry, anything, lacking, one_of
from git_theta.remotes.interface import Advance, Remote, Transport

GROUP = "git_theta.plugins.remotes"


def open_by_transport(name: str, url: str) -> Remote | None:
    """The remote at a url, or None where no transport serves that. A broken one serves nothing.

    Args:
        name: what messages call it.

    Raises:
        ThetaError: there is nothing at that url, or the transport has failed.
    """
    for transport in _registry.find(lambda one: one.serves(url)):
        return _Called(transport, transport.open(name, url))
    return None


def broken() -> list[BrokenPlugin]:
    """What is wrong with the transports of packages."""
    return _registry.broken()


@dataclass(frozen=True)
class _Called:
    """A remote whose failures name the package."""

    transport: Transport
    remote: Remote

    @property
    def name(self) -> str:
        with _calling(self.transport):
            name: str = _text(self.remote.name)
            return name

    @property
    def place(self) -> str:
        with _calling(self.transport):
            place: str = _text(self.remote.place)
            return place

    def has(self, objects: Mapping[str, int]) -> set[str]:
        with _calling(self.transport):
            found: set[str] = _set(self.remote.has(objects))
            return found

    def upload(self, objects: Mapping[str, int], source: LocalStore, advance: Advance) -> None:
        with _calling(self.transport):
            self.remote.upload(objects, source, advance)

    def download(self, objects: Mapping[str, int], target: LocalStore, advance: Advance) -> dict[str, str]:
        with _calling(self.transport):
            reasons: dict[str, str] = _mapping(self.remote.download(objects, target, advance))
            return reasons


def _calling(transport: Transport) -> AbstractContextManager[None]:
    return _registry.calling(transport, ThetaError)


def _flaw(transport: Transport) -> str:
    return lacking(transport, "serves", "open")


def _remote(found: Remote, name: str, url: str) -> Remote:
    if absent := lacking(found, "has", "upload", "download"):
        raise TypeError(f"it opened no remote: {absent}")
    return found


_text, _set, _mapping = one_of(str), one_of(set, frozenset), one_of(dict)
_RESULTS: Mapping[str, Callable[..., Any]] = {"serves": anything, "open": _remote}
_registry: Registry[Transport] = Registry(GROUP, "transport", _flaw, _RESULTS)
