"""The files of the commits that are merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from git_theta.git import attributes
from git_theta.git.repository import Repository

Entry = tuple[str, str]
"""Mode and oid of a file in a tree."""


@dataclass(frozen=True)
class Head:
    """A commit that is merged, and what it is called."""

    name: str
    commit: str


@dataclass(frozen=True)
class Contested:
    """A checkpoint that more than one side changed.

    Attributes:
        mode: of the result.
        base: oid of the common ancestor's blob; "" where there is none.
        versions: the sides that have it, ours first: what each is called, and the oid of its blob.
    """

    path: str
    mode: str
    base: str
    versions: tuple[tuple[str, str], ...]


def checkpoints(repository: Repository, paths: Iterable[str]) -> set[str]:
    """Those paths that git-theta merges (attribute merge=theta)."""
    return {path for path, value in attributes.values(repository, "merge", paths) if value == "theta"}


def entries(repository: Repository, tree: str, paths: Sequence[str] | set[str]) -> dict[str, Entry]:
    """Those of these paths that a tree has."""
    if not paths:
        return {}
    return {one.path: (one.mode, one.oid) for one in repository.tree_entries(tree, sorted(paths))}
