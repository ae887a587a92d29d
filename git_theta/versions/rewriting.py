"""Rewrites commits whose blobs are written in another way: same files, authors, dates and messages."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.plumbing import WHOLE, IndexEntry, TreeEntry
from git_theta.git.repository import Repository

BACKUP = "refs/original/theta/"
"""Where refs are kept as they were, as git filter-branch does."""


def free(repository: Repository, revisions: Sequence[str], fixed: Sequence[str]) -> list[str]:
    """The commits of these revisions that may be rewritten, oldest first.

    Raises:
        ThetaError: git does not understand the revisions.
    """
    return _listed(repository, revisions, fixed)


def boundary(repository: Repository, revisions: Sequence[str], fixed: Sequence[str]) -> list[str]:
    """The commits that stay and are parents of the first ones rewritten."""
    listed = _listed(repository, ["--boundary", *revisions], fixed)
    return [line.removeprefix("-") for line in listed if line.startswith("-")]


def _listed(repository: Repository, arguments: Sequence[str], fixed: Sequence[str]) -> list[str]:
    started = "".join(f"^{oid}\n" for oid in fixed).encode()
    command = ("rev-list", "--topo-order", "--reverse", *arguments, "--stdin", "--")
    return repository.git(*command, stdin=started).decode().split()


def require_clean(repository: Repository) -> None:
    """Raises ThetaError where the index differs from HEAD, or an operation is under way."""
    if repository.unborn:
        raise ThetaError("there is no commit here yet", "git commit")
    if operation.under_way(repository):
        raise ThetaError("a merge, rebase, cherry-pick or revert is under way", "finish or abort it first")
    if repository.run("diff-index", "--cached", "--quiet", "HEAD", "--").returncode:
        raise ThetaError("there are staged changes", "git commit, or git stash, then the same again")


class Rewriter:
    """Gives commits other blobs.

    Args:
        blobs: new oids of blobs by old ones; can grow between commits.
        fixed: oids of trees that stay as they are.
    """

    def __init__(
        self, repository: Repository, blobs: Mapping[str, str], fixed: Set[str] = frozenset()
    ) -> None:
        self._repository = repository
        self._blobs = blobs
        self._fixed = fixed
        self.commits: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="git-theta-")

    def rewrite(self, commit: str) -> None:
        """Rewrite one commit; its parents were seen before, or stay."""
        raw = self._repository.git("cat-file", "commit", commit)
        head, separator, message = raw.partition(b"\n\n")
        lines = []
        for line in _without_signature(head):
            key, _, value = line.partition(b" ")
            if key == b"parent":
                value = self.commits.get(value.decode(), value.decode()).encode()
            elif key == b"tree":
                value = self._tree(value.decode()).encode()
            lines.append(key + b" " + value)
        made = b"\n".join(lines) + separator + message
        if made == b"\n".join(_without_signature(head)) + separator + message:
            return  # nothing of it changes: it stays, with its signature
        self.commits[commit] = self._repository.write(made, "commit")

    def move_refs(self, reason: str) -> list[tuple[str, str]]:
        """Point branches and lightweight tags at the rewritten commits, all or none.

        Returns:
            The refs that were moved, and where they are kept as they were.
        """
        listed = self._repository.git(
            "for-each-ref", "--format=%(objectname) %(refname) %(symref)", "refs/heads", "refs/tags"
        )
        moved: list[tuple[str, str]] = []
        commands = []
        for row in os.fsdecode(listed).split("\n")[:-1]:
            old, name, target = row.split(" ")
            if old in self.commits and not target:
                backup = BACKUP + name.removeprefix("refs/")
                commands += [f"update {name} {self.commits[old]} {old}", f"update {backup} {old}"]
                moved.append((name, backup))
        head = self._repository.head
        if head in self.commits and self._repository.run("symbolic-ref", "-q", "HEAD").returncode:
            commands.append(f"update HEAD {self.commits[head]} {head}")
        self._repository.git(
            "update-ref", "-m", reason, "--stdin", stdin=os.fsencode("".join(f"{c}\n" for c in commands))
        )
        return moved

    def update_index(self) -> None:
        """Put the new blobs into the index; the files of the work tree are the same."""
        tagged = self._repository.git("ls-files", "-t", "-z", "--full-name", "--", WHOLE).split(b"\0")[:-1]
        self._feed(self._repository, self._repository.index_entries())
        absent = b"".join(row[2:] + b"\0" for row in tagged if row.startswith(b"S "))
        if absent:  # a sparse checkout has no files for these entries
            top = str(self._repository.work_tree.absolute())
            self._repository.git("-C", top, "update-index", "-z", "--skip-worktree", "--stdin", stdin=absent)

    def _tree(self, tree: str) -> str:
        """A tree with the new blobs in it."""
        entries = self._repository.tree_entries(tree, trees=True)
        oids = {tree, *(entry.oid for entry in entries)}
        if not self._fixed.isdisjoint(oids) or oids.isdisjoint(self._blobs):
            return tree
        index = str(Path(self._folder.name) / "index")
        aside = self._repository.with_environment({"GIT_INDEX_FILE": index})
        aside.git("read-tree", tree)
        self._feed(aside, entries)
        return aside.git("write-tree").decode().strip()

    def _feed(self, repository: Repository, entries: Iterable[IndexEntry | TreeEntry]) -> None:
        """Put the new blobs of those entries that have one into an index."""
        repository.update_index(
            (one.mode, self._blobs[one.oid], one.path) for one in entries if one.oid in self._blobs
        )


def _without_signature(head: bytes) -> list[bytes]:
    """The header lines of a commit, but for signatures, which no rewritten commit can keep."""
    kept: list[bytes] = []
    dropping = False
    for line in head.split(b"\n"):
        dropping = line.startswith((b"gpgsig", b"mergetag")) or (dropping and line.startswith(b" "))
        if not dropping:
            kept.append(line)
    return kept
