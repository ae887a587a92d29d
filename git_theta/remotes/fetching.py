"""Brings objects here that manifests name and the local store lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.remotes.configured import fetch_order, fetched_urls, open_remote
from git_theta.remotes.interface import Advance


def missing(repository: Repository, oids: Mapping[str, int]) -> dict[str, int]:
    """Those objects (oid to size) that are neither in the local store nor in those it borrows from."""
    return {oid: size for oid, size in oids.items() if not repository.store.has(oid, size)}


def on_remotes(repository: Repository, oids: Mapping[str, int]) -> set[str]:
    """Those of these objects (oid to size) that a remote says it has.

    One that cannot be asked vouches for nothing.
    """
    found: set[str] = set()
    for name in fetch_order(repository):
        wanted = {oid: size for oid, size in oids.items() if oid not in found}
        if not wanted:
            break
        with suppress(ThetaError):
            found |= open_remote(repository, name).has(wanted)
    return found


def fetch_missing(
    repository: Repository,
    oids: Mapping[str, int],
    remotes: Sequence[str] | None = None,
    advance: Advance = lambda nbytes: None,
) -> dict[str, str]:
    """Bring what is missing, in one batch, from the first remote that has it.

    Args:
        oids: sizes of the objects that are needed, by oid.
        remotes: names or urls to ask, in order; unless given, all (see remotes.fetch_order), then those that
            git was given by url.
        advance: called with the bytes of each object that has arrived.

    Returns:
        Why, by oid, for each object that could not be had.
    """
    wanted = missing(repository, oids)
    if not wanted:
        return {}
    names = [*fetch_order(repository), *fetched_urls(repository)] if remotes is None else remotes
    reasons: dict[str, list[str]] = {oid: [] for oid in wanted}
    for name in names:
        try:
            failed = open_remote(repository, name).download(wanted, repository.store, advance)
        except ThetaError as error:
            failed = dict.fromkeys(wanted, error.message)
        wanted = {oid: wanted[oid] for oid in failed}
        for oid, reason in failed.items():
            reasons[oid].append(reason)
        if not wanted:
            break
    return {oid: "; ".join(reasons[oid]) or "no remote is configured" for oid in wanted}
