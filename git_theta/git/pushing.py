"""Brings the objects of a push to the remote, before the refs."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from git_theta import manifest as manifests
from git_theta.errors import UPGRADE, MissingObject, NewerManifest, ThetaError
from git_theta.git.fetching import fetch_missing
from git_theta.git.push_plan import Plan, commit_of
from git_theta.git.remotes import fetch_order, open_remote
from git_theta.git.repository import Repository
from git_theta.remotes.progress import Progress
from git_theta.units import human_size

_SHOWN = 10


@dataclass(frozen=True)
class Target:
    """Where to push: a remote's name (or its url again), and its url if git has told us."""

    name: str
    url: str = ""


@dataclass
class Delivery:
    """What a push has to bring to a remote.

    Attributes:
        objects: sizes by oid of what the remote lacks and is here.
        problems: why refs must not be pushed, because objects would be missing there.
        notes: what else the user should know, in lines.
    """

    target: Target
    objects: dict[str, int] = field(default_factory=dict)
    problems: list[ThetaError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For --dry-run."""
        size = human_size(sum(self.objects.values()))
        return f"would upload {len(self.objects)} objects, {size}, to {self.target.name}"

    def send(self, repository: Repository, quiet: bool = False) -> None:
        """Bring the objects to the remote.

        Args:
            quiet: show no progress.

        Raises:
            ThetaError: some did not get there.
        """
        if self.objects:
            remote = open_remote(repository, self.target.name, self.target.url)
            with Progress("Uploading objects", self.objects, quiet) as progress:
                remote.upload(self.objects, repository.store, progress.advance)


def prepare(
    repository: Repository, plan: Plan, target: Target, tips: Sequence[str], dry_run: bool = False
) -> Delivery:
    """Compare a plan with what the remote has, and bring here from other remotes what is not here.

    Args:
        tips: what is pushed, to name commits in messages.
        dry_run: bring nothing here.
    """
    delivery = Delivery(target)
    for blob in plan.raw:
        delivery.notes.append(
            f"{blob.path} is tracked, but was committed as it is ({human_size(blob.size)}); "
            f"to store it with git-theta: git add --renormalize {shlex.quote(blob.path)}, and commit"
        )
    if plan.damaged:
        delivery.problems.append(_damaged(repository, plan, tips))
    objects = plan.needed | plan.tips
    if not objects:
        return delivery
    try:
        there = open_remote(repository, target.name, target.url).has(objects)
    except ThetaError as error:
        if plan.needed:  # otherwise all that is pushed is there already
            delivery.problems.append(error)
        return delivery
    wanted = {oid: size for oid, size in objects.items() if oid not in there}
    others = [name for name in fetch_order(repository) if name != target.name]
    lost = {} if dry_run else fetch_missing(repository, wanted, others)
    delivery.objects = {oid: size for oid, size in wanted.items() if oid not in lost}
    needed = {oid: why for oid, why in lost.items() if oid in plan.needed}
    if needed:
        delivery.problems.append(_lost(repository, plan, needed, tips))
    elif lost:
        paths = ", ".join(sorted({plan.owners[oid].path for oid in lost}))
        delivery.notes.append(
            f"{target.name} lacks {len(lost)} objects of {paths}, which are not here either"
        )
    return delivery


def _damaged(repository: Repository, plan: Plan, tips: Sequence[str]) -> ThetaError:
    lines = [
        f"  commit {commit_of(repository, blob, tips)}, {blob.path}: {error.message}"
        for blob, error in plan.damaged[:_SHOWN]
    ]
    if all(isinstance(error, NewerManifest) for _, error in plan.damaged):
        why = "which objects these manifests need is not known here, so nothing is pushed:"
        return ThetaError("\n".join([why, *lines]), UPGRADE)
    return ThetaError(
        "\n".join(["these manifests could not be checked out by anyone, so they are not pushed:", *lines]),
        plan.damaged[0][1].remedy or f"git add {shlex.quote(plan.damaged[0][0].path)}, and commit again",
    )


def _lost(
    repository: Repository, plan: Plan, reasons: Mapping[str, str], tips: Sequence[str]
) -> MissingObject:
    by_blob: dict[str, list[str]] = {}
    blobs = {plan.owners[oid].oid: plan.owners[oid] for oid in reasons}
    for oid in reasons:
        by_blob.setdefault(plan.owners[oid].oid, []).append(oid)
    lines = []
    for name, oids in list(by_blob.items())[:_SHOWN]:
        blob = blobs[name]
        tensors = _tensors(repository, name, oids)
        lines.append(
            f"  commit {commit_of(repository, blob, tips)}, {blob.path}{tensors}: {len(oids)} objects, "
            f"the first is {oids[0]} ({reasons[oids[0]]})"
        )
    return MissingObject(
        "\n".join([f"{len(reasons)} objects are neither here nor there, so nothing is pushed:", *lines]),
        "push from the clone where the files were added; or from elsewhere: git theta fetch REMOTE --all",
        tuple(reasons),
    )


def _tensors(repository: Repository, blob: str, oids: Collection[str]) -> str:
    text = repository.blob(blob)
    if text is None:
        return ""
    manifest = manifests.parse(text)
    names = [line.name for line in manifest.tensors if manifest.storage[line.digest].oid in oids]
    return f", tensor {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "") if names else ""
