"""What opens remotes that are no folders: the transports of plug-in packages; git-theta has none itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from git_theta.errors import BrokenPlugin, ThetaError
from git_theta.objects.store import LocalStore
from git_theta.plugins import Registry, lacking
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
        with _calling(transport):
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
        return self.remote.name

    @property
    def place(self) -> str:
        return self.remote.place

    def has(self, objects: Mapping[str, int]) -> set[str]:
        with _calling(self.transport):
            return self.remote.has(objects)

    def upload(self, objects: Mapping[str, int], source: LocalStore, advance: Advance) -> None:
        with _calling(self.transport):
            self.remote.upload(objects, source, advance)

    def download(self, objects: Mapping[str, int], target: LocalStore, advance: Advance) -> dict[str, str]:
        with _calling(self.transport):
            return self.remote.download(objects, target, advance)


def _calling(transport: Transport) -> AbstractContextManager[None]:
    return _registry.calling(transport, ThetaError)


def _flaw(transport: Transport) -> str:
    return lacking(transport, "serves", "open")


_registry: Registry[Transport] = Registry(GROUP, "transport", _flaw)
