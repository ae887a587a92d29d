"""What a commit cost: the line that post-commit and post-merge print for each checkpoint, or a table."""

from __future__ import annotations

from git_theta.diffs.matching import match
from git_theta.filters.stand_ins import parsed
from git_theta.git import operation
from git_theta.git.repository import Repository
from git_theta.terminal.showing import printable
from git_theta.versions.changes import costs, regular_files, similar


def after_commit(repository: Repository) -> list[str]:
    """The lines for HEAD; none during a rebase, with theta.report=false, or where no checkpoint changed."""
    if operation.rebasing(repository):
        return []
    report = repository.config.settings().report
    if report == "off":
        return []
    parents = repository.parents_of("HEAD")
    trees = [parents[0], "HEAD"] if parents else ["--root", "HEAD"]
    listed = repository.raw_changes("diff-tree", "-r", "--no-commit-id", *trees)
    changed = [entry for entry in regular_files(listed) if entry.after]
    lines = []
    for cost in costs(repository, changed, parents):
        lines.append(f"{printable(cost.path)}: {cost.text()}")
        if report == "tensors":
            lines += _tensors(repository, cost.path)
    return lines


def _tensors(repository: Repository, path: str) -> list[str]:
    """A table of the tensors that HEAD has changed, and the names of those that it has removed."""
    from git_theta.versions import listing  # reads objects, which needs NumPy

    after, before = (parsed(repository.blob(f"{name}:{path}")) for name in ("HEAD", "HEAD^"))
    if after is None:
        return []
    listed = [one for one in listing.tensors(repository, after, before) if one.status != "unchanged"]
    alike = similar(repository, before, after)
    removed = [found.name for found in match(before, after, similar=alike).matches if found.new is None]
    return [
        *(listing.table(listed) if listed else ()),
        *(f"  {printable(name)}  removed" for name in removed),
    ]


def after_merge(repository: Repository) -> list[str]:
    """The lines for a merge commit; none after a fast-forward or a squash, which stored nothing."""
    parents = repository.parents_of("HEAD")
    moved = len(parents) > 1 and parents[0] == repository.oid("ORIG_HEAD")
    return after_commit(repository) if moved else []
