"""Brings the objects of a push to the remote, before the refs."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field

from git_theta.errors import UPGRADE, MissingObject, NewerManifest, ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import Blob
from git_theta.git.repository import Repository
from git_theta.remotes.configured import open_remote
from git_theta.remotes.fetching import fetch_missing
from git_theta.remotes.push_plan import Plan, Push, beyond, commit_of, naming, refs_of
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import fill, pathspec, printable, word
from git_theta.terminal.units import and_more, counted, human_size, listed

_SHOWN = 10
Named = list[tuple[Blob, list[str]]]
"""Manifests, and which objects each names."""


@dataclass
class Delivery:
    """What a push has to bring to a remote.

    Attributes:
        objects: sizes by oid of what the remote lacks and is here.
        problems: why refs must not be pushed, because objects would be missing there.
        notes: what else the user should know, in lines.
        lacking: how many objects stay away, because they are nowhere.
    """

    push: Push
    objects: dict[str, int] = field(default_factory=dict)
    problems: list[ThetaError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lacking: int = 0

    def forecast(self) -> str:
        """For --dry-run."""
        count, size = counted(len(self.objects), "object"), human_size(sum(self.objects.values()))
        return f"would upload {count}, {size}, to {self.push.title}"

    def send(self, repository: Repository, quiet: bool = False) -> str:
        """Bring the objects to the remote, and return what to say of it: nothing where there were none.

        Args:
            quiet: show no progress.

        Raises:
            ThetaError: some did not get there.
        """
        if not self.objects:
            return ""
        remote = open_remote(repository, self.push.name, self.push.url)
        size = sum(self.objects.values())
        with Progress("Uploading objects", size, sized=True, quiet=quiet) as progress:
            remote.upload(self.objects, repository.store, progress.advance)
        return f"Uploaded {counted(len(self.objects), 'object')}, {human_size(size)}, to {self.push.title}."


def prepare(repository: Repository, plan: Plan, push: Push) -> Delivery:
    """Compare a plan with what the remote has, and bring here from other remotes what is not here."""
    delivery = Delivery(push)
    for blob in plan.raw:
        delivery.notes.append(
            f"{printable(blob.path)} is tracked, but was committed as it is ({human_size(blob.size)}); "
            f"to store it with git-theta: git add --renormalize {pathspec(blob.path)}, and commit"
        )
    if plan.damaged:
        _object(repository, delivery, _damaged(repository, plan, push))
    if not plan.objects:
        return delivery
    try:
        there = open_remote(repository, push.name, push.url).has(plan.objects)
    except ThetaError as error:
        if not push.refs_follow or _new(repository, push, plan.objects):
            delivery.problems.append(error)
        return delivery
    wanted = {oid: size for oid, size in plan.objects.items() if oid not in there}
    lost = {} if push.dry_run else fetch_missing(repository, wanted)
    delivery.objects = {oid: size for oid, size in wanted.items() if oid not in lost}
    delivery.lacking = len(lost)
    if lost:
        _account_for(repository, delivery, lost)
    return delivery


def _object(repository: Repository, delivery: Delivery, problem: ThetaError) -> None:
    """Record a problem that stops the push, or only note it if theta.allowIncompletePush is true."""
    if repository.config.settings().allow_incomplete_push:
        delivery.notes.append(f"{problem.message}\n  pushed all the same: theta.allowIncompletePush is true")
    else:
        delivery.problems.append(problem)


def _account_for(repository: Repository, delivery: Delivery, lost: Mapping[str, str]) -> None:
    """Report objects that exist nowhere: an error where new refs need them, a note where only old ones do."""
    push = delivery.push
    new = _new(repository, push, lost) if push.refs_follow else list(naming(repository, push.tips, lost))
    if new:
        _object(repository, delivery, _lost(repository, push, new, lost))
        return
    old = list(naming(repository, push.tips, lost))
    they = "it is" if len(lost) == 1 else "they are"
    delivery.notes.append(
        f"{push.title} lacks {counted(len(lost), 'object')} of commits that it has, "
        f"and {they} nowhere else:\n"
        + "\n".join(_places(repository, push, old, lost))
        + f"\n  in the clone where the files were added: git theta push --all {word(push.url)}"
    )


def _new(repository: Repository, push: Push, oids: Container[str]) -> Named:
    """The manifests that name some of these objects and that no ref of the remote reaches yet.

    The refs that it has are asked for, if those that git has told do not tell enough.
    """
    found = list(naming(repository, beyond(push.tips, push.known), oids))
    return found and list(naming(repository, beyond(push.tips, refs_of(repository, push)), oids))


def _damaged(repository: Repository, plan: Plan, push: Push) -> ThetaError:
    lines = [
        f"  commit {commit_of(repository, blob, push.tips)}, {printable(blob.path)}: {error.message}"
        for blob, error in plan.damaged[:_SHOWN]
    ]
    if all(isinstance(error, NewerManifest) for _, error in plan.damaged):
        why = "which objects these manifests need is not known here, so nothing is pushed:"
        return ThetaError("\n".join([why, *lines]), UPGRADE)
    blob, error = plan.damaged[0]
    mend = fill(error.remedy, blob.path) or f"git add {pathspec(blob.path)}"
    return ThetaError(
        "\n".join(["these manifests could not be checked out by anyone, so they are not pushed:", *lines]),
        f"in the commit itself (git commit --amend, or git rebase -i): {mend}; or push it all the same: "
        + _anyway(push),
    )


def _lost(repository: Repository, push: Push, new: Named, reasons: Mapping[str, str]) -> MissingObject:
    oids = {oid for _, named in new for oid in named}
    stopped = "so no refs are pushed" if push.refs_follow else "so the others alone are brought"
    return MissingObject(
        "\n".join(
            [
                f"{counted(len(oids), 'object is', 'objects are')} neither here nor on a remote, {stopped}:",
                *_places(repository, push, new, reasons),
            ]
        ),
        "\n  ".join(
            [
                "push from the clone where the files were added, or bring the objects from there:",
                f"git theta push --all {word(push.url)}  # in that clone",
                "git theta fetch --all PATH-OF-THAT-CLONE  # here",
                f"or go on without them, and nobody can check these commits out: {_anyway(push)}",
            ]
        ),
        tuple(oids),
    )


def _anyway(push: Push) -> str:
    return f"git -c theta.allowIncompletePush=true {push.retry}"


def _places(repository: Repository, push: Push, found: Named, reasons: Mapping[str, str]) -> list[str]:
    """Lines that say where objects are missing: commit, file, tensor, and why the first could not be had."""
    lines = []
    for blob, oids in found[:_SHOWN]:
        commit = commit_of(repository, blob, push.tips)
        inside = f"commit {commit}, " if commit else ""
        where = f"{inside}{printable(blob.path)}{_tensors(repository, blob.oid, oids)}"
        lines.append(
            f"  {where}: {counted(len(oids), 'object')}, the first is {oids[0]} ({reasons[oids[0]]})"
        )
    return lines + and_more(len(found) - _SHOWN, "file", "  ...")


def _tensors(repository: Repository, blob: str, oids: Collection[str]) -> str:
    manifest = parsed(repository.unaltered.blob(blob))
    if manifest is None:
        return ""
    names = [
        line.name
        for line in manifest.tensors
        if line.digest in manifest.storage and manifest.storage[line.digest].oid in oids
    ]
    return f", tensor {listed(names, 1)}" if names else ""
