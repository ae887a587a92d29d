"""What `git theta status` shows: how things are set up, what changed, and what is missing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from git_theta.diffs.similarity import SimilarValues
from git_theta.drivers.commit_check import staged
from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git import attribute_files
from git_theta.git.blobs import find_manifests, in_index
from git_theta.git.repository import Repository
from git_theta.merging import unmerged
from git_theta.merging.unmerged import Unmerged
from git_theta.remotes.fetching import missing
from git_theta.setup import hook_files
from git_theta.setup.configuration import SETTINGS
from git_theta.terminal.showing import printable
from git_theta.versions import misplaced
from git_theta.versions.changes import Cost, cost, costs, regular_files, stored_tensors
from git_theta.versions.recorded import ATTRIBUTED


@dataclass(frozen=True)
class Unstaged:
    """A tracked file of the work tree that is not as it is in the index.

    Attributes:
        problem: why it cannot be compared; then there is no cost.
    """

    path: str
    cost: Cost | None
    problem: str = ""

    def text(self) -> str:
        return self.problem if self.cost is None else self.cost.what


@dataclass(frozen=True)
class Status:
    """The state of a repository.

    Attributes:
        installed: whether git's filter is set up.
        hooks_problem: why hooks that are not in place matter; empty if all are.
        patterns: what is tracked, and the file that says so.
        staged, unstaged: checkpoints that changed.
        unmerged: those with a conflict.
        untracked: checkpoints that were not added yet.
        missing: how many objects of a checkpoint in the index are not here, by path.
        manifests: paths whose manifest is in the work tree in place of the checkpoint.
        stand_ins: what else Git has in place of a checkpoint, and what to type, by path.
    """

    installed: bool
    hooks_problem: str
    patterns: list[tuple[str, str]]
    staged: list[Cost]
    unstaged: list[Unstaged]
    unmerged: list[Unmerged]
    untracked: list[str]
    missing: dict[str, int]
    manifests: list[str]
    stand_ins: dict[str, str]

    @property
    def well(self) -> bool:
        """Whether nothing needs mending."""
        return self.installed and self.hooks and not self.missing

    @property
    def hooks(self) -> bool:
        return not self.hooks_problem

    def record(self) -> dict[str, object]:
        """For --json."""
        return {
            "installed": self.installed,
            "hooks": self.hooks,
            "patterns": [{"pattern": pattern, "file": name} for pattern, name in self.patterns],
            "staged": [cost.record() for cost in self.staged],
            "unstaged": [
                {"path": entry.path, "problem": entry.problem}
                if entry.cost is None
                else {
                    "path": entry.path,
                    **entry.cost.amount.record(),
                    "tensors": entry.cost.tensors,
                }
                for entry in self.unstaged
            ],
            "unmerged": {one.path: list(one.names) for one in self.unmerged},
            "untracked": self.untracked,
            "missing_objects": self.missing,
            "manifests_in_work_tree": self.manifests,
            "stand_ins": self.stand_ins,
        }


def installed(repository: Repository) -> bool:
    """Whether git's filter is set up, in whatever scope."""
    return repository.config.get("filter.theta.process") == SETTINGS[0].value


def status(repository: Repository) -> Status:
    """Look at a repository with a work tree.

    Raises:
        ThetaError: it has none.
    """
    top = repository.work_tree
    entries = in_index(repository, merged=True)
    texts = {blob.path: text for blob, text in find_manifests(repository, entries)}
    lacking, left = {}, []
    for path, text in texts.items():
        manifest = parsed(text)
        if manifest and (absent := missing(repository, manifest.oids())):
            lacking[path] = len(absent)
        file = top / path
        if file.is_file() and stand_ins.is_manifest_file(file, text):
            left.append(path)
    return Status(
        installed=installed(repository),
        hooks_problem=hook_files.look(repository).problem,
        patterns=attribute_files.tracked_patterns(repository),
        staged=costs(repository, staged(repository), [] if repository.unborn else ["HEAD"]),
        unstaged=_unstaged(repository, texts),
        unmerged=unmerged.everything(repository),
        untracked=repository.paths("-o", "--exclude-standard", within=[ATTRIBUTED]),
        missing=lacking,
        manifests=left,
        stand_ins={
            blob.path: f"{kind.what}; type: {misplaced.remedy(repository, blob.path, kind)}"
            for blob, kind in misplaced.find(repository, in_index(repository, ATTRIBUTED, merged=True))
        },
    )


def _unstaged(repository: Repository, texts: dict[str, bytes]) -> list[Unstaged]:
    found = []
    for entry in regular_files(repository.raw_changes("diff-files", "--", ATTRIBUTED)):
        if entry.path not in texts:
            continue
        compared = _compare(repository, entry.path, texts[entry.path])
        if compared is not None:
            found.append(compared)
    return found


def _compare(repository: Repository, path: str, text: bytes) -> Unstaged | None:
    """How the work tree's file differs from the index's; None if it was only touched."""
    from git_theta.versions.checkpoint import from_file

    file = repository.work_tree / path
    if not file.exists():
        return Unstaged(path, None, "deleted")
    if found := stand_ins.of_file(file):
        return _not_compared(path, found.warning(path))
    before = parsed(text)
    try:
        opened = from_file(repository, file, path)
    except ThetaError as error:
        return _not_compared(path, error.message)
    with closing(opened):
        after = opened.manifest
        if before is None:
            damage = misplaced.damage(repository, path, text)
            return _not_compared(path, f"{damage.message}; type: {damage.remedy}")
        if after.root == before.root:
            return None
        if after.format != before.format:
            return Unstaged(path, None, f"is no whole {before.format} file now, but {after.format}")
        alike = SimilarValues(stored_tensors(repository, before), opened.tensor)
        return Unstaged(path, cost(path, before, after, (), alike))


def _not_compared(path: str, message: str) -> Unstaged:
    """A file that cannot be compared, and why; what is shown begins with its path anyway."""
    return Unstaged(path, None, message.removeprefix(f"{printable(path)}: "))
