"""`git theta fetch`: brings the objects of refs that are here already."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, MissingObject, NewerManifest, ThetaError
from git_theta.git import blobs
from git_theta.git.partial import bring_missing
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.remotes.advice import advice
from git_theta.remotes.configured import meant
from git_theta.remotes.fetching import fetch_missing, missing
from git_theta.setup import hook_files
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import Say
from git_theta.terminal.units import counted, human_size, listed
from git_theta.versions.recovery import named

SHOWN = 5  # paths that a message names


def fetch(repository: Repository, remote: str, refs: Sequence[str], everything: bool, say: Say) -> None:
    """Bring the objects of refs here.

    Args:
        remote: a name or a url; if empty, all remotes are asked in turn.
        refs: revisions; unless given, HEAD and what is staged.
        everything: all that any ref reaches.

    Raises:
        MissingObject: some could not be had; all others are here.
        NewerManifest: it is not known what one of them needs; what the others need is here.
    """
    hook_files.complete(repository, say)
    newer: list[ThetaError] = []
    found = list(_manifests(repository, remote, refs, everything, newer))
    _bring(repository, remote, found, lambda: _how(repository, remote, refs, everything), say)
    if newer:
        raise newer[0]


def _bring(
    repository: Repository,
    remote: str,
    found: Sequence[tuple[str, Manifest]],
    remedy: Callable[[], str],
    say: Say,
) -> None:
    """Bring here what manifests, by path, need. Raises MissingObject, with the remedy."""
    wanted = missing(repository, {oid: size for _, m in found for oid, size in m.oids().items()})
    if not wanted:
        say("All objects are here already.")
        return
    with Progress("Fetching objects", sum(wanted.values()), sized=True) as progress:
        lost = fetch_missing(repository, wanted, [remote] if remote else None, progress.advance)
    if lost:
        shown = listed(sorted({path for path, m in found if lost.keys() & m.oids().keys()}), SHOWN)
        oid, why = next(iter(lost.items()))
        raise MissingObject(
            f"{len(lost)} of {counted(len(wanted), 'object')} could not be had, of {shown}; "
            f"the first is {oid}: {why}",
            remedy(),
            tuple(lost),
        )
    say(f"Fetched {counted(len(wanted), 'object')}, {human_size(sum(wanted.values()))}.")


def _how(repository: Repository, remote: str, refs: Sequence[str], everything: bool) -> str:
    """The command that brings what a fetch could not get, from wherever it can be."""
    found = advice(repository, remotes=[remote] if remote else None)
    if not found.there:
        return found.here
    words = [*(["--all"] if everything else []), *([remote] if remote else []), *refs]
    return replace(found, fetch=shlex.join(["git", "theta", "fetch", *words])).text()


def _manifests(
    repository: Repository, remote: str, refs: Sequence[str], everything: bool, newer: list[ThetaError]
) -> Iterable[tuple[str, Manifest]]:
    """The manifests of refs by path.

    Args:
        newer: gets an error for each that only a newer git-theta can read.
    """
    if everything:
        repository = repository.unaltered
        bring_missing(repository, [], "--all", "--indexed-objects")
        found = list(blobs.reachable(repository, [], "--all", "--indexed-objects"))
    elif refs:
        found = [b for ref in refs for b in blobs.in_tree(repository, meant(repository, ref, remote))]
    else:
        found = blobs.in_index(repository) + ([] if repository.unborn else blobs.in_tree(repository, "HEAD"))
    for blob, text in blobs.find_manifests(repository, {blob.oid: blob for blob in found}.values()):
        try:
            yield blob.path, manifests.parse(text)
        except NewerManifest as error:
            newer.append(named(blob.path, error))
        except DamagedManifest:
            continue  # git theta fsck tells of it
