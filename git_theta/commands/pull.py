"""`git theta pull`: brings the objects of HEAD, and writes the files that the work tree has as manifests."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.commands.fetch import SHOWN, fetch
from git_theta.errors import MissingObject, NewerManifest, ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git import blobs
from git_theta.git.repository import Repository
from git_theta.remotes.fetching import missing
from git_theta.terminal.showing import Say
from git_theta.terminal.units import listed
from git_theta.versions.recorded import ATTRIBUTED
from git_theta.versions.recovery import named


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
        say(f"Wrote {listed(written, SHOWN)}.")
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
            or not stand_ins.is_manifest_file(file, text)
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
    wanted = set(paths)
    entries = (one for one in repository.index_entries() if one.path in wanted)
    repository.update_index((one.mode, one.oid, one.path) for one in entries)
    repository.run("-C", str(repository.work_tree.absolute()), "update-index", "-q", "--refresh")
