"""What to type where objects are missing: what leads out depends on what is behind the remotes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from git_theta.git.remotes import SOMEWHERE, Unusable, fetch_order, fetched_urls, open_remote
from git_theta.git.repository import Repository
from git_theta.remotes.interface import Remote


@dataclass(frozen=True)
class Advice:
    """Commands that bring missing objects.

    Attributes:
        there: for a clone that has them, to bring them to where they are looked for; empty if that is no
            place that can take them.
        here: for this repository.
    """

    there: str
    here: str

    def text(self) -> str:
        """For messages."""
        return f"{self.in_other_clone()}\n  then here: {self.here}" if self.there else self.here

    def in_other_clone(self) -> str:
        """The first half; empty if there is none."""
        return f"in a clone that has them: {self.there}" if self.there else ""


def advice(repository: Repository, what: str = "", remotes: Sequence[str] | None = None) -> Advice:
    """What to type for objects that no remote had.

    Args:
        what: the revision that needs them, if that is known; else all that any ref reaches is fetched.
        remotes: names or urls that were asked; unless given, all.
    """
    wanted = shlex.quote(what) if what else "--all"
    urls = fetched_urls(repository) if remotes is None else [r for r in remotes if not _named(repository, r)]
    names = fetch_order(repository) if remotes is None else [r for r in remotes if _named(repository, r)]
    if urls:  # git was told where: there they should be
        usable, _ = _opened(repository, urls)
        return _from(usable, wanted) if usable else Advice("", f"git theta fetch {SOMEWHERE} {wanted}")
    usable, errors = _opened(repository, names)
    if len(usable) == 1:
        return _from(usable, wanted)
    if usable:
        return Advice(_push(next(iter(usable.values()))), "git theta fetch --all")
    if errors:
        first = errors[0]
        return Advice("", f"{first.remedy}; git theta fetch {shlex.quote(first.source)} {wanted}")
    return Advice("", f"git theta fetch {SOMEWHERE} {wanted}")


def _named(repository: Repository, remote: str) -> bool:
    return remote in repository.config.subsections("remote")


def _opened(repository: Repository, remotes: Sequence[str]) -> tuple[Mapping[str, Remote], list[Unusable]]:
    """The remotes that can be asked, and why others cannot."""
    usable: dict[str, Remote] = {}
    errors: list[Unusable] = []
    for name in remotes:
        try:
            usable[name] = open_remote(repository, name)
        except Unusable as error:
            errors.append(error)
    return usable, errors


def _from(usable: Mapping[str, Remote], wanted: str) -> Advice:
    name, remote = next(iter(usable.items()))
    return Advice(_push(remote), f"git theta fetch {shlex.quote(name)} {wanted}")


def _push(remote: Remote) -> str:
    return f"git theta push --all {shlex.quote(remote.place)}"
