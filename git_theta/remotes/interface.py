"""What a remote is: a place that keeps objects for the refs that Git keeps there. And what opens one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from git_theta.objects.store import LocalStore

Advance = Callable[[int], object]
"""Called with the bytes of each object that has arrived."""


class Remote(Protocol):
    """A place for objects. Objects are named by oid (SHA-256) and given with their sizes in bytes."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def place(self) -> str:
        """Where it is, as `git theta push` in any clone takes it."""
        ...

    def has(self, objects: Mapping[str, int]) -> set[str]:
        """The oids of those objects that are there, whole as far as their size tells.

        Raises:
            ThetaError: the remote cannot be asked.
        """
        ...

    def upload(self, objects: Mapping[str, int], source: LocalStore, advance: Advance) -> None:
        """Bring objects of `source` to the remote; those that are there are left alone.

        An object has its name there only when it is whole and verified.

        Raises:
            ThetaError: an object did not get there; others may have.
        """
        ...

    def download(self, objects: Mapping[str, int], target: LocalStore, advance: Advance) -> dict[str, str]:
        """Bring objects from the remote into `target`, verified.

        Returns:
            Why, by oid, for those that could not be had.

        Raises:
            ThetaError: the remote cannot be asked, or `target` cannot be written.
        """
        ...


class Transport(Protocol):
    """What opens remotes by url: the plug-in interface of the entry-point group `git_theta.plugins.remotes`.

    The entry point names a class without constructor arguments. Folders need no transport, and refs go there
    as Git brings them.

    Attributes:
        name: kebab-case.
    """

    name: str

    def serves(self, url: str) -> bool:
        """Whether it opens remotes at urls of this kind; nothing is asked for that."""
        ...

    def open(self, name: str, url: str) -> Remote:
        """The remote at a url that it serves.

        Args:
            name: what messages call it.

        Raises:
            ThetaError: there is none.
        """
        ...
