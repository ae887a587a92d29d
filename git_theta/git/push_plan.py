"""Which objects a push must bring: all that the manifests in its commits name.

Computed from the commits alone, so that merges, new branches of fresh clones, forced pushes and tags need
nothing but what Git has.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, ThetaError
from git_theta.git.attributes import filtered
from git_theta.git.blobs import Blob, find_manifests, in_tree, reachable
from git_theta.git.recorded import parsed
from git_theta.git.repository import Repository

_RAW_BYTES = 1024  # what is smaller under a tracked pattern is no checkpoint: a symbolic link, a pointer


@dataclass
class Plan:
    """The objects of a range of commits.

    Attributes:
        needed: sizes by oid, of what the manifests in the range name.
        tips: the same for the manifests in the last commits, which older commits brought.
        owners: the manifest that first named an oid.
        damaged: manifests that cannot be restored, and why.
        raw: checkpoints that are stored as they are under a tracked pattern.
    """

    needed: dict[str, int] = field(default_factory=dict)
    tips: dict[str, int] = field(default_factory=dict)
    owners: dict[str, Blob] = field(default_factory=dict)
    damaged: list[tuple[Blob, ThetaError]] = field(default_factory=list)
    raw: list[Blob] = field(default_factory=list)


def plan(repository: Repository, tips: Sequence[str], excluded: Sequence[str], *options: str) -> Plan:
    """Plan a push.

    Args:
        tips: what is pushed: commits, tags, or anything else that a ref can name.
        excluded: commits that the remote has.
        options: more of rev-list's arguments, for example ("--not", "--remotes=origin").
    """
    made = Plan()
    blobs = list(reachable(repository, [*tips, *(f"^{oid}" for oid in excluded)], *options))
    stored = set()
    for blob, text in find_manifests(repository, blobs):
        stored.add(blob.oid)
        _add(made, blob, text)
    others = {
        blob.path: blob for blob in blobs if blob.oid not in stored and blob.size >= _RAW_BYTES and blob.path
    }
    made.raw = [others[path] for path in sorted(filtered(repository, others))]
    for tip in tips:
        _add_tip(repository, made, tip, stored)
    return made


def commit_of(repository: Repository, blob: Blob, tips: Iterable[str]) -> str:
    """The commit that brought a blob, abbreviated; empty if git does not say."""
    found = repository.run("log", "-m", "--format=%h", f"--find-object={blob.oid}", *tips)
    return "".join(found.stdout.decode().split()[-1:])  # the newer ones may have removed it


def _add(made: Plan, blob: Blob, text: bytes) -> None:
    try:
        manifest = manifests.parse(text)
        if not manifest.storage:
            raise DamagedManifest(
                "its data were never stored", f"git add {shlex.quote(blob.path)}, and commit again"
            )
    except DamagedManifest as error:
        made.damaged.append((blob, error))
        return
    for oid, size in manifest.oids().items():
        made.needed.setdefault(oid, size)
        made.owners.setdefault(oid, blob)


def _add_tip(repository: Repository, made: Plan, tip: str, seen: set[str]) -> None:
    """What the last commit needs of older ones: a push without our hooks can have left it behind."""
    try:
        blobs = [blob for blob in in_tree(repository, tip) if blob.oid not in seen]
    except ThetaError:
        return  # a tag of something that is no tree
    tracked = filtered(repository, (blob.path for blob in blobs))
    for blob, text in find_manifests(repository, (blob for blob in blobs if blob.path in tracked)):
        seen.add(blob.oid)
        manifest = parsed(text)
        for oid, size in (manifest.oids() if manifest else {}).items():
            if oid not in made.needed:
                made.tips.setdefault(oid, size)
                made.owners.setdefault(oid, blob)
