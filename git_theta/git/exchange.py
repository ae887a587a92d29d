"""`git theta fetch`, `pull` and `push`: objects for refs that are here already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from git_theta.errors import MissingObject, ThetaError
from git_theta.filters import stand_ins
from git_theta.git import blobs, hook_files
from git_theta.git.fetching import fetch_missing, missing
from git_theta.git.push_plan import plan
from git_theta.git.pushing import Target, prepare
from git_theta.git.recorded import ATTRIBUTED, parsed
from git_theta.git.remotes import push_default
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.remotes.progress import Progress

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
    """
    _complete_hooks(repository, say)
    found = list(_manifests(repository, remote, refs, everything))
    wanted = missing(repository, {oid: size for _, m in found for oid, size in m.oids().items()})
    if not wanted:
        say("All objects are here already.")
        return
    with Progress("Fetching objects", wanted) as progress:
        lost = fetch_missing(repository, wanted, [remote] if remote else None, progress.advance)
    if lost:
        shown = _listed(sorted({path for path, m in found if lost.keys() & m.oids().keys()}))
        oid, why = next(iter(lost.items()))
        raise MissingObject(
            f"{len(lost)} of {len(wanted)} objects could not be had, of {shown}; the first is {oid}: {why}",
            "in a clone that has them: git theta push --all",
            tuple(lost),
        )


def pull(repository: Repository, remote: str, say: Say) -> None:
    """Fetch for HEAD, then write the checkpoints of which the work tree has only the manifest.

    Raises:
        MissingObject: some objects could not be had; the files that need none of them are written.
    """
    failure = None
    try:
        fetch(repository, remote, [], False, say)
    except MissingObject as error:
        failure = error
    written = restore(repository)
    if written:
        say(f"Wrote {_listed(written)}.")
    if failure:
        raise failure


def restore(repository: Repository) -> list[str]:
    """Write the checkpoints whose manifest lies in the work tree, unchanged, and whose objects are here."""
    top = repository.work_tree
    paths = []
    for blob, text in blobs.find_manifests(repository, blobs.in_index(repository, ATTRIBUTED, merged=True)):
        manifest = parsed(text)
        file = top / blob.path
        if (
            manifest is None
            or missing(repository, manifest.oids())
            or file.is_symlink()
            or not file.is_file()
        ):
            continue
        if is_text(file, text):
            os.utime(file, (0, 0))  # else git takes it for up to date and does not write it
            paths.append(blob.path)
    if paths:
        os.environ["GIT_THETA_SKIP_SMUDGE"] = "0"
        names = b"".join(os.fsencode(path) + b"\0" for path in paths)
        repository.git("-C", str(top.absolute()), "checkout-index", "-f", "-u", "-z", "--stdin", stdin=names)
    return paths


def is_text(file: Path, text: bytes) -> bool:
    """Whether a file is this text, as attributes can have made it look in the work tree."""
    if not len(text) <= file.stat().st_size <= 4 * len(text) + 4:
        return False
    return stand_ins.plain(file.read_bytes()) == stand_ins.plain(text)


def push(
    repository: Repository, remote: str, refs: Sequence[str], everything: bool, dry_run: bool, say: Say
) -> None:
    """Bring the objects of refs to a remote, without the refs.

    Args:
        remote: a name or a url; if empty, the one that git push goes to.
        refs: revisions; unless given, HEAD.
        everything: all that any ref reaches, whatever the remote is thought to have.

    Raises:
        ThetaError: some objects are not here, or could not be brought there.
    """
    _complete_hooks(repository, say)
    name = remote or push_default(repository)
    if everything:
        listed = repository.git("for-each-ref", "--format=%(objectname)").decode().split()
        tips = list(dict.fromkeys(listed))
        made = plan(repository, tips, [])
    else:
        tips = [resolve(repository, ref, name) for ref in refs or ["HEAD"]]
        named = name in repository.config.subsections("remote")
        made = plan(repository, tips, [], *(("--not", f"--remotes={name}") if named else ()))
    delivery = prepare(repository, made, Target(name), tips, dry_run)
    for note in delivery.notes:
        say(note)
    if not delivery.objects and not delivery.problems:
        say(f"{name} has all objects already.")
    elif dry_run:
        say(delivery.text())
    else:
        delivery.send(repository)
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
    raise ThetaError(f"{ref} is not a revision of this repository", f"git fetch {remote or 'REMOTE'}")


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _complete_hooks(repository: Repository, say: Say) -> None:
    """A clone that was made without git-theta's template gets its hooks with the first command."""
    if hook_files.warning(repository) and repository.run("ls-files", "--", ATTRIBUTED).stdout:
        for line in hook_files.install(repository).advice():
            say(line)


def _manifests(
    repository: Repository, remote: str, refs: Sequence[str], everything: bool
) -> Iterable[tuple[str, Manifest]]:
    if everything:
        found = list(blobs.reachable(repository, [], "--all", "--indexed-objects"))
    elif refs:
        found = [b for ref in refs for b in blobs.in_tree(repository, resolve(repository, ref, remote))]
    else:
        found = blobs.in_index(repository) + ([] if repository.unborn else blobs.in_tree(repository, "HEAD"))
    for blob, text in blobs.find_manifests(repository, {blob.oid: blob for blob in found}.values()):
        if (manifest := parsed(text)) is not None:
            yield blob.path, manifest
