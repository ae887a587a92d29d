"""What a commit cost: the line that post-commit and post-merge print for each checkpoint."""

from __future__ import annotations

from git_theta.git.changes import costs, parse_raw
from git_theta.git.repository import Repository

_REBASES = ("rebase-merge", "rebase-apply")


def after_commit(repository: Repository) -> list[str]:
    """The lines for HEAD; none during a rebase, with theta.report=false, or where no checkpoint changed."""
    if any((repository.git_dir / name).exists() for name in _REBASES):
        return []
    if not repository.config.settings().report:
        return []
    _, *parents = repository.git("rev-list", "--parents", "-n", "1", "HEAD").decode().split()
    trees = [parents[0], "HEAD"] if parents else ["--root", "HEAD"]
    listed = repository.git(
        "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id", *trees
    )
    changed = [entry for entry in parse_raw(listed) if entry.after]
    return [f"{cost.path}: {cost.text()}" for cost in costs(repository, changed, parents)]


def after_merge(repository: Repository) -> list[str]:
    """The lines for a merge commit; none after a fast-forward or a squash, which stored nothing."""
    parents = repository.git("rev-list", "--parents", "-n", "1", "HEAD").decode().split()[1:]
    before = repository.run("rev-parse", "-q", "--verify", "ORIG_HEAD").stdout.decode().strip()
    return after_commit(repository) if len(parents) > 1 and parents[0] == before else []
