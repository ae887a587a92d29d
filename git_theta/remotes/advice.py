"""What to type where objects are missing: what leads out depends on what is behind the remotes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from git_theta.git.repository import Repository
from git_theta.remotes.configured import (
    SOMEWHERE,
    Unusable,
    fetch_order,
    fetched_urls,
    free_name,
    open_remote,
)
from git_theta.remotes.interface import Remote


@dataclass(frozen=True)
class Advice:
    """Commands that bring missing objects.

    Attributes:
        there: for a clone that has them, to bring them to where they are looked for; empty if that is no
            place that can take them.
        mend: for this repository, so that they are looked for in another place; empty if that is not needed.
        fetch: for this repository, after that.
    """

    there: str
    mend: str
    fetch: str

    @property
    def here(self) -> str:
        return "; ".join(filter(None, (self.mend, self.fetch)))

    @property
    def in_other_clone(self) -> str:
        """The first half, for messages; empty if there is none."""
        return f"in a clone that has them: {self.there}" if self.there else ""

    def text(self) -> str:
        """For messages."""
        return f"{self.in_other_clone}\n  then here: {self.here}" if self.there else self.here


def advice(repository: Repository, what: str = "", remotes: Sequence[str] | None = None) -> Advice:
    """What to type for objects that no remote had.

    Args:
        what: the revision that needs them, if that is known; else all that any ref reaches is fetched.
        remotes: names or urls that were asked; unless given, all.
    """
    known = repository.config.subsections("remote")
    wanted = shlex.quote(what) if what else "--all"
    urls = fetched_urls(repository) if remotes is None else [one for one in remotes if one not in known]
    names = fetch_order(repository) if remotes is None else [one for one in remotes if one in known]
    # Where git was told to look last, there they should be.
    usable, errors = _opened(repository, urls or names)
    if usable:
        (name, remote), *others = usable.items()
        fetch = "--all" if others else f"{shlex.quote(name)} {wanted}"
        return Advice(f"git theta push --all {shlex.quote(remote.place)}", "", f"git theta fetch {fetch}")
    if errors and not urls:
        return Advice("", errors[0].remedy, f"git theta fetch {shlex.quote(errors[0].source)} {wanted}")
    name = free_name(repository)
    return Advice("", f"git remote add {name} {SOMEWHERE}", f"git theta fetch {name} {wanted}")


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
