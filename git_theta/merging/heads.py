"""Which commits a merge is of, and what may stand in its way."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.repository import Repository
from git_theta.merging import half_merged
from git_theta.merging.entries import Head

_SHORT = 10


def our_head(repository: Repository) -> Head:
    """The commit that is merged into, named by its branch.

    Raises:
        ThetaError: there is none, a merge is under way, or something is staged.
    """
    if repository.bare:
        raise ThetaError("a bare repository has no branch to merge into", "git theta merge in a clone")
    found = repository.commit_of("HEAD")
    if not found:
        raise ThetaError("there is no commit to merge into yet", "git merge --ff-only BRANCH")
    if operation.under_way(repository) or repository.git("ls-files", "-u"):
        raise ThetaError(
            "a merge, rebase, cherry-pick or revert is not finished yet",
            f"finish it with {operation.how_to_finish(repository)}, or {operation.how_to_abort(repository)}",
        )
    for error in half_merged.check(repository):
        raise error
    if repository.run("diff-index", "--cached", "--quiet", "HEAD", "--").returncode:
        raise ThetaError(
            "there are staged changes, which a merge would mix up with its own",
            "git commit, or git stash, then merge again",
        )
    return Head(repository.branch or found[:_SHORT], found)


def heads_to_merge(repository: Repository, ours: Head, revisions: Sequence[str], every: bool) -> list[Head]:
    """The commits to merge, in order, without those that ours or another one contains.

    Args:
        every: whether those count that are contained, beside one that ours does not contain: a strategy that
            was typed is for all models.

    Raises:
        ThetaError: one of them is no commit.
    """
    heads: dict[str, Head] = {}
    for revision in revisions:
        commit = repository.commit_of(revision)
        if not commit:
            raise ThetaError(f"{revision} is not something we can merge", "git branch --all")
        heads.setdefault(commit, Head(revision, commit))
    independent = repository.git("merge-base", "--independent", ours.commit, *heads).decode().split()
    contained = repository.git("rev-list", "--no-walk", *heads, f"^{ours.commit}").decode().split()
    if every and contained:
        return [head for head in heads.values() if head.commit != ours.commit]
    return [head for head in heads.values() if head.commit in independent and head.commit in contained]
