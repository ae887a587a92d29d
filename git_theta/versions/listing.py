"""What `git theta ls-files` shows: checkpoints, and how each tensor is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from git_theta import manifest as manifests
from git_theta.diffs.entries import entries
from git_theta.diffs.matching import match
from git_theta.errors import DamagedManifest, DamagedObject, MissingObject, NewerManifest
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git import blobs
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.manifest.chains import costs
from git_theta.terminal.showing import printable
from git_theta.terminal.units import align, human_size, percent
from git_theta.versions import misplaced
from git_theta.versions.changes import similar


@dataclass(frozen=True)
class Listed:
    """A checkpoint. `problem` says why there is no manifest, where its text is damaged or `newer`."""

    path: str
    blob: str
    manifest: Manifest | None
    problem: str = ""
    newer: bool = False

    @property
    def trouble(self) -> str:
        """The problem, for people."""
        return self.problem if self.newer else f"damaged: {self.problem}"

    @property
    def stored(self) -> int:
        """Bytes of all objects that a checkout needs."""
        return sum(self.manifest.oids().values()) if self.manifest else 0

    @property
    def count(self) -> int:
        """How many tensors it has."""
        return len(entries(self.manifest)) if self.manifest else 0

    def record(self) -> dict[str, object]:
        """For --json."""
        if self.manifest is None:
            return {"path": self.path, "blob": self.blob, "problem": self.problem}
        return {
            "path": self.path,
            "blob": self.blob,
            "format": self.manifest.format,
            "size": self.manifest.size,
            "stored_bytes": self.stored,
            "root": self.manifest.root,
            "tensors": self.count,
        }


@dataclass(frozen=True)
class ListedTensor:
    """A tensor of a checkpoint.

    Attributes:
        status: against the version before (HEAD's for the index, the first parent's for a revision); see
            diffs.matching.
        of: the stored tensor of which it is a view; empty if it is stored itself.
        size: bytes of its data.
        update: how it is stored; empty for a view, and where the manifest does not say.
        stored: its own bytes in its object, without those of its bases; None if the object is not here.
        depth: how many updates lie between it and dense data.
    """

    name: str
    status: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    digest: str
    update: str
    stored: int | None
    depth: int
    of: str = ""

    def record(self) -> dict[str, object]:
        """For --json."""
        return {
            "name": self.name,
            "status": self.status,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "size": self.size,
            "digest": self.digest,
            "update": self.update,
            "stored_bytes": self.stored,
            "chain": self.depth,
            "view_of": self.of or None,
        }


def checkpoints(repository: Repository, revision: str = "") -> Iterator[Listed]:
    """The checkpoints of a revision, or of the index, with what stands in place of one there.

    Raises:
        ThetaError: there is no such revision.
    """
    found = blobs.in_tree(repository, revision) if revision else blobs.in_index(repository, merged=True)
    instead = {} if revision or repository.bare else dict(misplaced.find(repository, found))
    for blob, kind in instead.items():
        yield Listed(blob.path, blob.oid, None, f"this is {kind.what}")
    for blob, text in blobs.find_manifests(repository, found):
        if blob in instead:
            continue
        try:
            yield Listed(blob.path, blob.oid, manifests.parse(stand_ins.plain(text)))
        except DamagedManifest as error:
            yield Listed(blob.path, blob.oid, None, error.message, isinstance(error, NewerManifest))


def version_before(repository: Repository, path: str, revision: str = "") -> Manifest | None:
    """The manifest of a path in HEAD, or in the first parent of a revision; None if there is none."""
    return parsed(repository.blob(f"{revision}^:{path}" if revision else f"HEAD:{path}"))


def tensors(
    repository: Repository, manifest: Manifest, before: Manifest | None = None
) -> Iterator[ListedTensor]:
    """The tensors of a checkpoint, by name.

    Args:
        before: the version to compare with; None if there is none.
    """
    statuses: dict[str, str] = dict.fromkeys(entries(manifest), "unchanged")
    statuses |= match(before, manifest, similar=similar(repository, before, manifest)).statuses
    old = {line.name: line for line in before.tensors} if before else {}
    sharing = Counter(line.oid for line in manifest.storage.values())
    chains = costs(manifest.digests(), manifest.storage) if manifest.storage else {}
    for tensor in manifest.tensors:
        line = manifest.storage.get(tensor.digest)
        yield ListedTensor(
            tensor.name,
            statuses.get(tensor.name) or _status_of_bytes(old.get(tensor.name), tensor),
            tensor.dtype.name,
            tensor.shape,
            tensor.nbytes,
            tensor.digest,
            line.update if line else "",
            _stored(repository, line, sharing) if line else None,
            chains[tensor.digest].depth if line else 0,
        )
    for view in manifest.views:
        yield ListedTensor(
            view.name,
            statuses[view.name],
            view.dtype.name,
            view.shape,
            view.dtype.nbytes(view.shape),
            next(tensor.digest for tensor in manifest.tensors if tensor.name == view.of),
            "",
            None,
            0,
            view.of,
        )


def _status_of_bytes(old: TensorLine | None, new: TensorLine) -> str:
    """What became of stored bytes that are listed as a tensor: an opaque file, or a raw storage."""
    return "added" if old is None else "unchanged" if old == new else "modified"


def table(listed: Iterable[ListedTensor]) -> list[str]:
    """A heading, and a line for each tensor."""
    rows = [("TENSOR", "STATUS", "DTYPE", "SHAPE", "SIZE", "STORED", "RATIO", "UPDATE", "CHAIN")]
    for tensor in listed:
        stored = human_size(tensor.stored) if tensor.stored is not None else "" if tensor.of else "not here"
        ratio = percent(tensor.stored, tensor.size) if tensor.stored is not None and tensor.size else ""
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        sizes = human_size(tensor.size), stored, ratio
        chain = (f"view of {printable(tensor.of)}", "") if tensor.of else (tensor.update, str(tensor.depth))
        rows.append((printable(tensor.name), tensor.status, tensor.dtype, shape, *sizes, *chain))
    return [f"  {line}" for line in align(rows, right=(4, 5, 6, 8))]


def _stored(repository: Repository, line: StorageLine, sharing: Counter[str]) -> int | None:
    try:
        return repository.objects.member(line).stored_bytes()
    except (MissingObject, DamagedObject):
        return line.size if sharing[line.oid] == 1 else None
