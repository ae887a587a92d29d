"""The base of a merge, where it is not what history says: `--base`, `--allow-unrelated-histories`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.merges.rules import Rules
from git_theta.merging.entries import Head

NONE = "none"
"""In place of a commit: there is no common ancestor, and none is needed."""


@dataclass(frozen=True)
class Base:
    """The common ancestor that the user has chosen for a merge, if any.

    Attributes:
        commit: a commit, or NONE; "" for what history says.
        typed: the option that says so, with a space after it.
    """

    commit: str = ""
    typed: str = ""

    def heads(self, repository: Repository, heads: Sequence[Head]) -> list[Head]:
        """Commits like these, but with the chosen ancestor as their only parent: git can merge those."""
        if not self.commit:
            return list(heads)
        ancestor = _nothing(repository) if self.commit == NONE else self.commit
        return [replace(head, commit=_on(repository, ancestor, head.commit)) for head in heads]

    def rules(self, rules: Rules, *, recorded: bool = False) -> Rules:
        """Where there is no ancestor, all tensors are added, and a strategy that was typed is for them.

        Args:
            recorded: whether a commit says that this is how it was made.
        """
        default = rules.default
        if self.commit != NONE or default is None or not (default.typed or recorded):
            return rules
        return replace(rules, default=replace(default, explicit=True))


def chosen(repository: Repository, revision: str, unrelated: bool, heads: Sequence[Head]) -> Base:
    """Read the options --base and --allow-unrelated-histories.

    Args:
        revision: a commit; "" for none.
        unrelated: whether they may have no ancestor.

    Raises:
        ThetaError: the revision is no commit.
    """
    if revision:
        commit = repository.commit_of(revision)
        if not commit:
            raise ThetaError(f"{revision} is no commit to take as the base", "git branch --all")
        return Base(commit, f"--base {shlex.quote(revision)} ")
    if unrelated and not repository.merge_bases(*(head.commit for head in heads)):
        return Base(NONE, "--allow-unrelated-histories ")
    return Base()


def _nothing(repository: Repository) -> str:
    tree = repository.write(b"", "tree")
    return repository.git("commit-tree", "-m", "no common ancestor", tree).decode().strip()


def _on(repository: Repository, ancestor: str, commit: str) -> str:
    """A copy of a commit that has the ancestor as its only parent."""
    told = ["commit-tree", "-p", ancestor, "-m", "on a base", f"{commit}^{{tree}}"]
    return repository.git(*told).decode().strip()
