"""The three-way view of a path in conflict: what each side of the merge changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.repository import Repository
from git_theta.merging import conflicts
from git_theta.terminal.showing import pathspec, printable
from git_theta.versions.comparison import compare_three
from git_theta.versions.places import Place

if TYPE_CHECKING:
    from git_theta.diffs.three_way import ThreeWay
    from git_theta.terminal.style import Style


def render(repository: Repository, path: str, style: Style, *, tensors: bool = False) -> str:
    """The three-way view of an unmerged path, as text.

    Raises:
        ThetaError: it has no conflict, or a side cannot be read.
    """
    from git_theta.diffs import three_way_table

    return three_way_table.render(three_way(repository, path), style, tensors=tensors)


def three_way(
    repository: Repository, path: str, only: str | None = None, *, visible: bool = True
) -> ThreeWay:
    """Ours and theirs against their base, by the stages in the index.

    Raises:
        ThetaError: as for `render`.
    """
    stages = conflicts.stages(repository, path)
    if not stages:
        raise ThetaError(f"{printable(path)} has no conflict", f"git status {pathspec(path)}")
    labels = [
        label if stage in stages else f"{label}, no file"
        for stage, label in enumerate(_labels(repository, path), 1)
    ]
    base, ours, theirs = (
        Place(path, *stages.get(stage, ("", "")), label=label) for stage, label in enumerate(labels, 1)
    )
    return compare_three(repository, (base, ours, theirs), only, visible=visible)


def _labels(repository: Repository, path: str) -> tuple[str, str, str]:
    """The names that the view gives base, ours and theirs."""
    record = conflicts.find(repository, path)
    if record is not None:
        return "base", record.ours_name, record.theirs_name
    theirs = operation.other_head(repository)
    return ("base", "HEAD", theirs) if theirs else ("base", "stage 2", "stage 3")
