"""The questions that git's plumbing answers, each asked in one way: what a name means, what a tree lists.

Revisions come from command lines, files and commit messages. They are told to git where nothing that they
begin with makes them an option.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from git_theta.errors import ThetaError
from git_theta.git import version

Which = Literal["--stage", "--unmerged", "--resolve-undo"]
"""All entries of the index, those of paths with a conflict, or those that paths had while they had one."""
PRESENT = ("--cached", "--others", "--exclude-standard")
"""For ls-files: what the work tree and the index have, but for what is ignored."""
WHOLE = ":(top)"
"""The pathspec of everything, from whatever folder."""


class IndexEntry(NamedTuple):
    """An entry of Git's index: stage 0, or 1 (base), 2 (ours), 3 (theirs) while there is a conflict."""

    mode: str
    oid: str
    stage: int
    path: str


class TreeEntry(NamedTuple):
    """A file, symbolic link, submodule or tree in a tree; size: of a blob, where it was asked for."""

    mode: str
    oid: str
    path: str
    size: int | None = None


class RawChange(NamedTuple):
    """A path that differs: modes, oids and names on both sides, and how git calls the change."""

    old_mode: str
    mode: str
    before: str
    after: str
    status: str
    old_path: str
    path: str


def literally(path: str) -> str:
    """The pathspec of one path from the top of the work tree, whatever is in it."""
    return f":(top,literal){path}"


