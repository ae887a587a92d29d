"""`git theta fsck`: every manifest that Git reaches, and every object that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, MissingObject, ThetaError, UnstoredManifest
from git_theta.filters import stand_ins
from git_theta.git.blobs import Blob, find_manifests, in_index, reachable
from git_theta.git.partial import bring_missing
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, StorageLine
from git_theta.manifest.chains import closure
from git_theta.objects.fsck import Fault, check_objects, check_tensors
from git_theta.remotes.fetching import on_remotes
from git_theta.remotes.push_plan import commit_of
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import fill, printable
from git_theta.terminal.units import counted, human_size
from git_theta.versions import misplaced

_REVISIONS = ("--all", "--reflog", "--indexed-objects")


@dataclass
class Report:
    """What fsck found.

    Attributes:
        manifests: how many there are.
        objects: sizes by oid of the objects that they name.
        problems: what is wrong, each with file, tensor and remedy.
        notes: what is not wrong, but worth a line.
    """

    manifests: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    problems: list[ThetaError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fsck(repository: Repository, fast: bool) -> Report:
    """Verify what any ref, the index, the stash or a reflog reaches.

    A clone has the objects that its checkouts needed: what is not here, but on a remote, is only noted.

    Args:
        fast: only compare objects with their names; do not decode what is in them.
    """
    report = Report()
    whole: list[tuple[Blob, Manifest]] = []
    history = repository.unaltered
    bring_missing(history, [], *_REVISIONS)
    for blob, text in find_manifests(history, reachable(history, [], *_REVISIONS)):
        report.manifests += 1
        if stand_ins.recognise(text):
            continue  # said of those that matter: in the index
        try:
            manifest = manifests.parse(stand_ins.plain(text))
            if not manifest.storage:
                raise UnstoredManifest("its data were never stored")
        except DamagedManifest as error:
            report.problems.append(_at(repository, blob, "", error))
            continue
        whole.append((blob, manifest))
        report.objects |= manifest.oids()
    report.problems += _misplaced(repository, whole)
    with Progress("Checking objects", sum(report.objects.values()), sized=True) as progress:
        faults = list(check_objects(repository.store, report.objects, progress.advance))
    damaged = {fault.oid for fault in faults}
    remote = on_remotes(
        repository,
        {f.oid: report.objects[f.oid] for f in faults if isinstance(f.error, MissingObject)},
    )
    faults = [fault for fault in faults if fault.oid not in remote]
    if not fast:
        faults += check_tensors(repository.objects, _intact(whole, damaged))
        report.problems += _misfits(repository, whole, damaged | {fault.digest for fault in faults})
    report.problems += [_named(repository, whole, fault) for fault in faults]
    if remote:
        size = human_size(sum(report.objects[oid] for oid in remote))
        report.notes.append(
            f"{counted(len(remote), 'object')} ({size}) {'is' if len(remote) == 1 else 'are'} not here, "
            f"but on a remote; git theta fetch --all brings {'it' if len(remote) == 1 else 'them'}"
        )
    report.notes += _notes(repository, report.objects)
    return report


def _misplaced(repository: Repository, whole: Iterable[tuple[Blob, Manifest]]) -> Iterator[ThetaError]:
    """Texts in place of checkpoints, and manifests under names that are not tracked, in the index."""
    if repository.bare:
        return
    known = {blob.oid for blob, _ in whole}
    listed = in_index(repository, merged=True)
    for blob, kind in misplaced.find(repository, listed):
        yield misplaced.error(repository, blob.path, kind)
    for path in misplaced.strays(repository, (blob.path for blob in listed if blob.oid in known)):
        yield misplaced.stray_error(repository, path)


def _intact(
    whole: Iterable[tuple[Blob, Manifest]], damaged: set[str]
) -> Iterator[tuple[str, Mapping[str, StorageLine]]]:
    """The digests whose objects are all as they should be."""
    for _, manifest in whole:
        for digest in manifest.storage:
            if not damaged & {line.oid for line in closure([digest], manifest.storage).values()}:
                yield digest, manifest.storage


def _misfits(
    repository: Repository, whole: Iterable[tuple[Blob, Manifest]], damaged: set[str]
) -> Iterator[ThetaError]:
    """Manifests that contradict their skeleton, although the skeleton itself is undamaged."""
    from git_theta.dtypes import BYTES
    from git_theta.filters.skeleton import pieces

    for blob, manifest in whole:
        lines = closure([manifest.skeleton], manifest.storage)
        if damaged & {*lines, *(line.oid for line in lines.values())}:
            continue
        size = manifest.skeleton_size
        try:
            stored = repository.objects.tensor(manifest.skeleton, manifest.storage, BYTES, (size,))
            pieces(manifest, stored.read(0, size).tobytes())
        except ThetaError as error:
            yield _at(repository, blob, "", error)


def _named(repository: Repository, whole: Iterable[tuple[Blob, Manifest]], fault: Fault) -> ThetaError:
    """The error of a fault, which names the first file and tensor that need what is damaged."""
    for blob, manifest in whole:
        for line in manifest.tensors:
            lines = closure([line.digest], manifest.storage)
            if fault.digest in lines or fault.oid in {found.oid for found in lines.values()}:
                return _at(repository, blob, f", tensor {printable(line.name)}", fault.error)
        if fault.digest in manifest.storage or fault.oid in manifest.oids():
            return _at(repository, blob, "", fault.error)
    return fault.error


def _at(repository: Repository, blob: Blob, where: str, error: ThetaError) -> ThetaError:
    commit = commit_of(repository, blob, ["--all"])
    place = f" (commit {commit})" if commit else ""
    if isinstance(error, DamagedManifest) and not error.remedy:
        error.remedy = misplaced.remedy_of_damage(repository, blob.path, repository.blob(blob.oid) or b"")
    remedy = fill(error.remedy, blob.path) if blob.path else error.remedy
    return ThetaError(f"{printable(blob.path) or blob.oid}{place}{where}: {error.message}", remedy)


def _notes(repository: Repository, named: Mapping[str, int]) -> list[str]:
    notes = []
    unnamed = sum(oid not in named for oid in repository.store.oids())
    if unnamed:
        belong = counted(unnamed, "object belongs", "objects belong")
        notes.append(f"{belong} to no version that a ref, the index or a reflog reaches")
    if left := repository.store.clean_up():
        notes.append(f"removed {counted(left, 'temporary file')} that interrupted commands had left")
    return notes
