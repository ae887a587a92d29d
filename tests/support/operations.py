"""What Git applies changes by, typed as users do: the operations that merge a base, ours and theirs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, commit, model

Values = Mapping[str, np.ndarray]
CONFIGURED = "[merge]\n\tstrategy = average\n\trule = both: ties density=0.2\n"


def packed(values: Values) -> bytes:
    return safetensors_bytes(dict(sorted(values.items())))


def forked(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes, config: str = CONFIGURED) -> None:
    """base (a tag) with a `.thetaconfig`, theirs on a branch of that name, ours on main."""
    repo.write(".thetaconfig", config)
    for branch, data in (("", base), ("theirs", theirs), ("main", ours)):
        if branch:
            repo.git("checkout", "-q", *(["-b"] if branch == "theirs" else []), branch)
        repo.write(MODEL, data)
        repo.commit(branch or "base")
        if not branch:
            repo.git("tag", "base")


def cherry_pick(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    forked(repo, base, ours, theirs)
    repo.git("cherry-pick", "theirs")


def rebase(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    forked(repo, base, ours, theirs)
    repo.git("rebase", "-q", "main", "theirs")


def rebase_by_patches(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    forked(repo, base, ours, theirs)
    repo.git("rebase", "-q", "--apply", "main", "theirs")


def pull_rebase(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    forked(repo, base, ours, theirs)
    repo.git("checkout", "-q", "theirs")
    repo.git("pull", "-q", "--rebase", ".", "main")


def revert(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    """The commit from base to its parent, theirs, is reverted on top of ours."""
    repo.write(".thetaconfig", CONFIGURED)
    for data in (theirs, base, ours):
        repo.write(MODEL, data)
        repo.commit()
    repo.git("revert", "--no-edit", "HEAD~1")


def stash_pop(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    repo.write(".thetaconfig", CONFIGURED)
    repo.write(MODEL, base)
    repo.commit()
    repo.write(MODEL, theirs)
    repo.git("stash", "-q")
    repo.write(MODEL, ours)
    repo.commit()
    repo.git("stash", "pop", "-q")


def checkout_merge(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes) -> None:
    """Local changes, ours, go along to a branch: Git calls the branch ours there, which changes nothing."""
    repo.write(".thetaconfig", CONFIGURED)
    repo.write(MODEL, base)
    repo.commit()
    repo.git("checkout", "-q", "-b", "theirs")
    repo.write(MODEL, theirs)
    repo.commit()
    repo.git("checkout", "-q", "-")
    repo.write(MODEL, ours)
    repo.git("checkout", "-q", "-m", "theirs")


APPLYING = (cherry_pick, rebase, rebase_by_patches, pull_rebase, revert, stash_pop, checkout_merge)


def grown(repo: GitRepo, **branches: bytes) -> None:
    """A commit with zeros on main, and branches from there."""
    commit(repo, MODEL, model(u=0, w=0), "base")
    repo.git("tag", "base")
    for name, data in branches.items():
        repo.git("checkout", "-q", "-b", name, "main")
        repo.write(MODEL, data)
        repo.commit(name)
    repo.git("checkout", "-q", "main")
