"""What changed in checkpoints from one version to another, by their manifests alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from git_theta.checkpoints.registry import OPAQUE
from git_theta.diffs.amount import Amount, amount_of
from git_theta.diffs.entries import Open, entries
from git_theta.diffs.matching import match
from git_theta.diffs.renames import Similar
from git_theta.diffs.similarity import SimilarValues
from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import in_tree, sizes, staged_manifests
from git_theta.git.plumbing import RawChange
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.terminal.units import counted, human_size, percent

_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class ChangedPath:
    """A path that differs between two trees; oids are empty where the path is not there."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Cost:
    """What a version of a checkpoint changed, and what was stored for it.

    Attributes:
        path: from the top of the work tree.
        new: whether there was no version before.
        amount: how many tensors changed, and how; those of the version before that are no more too.
        tensors: how many there are now.
        stored: bytes of objects that were not needed before.
        size: bytes of the file.
        opaque: whether it is of no known format, in which no tensors are seen.
    """

    path: str
    new: bool
    amount: Amount
    tensors: int
    stored: int
    size: int
    opaque: bool = False

    @property
    def what(self) -> str:
        """What changed, in words: a new checkpoint with its size, or how many tensors."""
        if self.opaque:
            return "opaque bytes" if self.new else "opaque bytes changed"
        if self.new or not self.amount.everything:  # it was opaque before
            return counted(self.tensors, "tensor")
        return self.amount.text()

    def text(self) -> str:
        """One line: "48 of 292 tensors changed, 67 MB stored (9.5%)"."""
        return f"{self.what}, {human_size(self.stored)} stored ({percent(self.stored, self.size)})"

    def record(self) -> dict[str, object]:
        """For --json."""
        return {
            "path": self.path,
            "new": self.new,
            **self.amount.record(),
            "tensors": self.tensors,
            "stored_bytes": self.stored,
            "size": self.size,
        }


def cost(
    path: str,
    before: Manifest | None,
    after: Manifest,
    there: Collection[str],
    similar: Similar | None = None,
) -> Cost:
    """Compare two versions of a checkpoint.

    Args:
        before: the earlier version; None if there is none.
        there: oids that need not be stored for `after`, besides those of `before`.
        similar: see diffs.similarity.
    """
    stored = {oid: size for oid, size in after.oids().items() if oid not in there}
    if before:
        stored = {oid: size for oid, size in stored.items() if oid not in before.oids()}
    return Cost(
        path,
        before is None,
        amount_of(match(before, after, similar=similar)),
        len(entries(after)),
        sum(stored.values()),
        after.size,
        after.format == OPAQUE,
    )


def costs(repository: Repository, changed: Sequence[ChangedPath], parents: Sequence[str]) -> list[Cost]:
    """What each changed checkpoint cost; files that only moved cost nothing and are left out.

    Args:
        changed: paths, compared with the first parent.
        parents: commits whose objects were there before.
    """
    named = [(oid, entry.path) for entry in changed for oid in (entry.before, entry.after) if oid]
    texts = staged_manifests(repository, sizes(repository, named))
    versions = {blob.oid: parsed(text) for blob, text in texts}
    pairs = [(entry, versions.get(entry.before), versions.get(entry.after)) for entry in changed]
    pairs = [(entry, old, new) for entry, old, new in pairs if new]
    there: set[str] = set()
    known: set[str] = set()
    if len(parents) > 1 or any(old is None for _, old, _ in pairs):
        for parent in parents:
            for blob, manifest in tracked(repository, parent):
                known.add(blob)
                there |= manifest.oids().keys()
    found = []
    for entry, old, new in pairs:
        if new is not None and entry.after not in known:
            found.append(cost(entry.path, old, new, there, similar(repository, old, new)))
            there |= new.oids().keys()
    return found


def similar(repository: Repository, old: Manifest | None, new: Manifest) -> Similar | None:
    """Whether tensors of two stored versions have similar values."""
    return (
        SimilarValues(stored_tensors(repository, old), stored_tensors(repository, new))
        if old is not None
        else None
    )


def stored_tensors(repository: Repository, manifest: Manifest) -> Open:
    """Opens the tensors of a version as they are stored here."""
    return lambda line: repository.objects.tensor(line.digest, manifest.storage, line.dtype, line.shape)


def tracked(repository: Repository, revision: str) -> list[tuple[str, Manifest]]:
    """The manifests in a commit, with their blobs' oids."""
    found = []
    for blob, text in staged_manifests(repository, in_tree(repository, revision)):
        manifest = parsed(text)
        if manifest is not None:
            found.append((blob.oid, manifest))
    return found


def regular_files(changes: Iterable[RawChange]) -> list[ChangedPath]:
    """The changes of regular files, to which links and submodules are nothing."""
    return [
        ChangedPath(
            one.path,
            one.before if one.old_mode in _REGULAR else "",
            one.after if one.mode in _REGULAR else "",
        )
        for one in changes
        if one.old_mode in _REGULAR or one.mode in _REGULAR
    ]
