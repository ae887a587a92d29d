"""The pre-receive hook of a repository that others push to: no ref without the data of its checkpoints.

Pushes without git-theta's pre-push (--no-verify, clients that run no hooks, clones made before git-theta was
installed) bring manifests alone. Git keeps what is pushed apart until this hook has agreed, and its
environment lets the git commands here see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from git_theta import manifest as manifests
from git_theta.errors import ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import Blob, find_manifests, reachable
from git_theta.git.repository import Repository
from git_theta.remotes.directory import DirectoryRemote
from git_theta.remotes.push_plan import commit_of, damage
from git_theta.terminal.units import and_more, counted
from git_theta.versions.recovery import needing

_SHOWN = 10
_KNOWN = ("--not", "--all")


@dataclass(frozen=True)
class Update:
    """A line of pre-receive's standard input (githooks(5)). A deleted ref has a new oid of zeros."""

    old: str
    new: str
    ref: str


def pre_receive(repository: Repository, updates: str) -> None:
    """Look at the commits that are new to this repository.

    Raises:
        ThetaError: the push must be refused.
    """
    repository.store.clean_up()
    asked = [Update(*line.split(" ", 2)) for line in updates.splitlines()]
    refs = [update for update in asked if update.new.strip("0")]
    if not refs:
        return
    received = repository.unaltered
    tips = list(dict.fromkeys(update.new for update in refs))
    damaged: dict[Blob, ThetaError] = {}
    needed: dict[str, int] = {}
    owners: dict[str, Blob] = {}
    for blob, text in find_manifests(received, reachable(received, tips, *_KNOWN)):
        if error := damage(blob, text):
            damaged[blob] = error
            continue
        for oid, size in manifests.find_objects(text).items():
            needed[oid] = size
            owners.setdefault(oid, blob)
    if damaged:
        raise _damaged(received, damaged, refs)
    lost = needed.keys() - DirectoryRemote("this repository", repository.store).has(needed)
    if lost:
        raise _lost(received, {oid: owners[oid] for oid in sorted(lost)}, refs)


def _damaged(repository: Repository, errors: Mapping[Blob, ThetaError], refs: Sequence[Update]) -> ThetaError:
    reasons = {blob: error.message for blob, error in errors.items()}
    remedies = dict.fromkeys(error.remedy for error in errors.values() if error.remedy)
    return ThetaError(
        "\n".join(
            [
                "refused: the manifests of these checkpoints cannot be read here:",
                *_lines(repository, reasons, refs),
            ]
        ),
        "; ".join(remedies) or "git theta fsck",
    )


def _lost(repository: Repository, lost: Mapping[str, Blob], refs: Sequence[Update]) -> ThetaError:
    by_blob: dict[Blob, list[str]] = {}
    for oid, blob in lost.items():
        by_blob.setdefault(blob, []).append(oid)
    reasons = {}
    for blob, oids in by_blob.items():
        manifest = parsed(repository.blob(blob.oid))
        tensors = f"tensors {needing(manifest, oids)}: " if manifest else ""
        reasons[blob] = f"{tensors}{counted(len(oids), 'object')}, the first is {oids[0]}"
    needed = counted(
        len(lost), "object that these checkpoints need is", "objects that these checkpoints need are"
    )
    return ThetaError(
        "\n".join(
            [
                f"refused: {needed} not here:",
                *_lines(repository, reasons, refs),
                "to bring them (name the remote, unless it is the default), and then push again:",
            ]
        ),
        "git theta push --all",
    )


def _lines(repository: Repository, reasons: Mapping[Blob, str], refs: Sequence[Update]) -> Iterator[str]:
    for blob, reason in islice(reasons.items(), _SHOWN):
        ref, commit = _origin(repository, blob, refs)
        yield f"  {ref}, commit {commit}, {blob.path or blob.oid}: {reason}"
    yield from and_more(len(reasons) - _SHOWN, ellipsis="  ...")


def _origin(repository: Repository, blob: Blob, refs: Sequence[Update]) -> tuple[str, str]:
    """The first ref that brings a blob, and its commit."""
    for update in refs:
        if commit := commit_of(repository, blob, [update.new, *_KNOWN]):
            return update.ref, commit
    return refs[0].ref, refs[0].new[:10]  # a tag of the blob itself
