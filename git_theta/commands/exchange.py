"""`git theta fetch`, `pull` and `push`: objects for refs that are here already."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, MissingObject, NewerManifest, ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git import blobs
from git_theta.git.partial import bring_missing
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.remotes.advice import advice
from git_theta.remotes.configured import push_default, push_urls
from git_theta.remotes.fetching import fetch_missing, missing
from git_theta.remotes.push_plan import Push, plan
from git_theta.remotes.pushed import record
from git_theta.remotes.pushing import prepare
from git_theta.setup import hook_files
from git_theta.terminal.progress import Progress
from git_theta.terminal.units import counted, human_size, listed
from git_theta.versions.recorded import ATTRIBUTED
from git_theta.versions.recovery import named

Say = Callable[[str], None]
_SHOWN = 5


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
    _complete_hooks(repository, say)
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
        shown = listed(sorted({path for path, m in found if lost.keys() & m.oids().keys()}), _SHOWN)
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
    again = [
        "git",
        "theta",
        "fetch",
        *(["--all"] if everything else []),
        *([remote] if remote else []),
        *refs,
    ]
    return replace(found, fetch=shlex.join(again)).text()


def pull(repository: Repository, remote: str, say: Say) -> None:
    """Fetch for HEAD, then write the checkpoints of which the work tree has only the manifest.

    Raises:
        MissingObject, NewerManifest: as for `fetch`; the files of which everything is here are written.
    """
    failure: ThetaError | None = None
    try:
        fetch(repository, remote, [], False, say)
    except (MissingObject, NewerManifest) as error:
        failure = error
    written, failures = restore(repository)
    if written:
        say(f"Wrote {listed(written, _SHOWN)}.")
    if failure or failures:
        raise failure or failures[0]


def restore(repository: Repository) -> tuple[list[str], list[ThetaError]]:
    """Write the checkpoints whose manifest lies in the work tree, unchanged, and whose objects are here.

    Returns:
        Their paths, and an error for each that cannot be written.

    Git would remove each file before it writes it; a `git commit -a` after a kill would remove the model.
    """
    from git_theta.merging.conflict_sides import write_file  # needs NumPy

    top = repository.work_tree
    paths, failures = [], []
    for blob, text in blobs.find_manifests(repository, blobs.in_index(repository, ATTRIBUTED, merged=True)):
        manifest = parsed(text)
        file = top / blob.path
        if (
            manifest is None
            or missing(repository, manifest.oids())
            or file.is_symlink()
            or not file.is_file()
            or not is_text(file, text)
        ):
            continue
        try:
            write_file(repository, blob.path, text, file)
            paths.append(blob.path)
        except ThetaError as error:
            failures.append(named(blob.path, error))
    if paths:
        _look_again(repository, paths)
    return paths, failures


def _look_again(repository: Repository, paths: Sequence[str]) -> None:
    """Have git see that files are as it has them, though they have another size than it has noted."""
    top = str(repository.work_tree.absolute())
    wanted = {os.fsencode(path) for path in paths}
    listed = repository.git("-C", top, "ls-files", "-s", "-z").split(b"\0")
    rows = b"".join(row + b"\0" for row in listed if row.partition(b"\t")[2] in wanted)
    repository.git("-C", top, "update-index", "-z", "--index-info", stdin=rows)
    repository.run("-C", top, "update-index", "-q", "--refresh")


def is_text(file: Path, text: bytes) -> bool:
    """Whether a file is this text, as attributes can have made it look in the work tree."""
    if not len(text) <= file.stat().st_size <= 4 * len(text) + 4:
        return False
    return stand_ins.plain(file.read_bytes()) == stand_ins.plain(text)


def push(
    repository: Repository, remote: str, refs: Sequence[str], everything: bool, dry_run: bool, say: Say
) -> None:
    """Bring the objects of refs to a remote, without the refs; to each of its push urls.

    Args:
        remote: a name or a url; if empty, the one that git push goes to.
        refs: revisions; unless given, HEAD.
        everything: all that any ref reaches.

    Raises:
        ThetaError: some objects are not here, or could not be brought there.
    """
    _complete_hooks(repository, say)
    name = remote or push_default(repository)
    if everything:
        tips = repository.git("for-each-ref", "--format=%(objectname)").decode().split()
    else:
        tips = [resolve(repository, ref, name) for ref in refs or ["HEAD"]]
    retry = ["theta", "push", *(["--all"] if everything else []), *([name] if remote else []), *refs]
    failures = []
    for url in push_urls(repository, name):
        push = Push(name, url, list(dict.fromkeys(tips)), (), shlex.join(retry), False, dry_run)
        try:
            _push(repository, push, say)
        except ThetaError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _push(repository: Repository, push: Push, say: Say) -> None:
    if not push.dry_run and (note := record(repository, push.tips)):
        say(note)
    delivery = prepare(repository, plan(repository, push), push)
    for note in delivery.notes:
        say(note)
    if not delivery.objects and not delivery.problems and not delivery.lacking:
        say(f"{push.title} has all objects already.")
    elif push.dry_run:
        say(delivery.forecast())
    else:
        if sent := delivery.send(repository):
            say(sent)
    if delivery.problems:
        raise delivery.problems[0]


def resolve(repository: Repository, ref: str, remote: str) -> str:
    """The oid that a revision means, be it of a branch that only the remote has.

    Raises:
        ThetaError: there is no such revision.
    """
    for name in (ref, f"{remote}/{ref}"):
        found = repository.run("rev-parse", "-q", "--verify", f"{name}^{{}}")
        if found.returncode == 0 and not name.startswith("-"):
            return found.stdout.decode().strip()
    if remote in repository.config.subsections("remote"):
        how = f"git fetch {shlex.quote(remote)}"
    else:  # a url: git keeps what it has fetched from there under this name
        where = shlex.quote(remote)
        how = f"git fetch {where} {shlex.quote(ref)}; git theta fetch {where} FETCH_HEAD"
    raise ThetaError(f"{ref} is not a revision of this repository", how)


def _complete_hooks(repository: Repository, say: Say) -> None:
    """A repository that was made without git-theta's template gets its hooks with the first command."""
    if hook_files.warning(repository):
        hooks = hook_files.install(repository)
        say(hook_files.LEFT_BEHIND + ("" if hooks.lacking else "; it has them now"))
        for line in hooks.advice():
            say(line)


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
        found = [b for ref in refs for b in blobs.in_tree(repository, resolve(repository, ref, remote))]
    else:
        found = blobs.in_index(repository) + ([] if repository.unborn else blobs.in_tree(repository, "HEAD"))
    for blob, text in blobs.find_manifests(repository, {blob.oid: blob for blob in found}.values()):
        try:
            yield blob.path, manifests.parse(text)
        except NewerManifest as error:
            newer.append(named(blob.path, error))
        except DamagedManifest:
            continue  # git theta fsck tells of it
