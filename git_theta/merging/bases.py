"""The common ancestor of a merge; where a criss-cross history has several, what merging these gives."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.merging.entries import Head
from git_theta.setup.configuration import DRIVER

FOR_ANCESTORS = (
    *("-c", f"merge.theta-ancestors.driver={DRIVER}"),
    *("-c", "merge.theta.recursive=theta-ancestors"),
)
"""Settings by which git merges common ancestors into one as git merge does."""

_MARKERS = "99"  # so long are conflict markers of ancestors only, by which the driver knows them


def common_ancestor(repository: Repository, heads: Sequence[Head]) -> str:
    """A commit with the common ancestor's tree.

    Raises:
        ThetaError: there is none.
    """
    found = repository.merge_bases(*(head.commit for head in heads))
    if not found:
        raise no_common_ancestor(repository, heads)
    merged, *others = found
    for other in others:
        driver = f"merge.theta.driver={DRIVER.replace('%L', _MARKERS)}"
        done = repository.run("-c", driver, *FOR_ANCESTORS, "merge-tree", "--write-tree", merged, other)
        tree = done.stdout.decode(errors="surrogateescape").split("\n", 1)[0]
        if done.returncode > 1 or not tree:
            raise ThetaError(f"git merge-tree failed: {done.stderr.decode(errors='replace')}", "git fsck")
        parents = ["-p", merged, "-p", other]
        merged = repository.git("commit-tree", *parents, "-m", "common ancestors", tree).decode().strip()
    return merged


def no_common_ancestor(repository: Repository, heads: Sequence[Head]) -> ThetaError:
    """The error for a merge of unrelated histories."""
    names = ", ".join(head.name for head in heads)
    if repository.shallow:
        return ThetaError(
            f"this clone is shallow and lacks the common ancestor of {names}",
            "git fetch --deepen=100 (or git fetch --unshallow), then merge again",
        )
    one_by_one = "" if len(heads) == 2 else "one after the other: "
    return ThetaError(
        f"{names} have no common ancestor",
        f"{one_by_one}git merge --allow-unrelated-histories {shlex.quote(heads[1].name)}; for strategies "
        "without a base, git theta merge has that option, too, and for others --base REV",
    )
