"""A checkpoint opened for reading, wherever it is: in a commit, in the index or in the work tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, MissingObject, ThetaError
from git_theta.filters.clean import Cleaner
from git_theta.filters.content import Content
from git_theta.filters.held import FileTensor
from git_theta.filters.known import Known
from git_theta.git.fetching import fetch_missing
from git_theta.git.recovery import missing
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, TensorLine, closure
from git_theta.settings import Settings
from git_theta.tensors import Tensor


class Checkpoint:
    """A manifest, and its tensors where it has some.

    Attributes:
        label: how messages name it.
        manifest: identity, and storage where it is known.
        text: the manifest as Git stores it, or None for a file that was never added.
    """

    def __init__(
        self,
        label: str,
        manifest: Manifest,
        text: bytes | None,
        tensor: Callable[[TensorLine], Tensor],
        close: ExitStack,
    ) -> None:
        self.label = label
        self.manifest = manifest
        self.text = text
        self._tensor = tensor
        self._close = close

    def tensor(self, line: TensorLine) -> Tensor:
        """The values of a tensor.

        Raises:
            MissingObject, DamagedObject: they are not to be had; the message names the tensor.
        """
        try:
            return self._tensor(line)
        except ThetaError as error:
            if line.name not in error.message:
                error.message = f"{self.label}: tensor {line.name!r}: {error.message}"
            raise

    def close(self) -> None:
        """Close files and remove what was made for reading."""
        self._close.close()


def from_text(repository: Repository, label: str, text: bytes) -> Checkpoint:
    """A checkpoint from its manifest.

    Raises:
        DamagedManifest: it is none.
    """
    try:
        manifest = manifests.parse(text)
    except DamagedManifest as error:
        error.message = f"{label}: {error.message}"
        raise

    def tensor(line: TensorLine) -> Tensor:
        return repository.objects.tensor(line.digest, manifest.storage, line.dtype, line.shape)

    return Checkpoint(label, manifest, text, tensor, ExitStack())


def from_blob(repository: Repository, name: str) -> Checkpoint | None:
    """A checkpoint from Git: by oid or as REV:PATH; None if there is nothing.

    A blob that is no manifest (a checkpoint committed without git-theta) is opened as a file.
    """
    blob = repository.blob(name)
    if blob is None:
        return None
    if manifests.is_manifest(blob):
        return from_text(repository, name, blob)
    with ExitStack() as stack:
        spooled = stack.enter_context(repository.store.spool())
        spooled.write(blob)
        return _from_file(repository, name, Path(spooled.name), name.rpartition(":")[2], stack.pop_all())


def from_file(repository: Repository, path: Path, pathname: str) -> Checkpoint:
    """A checkpoint from a file: a manifest that was left there, or the real thing, which is digested.

    Args:
        path: of the file.
        pathname: as users know it.

    Raises:
        ThetaError: it cannot be read. Damaged and unknown files are opened as opaque ones.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if manifests.is_manifest(head):
                return from_text(repository, pathname, head + file.read())
    except OSError as error:
        raise ThetaError(f"cannot read {pathname}: {error.strerror}") from None
    return _from_file(repository, pathname, path, pathname, ExitStack())


def provide(
    repository: Repository, checkpoint: Checkpoint, lines: Iterable[TensorLine]
) -> dict[str, MissingObject]:
    """Fetch, in one batch, what these tensors need and is not here.

    Returns:
        The error for each tensor (by name) that cannot be read.
    """
    manifest = checkpoint.manifest
    needs = {
        line.name: closure([line.digest], manifest.storage)
        for line in lines
        if line.digest in manifest.storage
    }
    wanted = {line.oid: line.size for need in needs.values() for line in need.values()}
    reasons = fetch_missing(repository, wanted)
    return {
        name: missing(manifest, [line.oid for line in need.values() if line.oid in reasons][:1], reasons)
        for name, need in needs.items()
        if any(line.oid in reasons for line in need.values())
    }


def _from_file(repository: Repository, label: str, path: Path, pathname: str, stack: ExitStack) -> Checkpoint:
    nothing = Known((), tuple, repository.index, repository.objects)
    settings = replace(Settings(), allow_damaged=True)
    cleaner = Cleaner(repository.objects, lambda request: nothing, settings, lambda line: None)
    file = stack.enter_context(path.open("rb"))
    manifest, layout = cleaner.identify(Content.of(file), pathname)
    spans = {span.name: span for span in layout.spans}
    return Checkpoint(label, manifest, None, lambda line: FileTensor(spans[line.name], file), stack)
