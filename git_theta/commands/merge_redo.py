"""`git theta merge --redo`: repeats what the message of a commit says about its merges, and compares."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from git_theta.errors import ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git.repository import Repository
from git_theta.merges.apply import Applied
from git_theta.merging import trailers
from git_theta.merging.checkpoint_merge import CheckpointMerge
from git_theta.merging.chosen_base import NONE, Base
from git_theta.merging.entries import Head
from git_theta.merging.merge import Merge
from git_theta.merging.trailers import Recorded
from git_theta.terminal.showing import Say, printable
from git_theta.terminal.units import listed


def redo(repository: Repository, revision: str, device: str, say: Say) -> int:
    """Repeat the merges that a commit records, and say whether they give the same. Returns 1 if not.

    Nothing but objects that nobody names is written.

    Args:
        device: where to compute; auto is where the commit was made.

    Raises:
        ThetaError: the commit records no merge, or it cannot be repeated.
    """
    commit = repository.commit_of(revision)
    if not commit:
        raise ThetaError(f"there is no commit {revision}", "git log --merges")
    parents = repository.parents_of(commit)
    recorded, computed_on, ancestor = trailers.read(repository, commit)
    device = computed_on if device == "auto" else device
    of_parents = {path: one for path, one in recorded.items() if not one.versions}
    if of_parents and len(parents) < 2:
        raise ThetaError(f"{revision} is no merge", "git log --merges")
    base = _base(repository, revision, ancestor)
    results = _of_parents(repository, revision, parents, base, of_parents, device, say) if of_parents else {}
    for path, one in recorded.items():
        if one.versions:
            results[path] = _of_versions(repository, revision, path, one, device)
    same = [_compare(repository, commit, path, results.get(path), say) for path in sorted(recorded)]
    return 0 if all(same) else 1


def _base(repository: Repository, revision: str, recorded: str) -> Base:
    """What was taken for the common ancestor. Raises ThetaError where that is not here."""
    if recorded not in ("", NONE) and not repository.commit_of(recorded):
        raise ThetaError(
            f"the base {recorded[:12]} of the merge {revision} is no commit here", "git fetch --all"
        )
    return Base(recorded)


def _of_parents(
    repository: Repository,
    revision: str,
    parents: list[str],
    base: Base,
    recorded: Mapping[str, Recorded],
    device: str,
    say: Say,
) -> dict[str, Applied]:
    """The merge of a commit's parents again."""
    heads = [Head(parent[:10], parent) for parent in parents]
    origin = f"the message of {revision}"
    with Merge(
        repository,
        heads[0],
        heads[1:],
        lambda path: base.rules(recorded[path].rules(origin), recorded=True) if path in recorded else None,
        device,
        combines=True,
        layers_of={path: one.layer(origin) for path, one in recorded.items()},
        base=base,
    ) as planned:
        for other in planned.trees.contested:
            if other.path not in recorded:
                say(f"{printable(other.path)}: the commit does not say how it was merged")
        planned.check_tensors()
        planned.fetch(checked_out=False)
        return planned.carry_out(lambda line: None, checked_out=False)


def _of_versions(repository: Repository, revision: str, path: str, one: Recorded, device: str) -> Applied:
    """The merge of these versions again: of a change that was applied, or of a squashed merge."""
    blobs = [repository.blob(oid) if oid else None for oid in one.versions]
    for oid, blob in zip(one.versions, blobs, strict=True):
        if oid and blob is None:
            raise ThetaError(
                f"{printable(path)} cannot be merged again: its version {oid[:12]} is not here any more",
                "fetch the branch that the change was taken from, then this again",
            )
    merge = CheckpointMerge(repository, path, blobs, ("base", "ours", "theirs"))
    with closing(merge):
        plan = merge.plan(one.rules(f"the message of {revision}"))
        if plan.skeleton.action == "conflict" or plan.conflicts():
            raise ThetaError(
                f"{printable(path)}: what {revision} says leaves some tensors in conflict",
                f"git log -1 {revision}",
            )
        merge.fetch(plan, whole=False)
        return merge.apply(plan, device=device)


def _compare(repository: Repository, commit: str, path: str, again: Applied | None, say: Say) -> bool:
    """Whether a commit has this result of a merge, and say so."""
    recorded = parsed(repository.blob(f"{commit}:{path}"))
    if again is None or recorded is None:
        why = "the merge has nothing to combine there" if again is None else "the commit has no checkpoint"
        say(f"{printable(path)}: another result: {why}")
        return False
    if again.manifest.root == recorded.root:
        say(f"{printable(path)}: the same result, {recorded.root[:12]}")
        return True
    before = {line.name: line for line in recorded.tensors}
    now = {line.name: line for line in again.manifest.tensors}
    other = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    say(f"{printable(path)}: another result: {listed(other) or 'the bytes around the tensors'}")
    return False
