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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta.errors import ThetaError
from git_theta.git.cat_file import CatFile
from git_theta.git.config import Config
from git_theta.git.plumbing import Plumbing, can_be_asked
from git_theta.objects.index import Index
from git_theta.objects.store import LocalStore

if TYPE_CHECKING:
    from git_theta.objects.reader import Objects

EMPTY = "0" * 40
_GLOB = re.compile(r"[*?\[\\]|\A:")
"""What makes a pathspec more than a path."""


class Repository(Plumbing):
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
        super().__init__(folder, environment, own_session)
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
    def here_if_any() -> Repository | None:
        """The repository of the current folder; None where there is none, or none that git opens."""
        try:
            return Repository.here()
        except ThetaError:
            return None

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
        if "\n" not in name and not name.endswith("\r") and can_be_asked(name):
            return name
        return self.oid(name) or EMPTY

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
