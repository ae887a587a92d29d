"""What `git theta install` writes into git's configuration, and takes out again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository


@dataclass(frozen=True)
class Setting:
    """A configuration value.

    Attributes:
        command: the git theta command that it needs.
        runs: whether the value is a command line: one that git-theta did not write is the user's.
    """

    key: str
    value: str
    command: str
    runs: bool = True


DRIVER = "git-theta merge-driver %O %A %B %L %P"
"""The command line of the merge driver."""

SETTINGS = (
    Setting("filter.theta.process", "git-theta filter-process", "filter-process"),
    Setting("filter.theta.clean", "git-theta clean -- %f", "clean"),
    Setting("filter.theta.smudge", "git-theta smudge -- %f", "smudge"),
    Setting("filter.theta.required", "true", "filter-process", runs=False),
    Setting("diff.theta.command", "git-theta diff-driver", "diff-driver"),
    Setting("diff.theta.textconv", "git-theta textconv", "textconv"),
    Setting("merge.theta.name", "merge checkpoints tensor by tensor", "merge-driver", runs=False),
    Setting("merge.theta.driver", DRIVER, "merge-driver"),
    Setting("merge.theta.recursive", "theta", "merge-driver", runs=False),
)

_OURS = re.compile(
    r"git[ -]theta\b"
)  # also what the first git-theta wrote: git-theta-filter, git-theta-merge


class GitConfig:
    """git's configuration at one scope.

    Args:
        repository: None where there is none: then only the scopes global and system are there.
        scope: global, system, local or worktree.
    """

    def __init__(self, repository: Repository | None, scope: str) -> None:
        self.scope = scope
        self._repository = repository

    def all(self, key: str) -> list[str]:
        """The values of a key at this scope."""
        return self._run("--get-all", key, check=False).splitlines()

    def set(self, key: str, value: str) -> None:
        if self.all(key) != [value]:
            self._run("--replace-all", key, value)

    def unset(self, key: str, value: str) -> None:
        """Remove this value, if it is there."""
        if value in self.all(key):
            self._run("--unset-all", key, f"^{re.escape(value)}$")

    def _run(self, *arguments: str, check: bool = True) -> str:
        command = ["git", "config", f"--{self.scope}", *arguments]
        folder = None if self._repository is None else self._repository.folder
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if check and done.returncode:
            raise ThetaError(
                f"cannot write git's {self.scope} configuration: {done.stderr.strip()}",
                "see who may write it: git config --list --show-origin --show-scope",
            )
        return done.stdout


def configure(config: GitConfig, commands: Collection[str], force: bool) -> None:
    """Write the settings whose commands there are.

    Raises:
        ThetaError: a key has a value that git-theta did not write, and `force` is not given. Nothing is
            written then.
    """
    settings = [setting for setting in SETTINGS if setting.command in commands]
    for setting in settings:
        others = [value for value in config.all(setting.key) if setting.runs and not _OURS.match(value)]
        if others and not force:
            raise ThetaError(
                f"git's {config.scope} configuration sets {setting.key} to {others[0]}, not by git-theta",
                "to overwrite it: git theta install --force",
            )
    for setting in settings:
        config.set(setting.key, setting.value)


def unconfigure(config: GitConfig) -> None:
    """Remove what `configure` wrote; what the user has changed since then stays."""
    for setting in SETTINGS:
        for value in config.all(setting.key):
            if value == setting.value or (setting.runs and _OURS.match(value)):
                config.unset(setting.key, value)


def configured(config: GitConfig) -> bool:
    """Whether the filter is set up at this scope."""
    return any(_OURS.match(value) for value in config.all("filter.theta.process"))
