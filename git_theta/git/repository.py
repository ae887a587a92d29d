"""A Git repository, asked through the git command.

Nothing about Git is imitated: where files lie, what is configured and what is in the index is what git says.
The environment that git gives to filters and hooks is passed on, so that answers are about the same
repository, index and work tree.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from git_theta.errors import ThetaError
from git_theta.git import version
from git_theta.git.cat_file import CatFile
from git_theta.git.config import Config
from git_theta.objects.index import Index
from git_theta.objects.store import LocalStore

if TYPE_CHECKING:
    from git_theta.objects.reader import Objects

EMPTY = "0" * 40
_GLOB = re.compile(r"[*?\[\\]|\A:")
"""What makes a pathspec more than a path."""


@dataclass(frozen=True)
class IndexEntry:
    """An entry of Git's index: stage 0, or 1 (base), 2 (ours), 3 (theirs) while there is a conflict."""

    mode: str
    oid: str
    stage: int
    path: str


class Repository:
    """A repository and git-theta's data in it.

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
        bare, git_dir, common_dir = self._look()
        self.git_dir = folder / git_dir
        self.common_dir = folder / common_dir
        self.bare = bare == "true"
        self._blobs = CatFile(self._cat_file)

    @staticmethod
    def here() -> Repository:
        """The repository of the current folder.

        Raises:
            ThetaError: there is none.
        """
        return Repository(Path())

    @staticmethod
    def elsewhere(folder: Path) -> Repository:
        """A repository in another folder, without what git has set in our environment about its own."""
        return Repository(folder, _foreign_environment())

    @staticmethod
    def new(folder: Path) -> Repository:
        """An empty repository, which is made in an empty folder."""
        command = ["git", "init", "-q", "--template=", "--", str(folder.absolute())]
        subprocess.run(command, env=_foreign_environment(), capture_output=True, check=True)
        return Repository.elsewhere(folder)

    @staticmethod
    def with_git_dir(git_dir: Path) -> Repository:
        """The repository of this git directory, or of a file that says where it is.

        Raises:
            ThetaError: it is not one.
        """
        return Repository(git_dir.parent, {**_foreign_environment(), "GIT_DIR": str(git_dir.absolute())})

    def with_environment(self, variables: Mapping[str, str]) -> Repository:
        """The same repository, with these variables set for every git that is started."""
        return Repository(self.folder, {**(self._environment or os.environ), **variables})

    @cached_property
    def unaltered(self) -> Repository:
        """The same repository, without replacements and grafts: history as a push sends it.

        Replacements (git-replace(1)), grafts, and a commit-graph that is out of date show this repository
        another one. `git push` and `git fetch` bring what the commits themselves name.
        """
        number = int((self._environment or os.environ).get("GIT_CONFIG_COUNT") or 0)
        variables = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
        for place, key in enumerate(("core.commitGraph", "advice.graftFileDeprecated"), number):
            variables |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": "false"}
        return self.with_environment(variables | {"GIT_CONFIG_COUNT": str(number + 2)})

    def out_of_reach(self) -> Repository:
        """The same repository, whose git commands are not ended by Ctrl-C on the terminal."""
        return Repository(self.folder, self._environment, own_session=True)

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

    @cached_property
    def config(self) -> Config:
        """git's configuration, read once."""
        return Config.parse(self.git("config", "-z", "--list"))

    @property
    def work_tree(self) -> Path:
        """The top folder of the work tree. Raises ThetaError in a bare repository."""
        if self.bare:
            raise ThetaError("a bare repository has no work tree", "the same in a clone of it")
        return self.folder / self._rev_parse("--show-toplevel")[0]

    def pathspecs(self, paths: Sequence[str], trees: Sequence[str] = ()) -> list[str]:
        """What was typed as pathspecs: a path that there is means that file, and is no pattern.

        Args:
            trees: where to look for it besides the index and the work tree.
        """
        return [f":(literal){path}" if self._is_path(path, trees) else path for path in paths]

    def _is_path(self, path: str, trees: Sequence[str]) -> bool:
        if not _GLOB.search(path):
            return False
        literally = ("--literal-pathspecs", "ls-files", "-z", "--", path)
        return (
            os.path.lexists(self.folder / path)
            or bool(self.run(*literally).stdout)
            or any(
                self.run("--literal-pathspecs", "ls-tree", "-z", tree, "--", path).stdout for tree in trees
            )
        )

    def empty_tree(self) -> str:
        """The oid of a tree with nothing in it."""
        return self.git("hash-object", "-t", "tree", "--stdin", stdin=b"").decode().strip()

    @property
    def unborn(self) -> bool:
        """Whether HEAD is a branch that has no commit yet."""
        return self.run("rev-parse", "-q", "--verify", "HEAD").returncode != 0

    @cached_property
    def theta(self) -> Path:
        """The folder of git-theta's own data, shared by all work trees."""
        return self.common_dir / "theta"

    @cached_property
    def store(self) -> LocalStore:
        return LocalStore(self.theta, self._alternates(), self.config.syncs_objects)

    @cached_property
    def index(self) -> Index:
        return Index(self.theta / "index.sqlite")

    @cached_property
    def objects(self) -> Objects:
        from git_theta.objects.reader import Objects  # needs NumPy

        return Objects(self.store)

    def index_entries(self, *paths: str) -> list[IndexEntry]:
        """The index's entries for these paths (all paths if none are given), read anew each time."""
        listed = self.git("--literal-pathspecs", "ls-files", "-s", "-z", "--full-name", "--", *paths)
        entries = []
        for row in listed.split(b"\0")[:-1]:
            head, _, path = row.partition(b"\t")
            mode, oid, stage = head.decode().split()
            entries.append(IndexEntry(mode, oid, int(stage), os.fsdecode(path)))
        return entries

    def blob(self, name: str) -> bytes | None:
        """The contents of a blob, by oid or as REV:PATH; None if there is none.

        Never for `:PATH`: the process that answers reads the index only once.
        """
        return self._blobs.blob(self.asked(name))

    def blobs(self, names: Sequence[str], limit: int | None = None) -> list[bytes | None]:
        """The contents of several blobs; None for what is no blob, or larger than `limit` bytes."""
        return [self._blobs.blob(self.asked(name), limit) for name in names]

    def asked(self, name: str) -> str:
        """The line to ask `git cat-file --batch` with: the name, or its oid if the name has a line end."""
        if "\n" not in name and not name.endswith("\r"):
            return name
        found = self.run("rev-parse", "-q", "--verify", "--end-of-options", name)
        return found.stdout.decode().strip() if found.returncode == 0 else EMPTY

    def close(self) -> None:
        """End the helper process, and let go of files."""
        self.index.close()
        self._blobs.close()

    def _look(self) -> list[str]:
        questions = "--is-bare-repository", "--git-dir", "--git-common-dir"
        try:
            return self._rev_parse(*questions)
        except ThetaError as error:
            # git's own words say enough: "not a git repository ...", or whose the folder is and what to type.
            said = error.message.rpartition("failed: fatal: ")[2]
            remedy = "cd to a repository, or make one: git init" if said.startswith("not a git") else ""
            raise ThetaError(said, error.remedy or remedy) from None

    def _rev_parse(self, *questions: str) -> list[str]:
        answers = os.fsdecode(self.git("rev-parse", *questions)).removesuffix("\n").split("\n")
        if len(answers) == len(questions):
            return answers
        # The name of a folder has line breaks in it.
        return [os.fsdecode(self.git("rev-parse", one)).removesuffix("\n") for one in questions]

    def _cat_file(self) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return self.popen(["cat-file", "--batch"], **pipes)

    def _alternates(self) -> list[Path]:
        """The `theta` folders of the repositories that this one borrows objects from, transitively."""
        found: list[Path] = []
        pending = [self.common_dir / "objects"]
        while pending:
            objects = pending.pop()
            listing = objects / "info" / "alternates"
            if not listing.is_file():
                continue
            for line in listing.read_text(errors="surrogateescape").splitlines():
                if line and not line.startswith("#"):
                    other = objects / line
                    if other.parent / "theta" not in found:
                        found.append(other.parent / "theta")
                        pending.append(other)
        return found


def _foreign_environment() -> dict[str, str]:
    """This process's environment without what git sets for the repository that it called us for."""
    local = subprocess.run(
        ["git", "rev-parse", "--local-env-vars"], capture_output=True, check=True, text=True
    )
    drop = set(local.stdout.split())
    return {name: value for name, value in os.environ.items() if name not in drop}