class Plumbing:
    """Git, asked in a folder.

    Args:
        folder: where git runs.
        environment: variables for git; those of this process unless given.
        own_session: whether git commands run in a session of their own, out of reach of the terminal's
            Ctrl-C.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str] | None = None, own_session: bool = False
    ) -> None:
        self.folder = folder
        self._own_session = own_session
        self._environment = None if environment is None else dict(environment)

    def git(self, *arguments: str, stdin: bytes | None = None, check: bool = True) -> bytes:
        """Run git and return what it printed.

        Raises:
            ThetaError: git failed (with `check`), or is not installed.
        """
        done = self.run(*arguments, stdin=stdin)
        if check and done.returncode:
            said = done.stderr.decode(errors="replace").expandtabs().strip()
            raise ThetaError(f"git {' '.join(arguments)} failed: {said}")
        return done.stdout

    def run(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run git and return how it ended and what it printed."""
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self.folder,
                env=self._environment,
                input=b"" if stdin is None else stdin,  # our own is a pipe that git talks to us through
                capture_output=True,
                start_new_session=self._own_session,
            )
        except FileNotFoundError:
            raise ThetaError("git is not installed, or not on the PATH", version.INSTALL) from None

    def popen(self, arguments: Sequence[str], **pipes: Any) -> subprocess.Popen[bytes]:
        """Start git, with the pipes of subprocess.Popen."""
        return subprocess.Popen(
            ["git", *arguments],
            cwd=self.folder,
            env=self._environment,
            start_new_session=self._own_session,
            **pipes,
        )

    def oid(self, name: str) -> str:
        """The oid of the object that a revision, REV:PATH or :PATH names; "" if there is none.

        A whole oid names itself, be its object here or not.
        """
        if not can_be_asked(name):
            return ""
        found = self.run("rev-parse", "-q", "--verify", "--end-of-options", name)
        oid = found.stdout.decode().strip() if found.returncode == 0 else ""
        return "" if oid.startswith("^") else oid  # "^HEAD" is what it is without

    def commit_of(self, revision: str) -> str:
        """The oid of the commit that a revision names; "" if it names none."""
        return self.oid(f"{revision}^{{commit}}")

    def tree_of(self, revision: str) -> str:
        """The oid of the tree that a revision names; "" if it names none."""
        return self.oid(f"{revision}^{{tree}}")

    @property
    def head(self) -> str:
        """The commit that HEAD is on; "" before the first one."""
        return self.oid("HEAD")

    @property
    def branch(self) -> str:
        """The branch that is checked out; "" if none is."""
        name = self.run("symbolic-ref", "-q", "HEAD").stdout
        return os.fsdecode(name).rstrip("\n").removeprefix("refs/heads/")

    @property
    def unborn(self) -> bool:
        """Whether HEAD is a branch that has no commit yet."""
        return not self.head

    def parents_of(self, commit: str) -> list[str]:
        """The parents of a commit, as this repository sees history."""
        return self.git("rev-list", "--parents", "-n1", "--end-of-options", commit).decode().split()[1:]

    def merge_bases(self, *commits: str) -> list[str]:
        """The best common ancestors of all these commits, of which a criss-cross history has several."""
        how = ("--octopus",) if len(commits) > 2 else ()
        return self.run("merge-base", "--all", *how, "--end-of-options", *commits).stdout.decode().split()

    @property
    def shallow(self) -> bool:
        """Whether history ends here before it does elsewhere: `git clone --depth`."""
        return self.git("rev-parse", "--is-shallow-repository").strip() == b"true"

    def prefix(self, folder: str = "") -> str:
        """The path from the top of the work tree, and a slash, of where git runs or of another folder."""
        where = ("-C", folder) if folder else ()
        return os.fsdecode(self.git(*where, "rev-parse", "--show-prefix")).removesuffix("\n")

    def write(self, data: bytes, kind: Literal["blob", "tree", "commit"] = "blob") -> str:
        """Put an object into Git's database; gives its oid."""
        return self.git("hash-object", "-w", "-t", kind, "--stdin", stdin=data).decode().strip()

    def oid_of(self, data: bytes) -> str:
        """The oid that a blob of these bytes has, be it in Git's database or not."""
        return self.git("hash-object", "--stdin", stdin=data).decode().strip()

    def empty_tree(self) -> str:
        """The oid of a tree with nothing in it."""
        return self.git("hash-object", "-t", "tree", "--stdin", stdin=b"").decode().strip()

    def index_entries(self, *pathspecs: str, which: Which = "--stage") -> list[IndexEntry]:
        """The index's entries, read anew each time; of everything if no pathspecs are given."""
        listed = self.git("ls-files", which, "-z", "--full-name", "--", *(pathspecs or (WHOLE,)))
        entries = []
        for head, path in _rows(listed):
            mode, oid, stage = head.split()
            entries.append(IndexEntry(mode, oid, int(stage), path))
        return entries

    def paths(self, *options: str, within: Sequence[str] = (WHOLE,)) -> list[str]:
        """The paths that `git ls-files` lists, in order, each once.

        Args:
            options: which; those of the index unless they say otherwise.
            within: pathspecs.
        """
        listed = self.git("ls-files", "-z", "--full-name", *options, "--", *within)
        return sorted({os.fsdecode(path) for path in listed.split(b"\0")[:-1]})

    def raw_changes(self, diff: str, *arguments: str, check: bool = True) -> Iterator[RawChange]:
        """What one of git's own commands for differences finds.

        Args:
            diff: diff-tree, diff-index or diff-files.
            arguments: its own; no renames are looked for unless they ask for them.
        """
        options = ("--raw", "-z", "--no-abbrev", "--no-renames")
        fields = iter(self.git(diff, *options, *arguments, check=check).split(b"\0")[:-1])
        for about in fields:
            old_mode, mode, before, after, status = about.decode().lstrip(":").split()
            old_path = os.fsdecode(next(fields))
            path = os.fsdecode(next(fields)) if status[0] in "RC" else old_path
            yield RawChange(old_mode, mode, before, after, status, old_path, path)

    def update_index(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Put entries into the index, as (mode, oid, path from the top); mode 0 takes one out of it."""
        lines = [f"{mode} {oid} 0\t".encode() + os.fsencode(path) + b"\0" for mode, oid, path in rows]
        if lines:
            self.git("update-index", "-z", "--index-info", stdin=b"".join(lines))

    def tree_entries(
        self, tree: str, paths: Iterable[str] = (), *, sizes: bool = False, trees: bool = False
    ) -> list[TreeEntry]:
        """What is in a tree and the trees in it.

        Args:
            paths: only these, from the top, and what is below them; everything if none are given.
            sizes: whether the sizes of blobs are wanted.
            trees: whether trees are listed, too.

        Raises:
            ThetaError: there is no such tree.
        """
        more = [option for option, wanted in (("-l", sizes), ("-t", trees)) if wanted]
        options = ("-r", "-z", *more, "--full-tree", "--end-of-options")
        entries = []
        for head, path in _rows(self.git("--literal-pathspecs", "ls-tree", *options, tree, *paths)):
            mode, _, oid, *size = head.split()
            entries.append(TreeEntry(mode, oid, path, int(size[0]) if size and size[0] != "-" else None))
        return entries


def _rows(listed: bytes) -> Iterator[tuple[str, str]]:
    """The rows of what -z makes git print: what comes before the tab, and the path."""
    for row in listed.split(b"\0")[:-1]:
        head, _, path = row.partition(b"\t")
        yield head.decode(), os.fsdecode(path)


def can_be_asked(name: str) -> bool:
    """Whether a name can be an argument of a command; what a file says can be anything."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
