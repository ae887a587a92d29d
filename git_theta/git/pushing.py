"""Brings the objects of a push to the remote, before the refs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from git_theta import manifest as manifests
from git_theta.errors import MissingObject, ThetaError
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


def push_objects(
    repository: Repository,
    plan: Plan,
    target: Target,
    tips: Sequence[str],
    say: Callable[[str], None],
    dry_run: bool = False,
    partial: bool = False,
) -> None:
    """Upload what the remote lacks.

    Args:
        tips: what is pushed, to name commits in messages.
        say: shows a line to the user.
        dry_run: only say what would be uploaded.
        partial: bring what there is before anything is raised.

    Raises:
        ThetaError: the refs must not be pushed, because objects would be missing there.
    """
    for blob in plan.raw:
        say(
            f"git-theta: {blob.path} is tracked, but was committed as it is ({human_size(blob.size)}); "
            f"to store it with git-theta: git add --renormalize {blob.path}, and commit"
        )
    failure = _damaged(repository, plan, tips) if plan.damaged else None
    if failure and not partial:
        raise failure
    failure = _upload(repository, plan, target, tips, say, dry_run, partial) or failure
    if failure:
        raise failure


def _upload(
    repository: Repository,
    plan: Plan,
    target: Target,
    tips: Sequence[str],
    say: Callable[[str], None],
    dry_run: bool,
    partial: bool,
) -> ThetaError | None:
    """Upload what the remote lacks, and return what is wrong with the rest."""
    if not plan.needed and not plan.tips:
        return None
    try:
        remote = open_remote(repository, target.name, target.url)
    except ThetaError as error:
        return error if plan.needed else None  # without, all that is pushed is there already
    there = remote.has([*plan.needed, *plan.tips])
    wanted = {oid: size for oid, size in (plan.needed | plan.tips).items() if oid not in there}
    if dry_run:
        if wanted:
            say(f"git-theta: would upload {_amount(wanted)} to {target.name}")
        return None
    others = [name for name in fetch_order(repository) if name != target.name]
    lost = fetch_missing(repository, wanted, others)
    failure = None
    if lost.keys() & plan.needed.keys():
        failure = _lost(repository, plan, {oid: why for oid, why in lost.items() if oid in plan.needed}, tips)
        if not partial:
            return failure
    elif lost:
        paths = ", ".join(sorted({plan.owners[oid].path for oid in lost}))
        say(f"git-theta: {target.name} lacks {len(lost)} objects of {paths} that are not here either")
    wanted = {oid: size for oid, size in wanted.items() if oid not in lost}
    if wanted:
        with Progress("Uploading objects", wanted) as progress:
            remote.upload(wanted, repository.store, progress.advance)
    return failure


def _amount(objects: Mapping[str, int]) -> str:
    return f"{len(objects)} objects, {human_size(sum(objects.values()))}"


def _damaged(repository: Repository, plan: Plan, tips: Sequence[str]) -> ThetaError:
    lines = [
        f"  commit {commit_of(repository, blob, tips)}, {blob.path}: {error.message}"
        for blob, error in plan.damaged[:_SHOWN]
    ]
    return ThetaError(
        "\n".join(["these manifests could not be checked out by anyone, so they are not pushed:", *lines]),
        plan.damaged[0][1].remedy or f"git add {plan.damaged[0][0].path}, and commit again",
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
