"""Partial clones: what they lack is brought in one batch. Git by itself asks for each blob alone."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.git.repository import Repository

_FETCH = (
    *("-c", "fetch.negotiationAlgorithm=noop", "fetch", "--stdin", "--filter=blob:none"),
    *("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--recurse-submodules=no"),
)
"""As git itself fetches what is missing."""


def promisors(repository: Repository) -> list[str]:
    """The remotes that have promised what this clone lacks; none, unless it is a partial one."""
    config = repository.config
    names = [n for n in config.subsections("remote") if config.boolean(f"remote.{n}.promisor", False)]
    older = config.get("extensions.partialClone")
    return list(dict.fromkeys([*names, *([older] if older else [])]))


def allowances(repository: Repository) -> tuple[str, ...]:
    """What rev-list needs, so that it asks no remote for what is not here."""
    return ("--missing=allow-any",) if promisors(repository) else ()


def bring_missing(repository: Repository, revisions: Sequence[str], *options: str) -> None:
    """Bring the blobs (and trees) here that `git rev-list --objects` reaches and a partial clone lacks.

    What no promisor gives stays away: git says so where it is needed.
    """
    names = promisors(repository)
    asked: set[str] = set()
    while names:
        missing = _missing(repository, revisions, options) - asked
        if not missing:
            return
        asked |= missing  # trees can name more
        wanted = "".join(f"{oid}\n" for oid in sorted(missing)).encode()
        for name in names:
            if repository.run(*_FETCH, name, stdin=wanted).returncode == 0:
                break


def _missing(repository: Repository, revisions: Sequence[str], options: Sequence[str]) -> set[str]:
    listed = repository.git(
        "rev-list",
        "--objects",
        "--missing=print",
        "--stdin",
        *options,
        stdin="".join(f"{revision}\n" for revision in revisions).encode(),
    )
    return {line[1:].decode() for line in listed.splitlines() if line.startswith(b"?")}
