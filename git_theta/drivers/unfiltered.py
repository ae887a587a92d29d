"""Manifests that Git has checked out as they are, because git-theta does not track their names.

Whoever opens such a file finds text where a model should be: it was renamed, or others have untracked it. No
filter runs for it, so hooks look: post-checkout (in the shell first) and post-merge.
"""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.errors import ThetaError
from git_theta.git.attributes import filtered, pattern_of
from git_theta.git.repository import Repository
from git_theta.manifest import MAGIC
from git_theta.terminal.showing import operand
from git_theta.terminal.units import listed
from git_theta.versions.changes import regular_files

_SHOWN = 10


def check(repository: Repository, before: str, after: str) -> None:
    """Look at the files that differ from one commit to the other.

    Args:
        before: zeros for a new work tree.

    Raises:
        ThetaError: some are manifests; names them.
    """
    if not before.strip("0"):
        before = repository.empty_tree()
    changes = repository.raw_changes("diff-tree", "-r", "--diff-filter=d", before, after, check=False)
    paths = [entry.path for entry in regular_files(changes) if _is_manifest(repository, entry.path)]
    if unknown := [path for path in paths if path not in filtered(repository, paths)]:
        raise _refusal(unknown)


def _is_manifest(repository: Repository, path: str) -> bool:
    file = repository.work_tree / path
    if file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def _refusal(paths: Sequence[str]) -> ThetaError:
    return ThetaError(
        f"{listed(paths, _SHOWN)}: only the manifest was written, not the "
        "checkpoint, because git-theta does not track that name",
        f"git theta track {' '.join(operand(pattern_of(path)) for path in paths)}; git theta pull",
    )
