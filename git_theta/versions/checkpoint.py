"""A checkpoint opened for reading, wherever it is: in a commit, in the index or in the work tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, MissingObject, ThetaError
from git_theta.filters import stand_ins
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, TensorLine
from git_theta.manifest.chains import closure
from git_theta.regular import open_regular
from git_theta.remotes.fetching import fetch_missing
from git_theta.remotes.interface import Advance
from git_theta.tensors import Tensor
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import printable
from git_theta.terminal.units import listed
from git_theta.versions import mending, misplaced
from git_theta.versions.recovery import named

Read = Callable[[TensorLine, Collection[str]], Tensor]
"""Opens a tensor. The digests are those of which others read the same ranges at the same time (see
objects.reader.Objects.tensor)."""


class Checkpoint:
    """A manifest, and its tensors where it has some.

    Attributes:
        label: how messages name it.
        manifest: identity, and storage where it is known.
        text: the manifest as Git stores it, or None for a file that was never added.
        notes: what there is to say about the file, in lines: that it is damaged, for one.
    """

    def __init__(
        self,
        label: str,
        manifest: Manifest,
        text: bytes | None,
        read: Read,
        close: ExitStack,
        notes: Sequence[str] = (),
    ) -> None:
        self.label = label
        self.manifest = manifest
        self.text = text
        self.notes = notes
        self._read = read
        self._close = close

    def tensor(self, line: TensorLine, shared: Collection[str] = ()) -> Tensor:
        """The values of a tensor.

        Raises:
            MissingObject, DamagedObject: they are not to be had; the message names the tensor.
        """
        try:
            return self._read(line, shared)
        except ThetaError as error:
            if line.name not in error.message:
                error.message = f"{self.label}: tensor {line.name!r}: {error.message}"
            raise

    def close(self) -> None:
        """Close files and remove what was made for reading."""
        self._close.close()


def from_text(repository: Repository | None, label: str, text: bytes) -> Checkpoint:
    """A checkpoint from its manifest; without a repository its tensors cannot be read.

    One that is mixed of hunks, as stashes hold them, is opened as what it means.

    Args:
        label: how messages name it; it ends with the path whose versions tell what the text means.

    Raises:
        DamagedManifest: it is none.
    """
    given = text

    @cache
    def remedy() -> str:
        return misplaced.remedy_of_damage(repository, _path_of(label), given) if repository else ""

    try:
        text, manifest = _meaning(repository, _path_of(label), text)
    except DamagedManifest as error:
        if found := stand_ins.recognise(text):
            error.message, error.remedy = found.refusal().message, found.remedy
        error.remedy = error.remedy or remedy()
        raise named(label, error) from None

    def read(line: TensorLine, shared: Collection[str]) -> Tensor:
        if repository is None:
            raise MissingObject(
                "outside of a repository there are no objects", "cd to the repository that the manifest is of"
            )
        try:
            return repository.objects.tensor(line.digest, manifest.storage, line.dtype, line.shape, shared)
        except DamagedManifest as error:
            error.remedy = error.remedy or remedy()
            raise

    return Checkpoint(label, manifest, text, read, ExitStack())


def _meaning(repository: Repository | None, pathname: str, text: bytes) -> tuple[bytes, Manifest]:
    """A text and its manifest, mended where the text mixes several versions of it."""
    plain = stand_ins.plain(text)
    try:
        return text, manifests.parse(plain)
    except DamagedManifest:
        if repository is None:
            raise
    return mending.whole(repository, pathname, plain)


def _path_of(label: str) -> str:
    """The path that a label ends with, after a revision or not."""
    return label.rpartition(":")[2]


def from_blob(repository: Repository, name: str, label: str = "") -> Checkpoint | None:
    """A checkpoint from Git: by oid or as REV:PATH; None if there is nothing.

    A blob that is no manifest (a checkpoint committed without git-theta) is opened as a file.

    Args:
        label: how messages name it, and what tells the format of a file where its first bytes do not; `name`,
            unless given.
    """
    blob = repository.blob(name)
    if blob is None:
        return None
    if manifests.is_manifest(blob):
        return from_text(repository, label or name, blob)
    with ExitStack() as stack:
        spooled = stack.enter_context(repository.store.spool())
        spooled.write(blob)
        path, pathname = Path(str(spooled.name)), _path_of(label or name)
        return _from_file(repository, label or name, path, pathname, stack.pop_all())


def from_file(repository: Repository | None, path: Path, pathname: str) -> Checkpoint:
    """A checkpoint from a file: a manifest that was left there, or the real thing, which is digested.

    A damaged one is taken as opaque bytes, as is what is no checkpoint.

    Raises:
        DamagedManifest: it is a manifest, but not a whole one.
        ThetaError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(stand_ins.PROBE)
            if manifests.is_manifest(head):
                return from_text(repository, pathname, stand_ins.plain(head + file.read()))
        return _from_file(repository, pathname, path, pathname, ExitStack())
    except OSError as error:
        raise ThetaError(
            f"cannot read {printable(pathname)}: {error.strerror}",
            "see that it is there, and can be read; then type the command again",
        ) from None


def provide(
    repository: Repository, checkpoint: Checkpoint, lines: Iterable[TensorLine]
) -> dict[str, MissingObject]:
    """Fetch, in one batch, what these tensors need and is not here.

    Returns:
        The error for each tensor (by name) that cannot be read.
    """
    return provide_all(repository, [(checkpoint, lines)])[0]


def provide_all(
    repository: Repository,
    wanted: Sequence[tuple[Checkpoint, Iterable[TensorLine]]],
    advance: Advance = lambda nbytes: None,
) -> list[dict[str, MissingObject]]:
    """Fetch, in one batch, what these tensors of several checkpoints need and is not here.

    Args:
        advance: called with the bytes of each object that has arrived.

    Returns:
        For each checkpoint, the error for each tensor (by name) that cannot be read.
    """
    needs = [
        {
            line.name: closure([line.digest], checkpoint.manifest.storage)
            for line in lines
            if line.digest in checkpoint.manifest.storage
        }
        for checkpoint, lines in wanted
    ]
    lines_of_all = (line for some in needs for need in some.values() for line in need.values())
    reasons = fetch_missing(repository, {line.oid: line.size for line in lines_of_all}, advance=advance)
    found = []
    for some in needs:
        lacking = {
            name: [line.oid for line in need.values() if line.oid in reasons] for name, need in some.items()
        }
        found.append({name: _missing(oids, reasons) for name, oids in lacking.items() if oids})
    return found


def _missing(oids: Sequence[str], reasons: Mapping[str, str]) -> MissingObject:
    """The error for a tensor that needs these objects."""
    are = "is" if len(oids) == 1 else "are"
    message = f"object {listed([oid[:12] for oid in oids], 1)} {are} not here ({reasons[oids[0]]})"
    return MissingObject(message, "git theta fetch", tuple(oids))


def _from_file(
    repository: Repository | None, label: str, path: Path, pathname: str, stack: ExitStack
) -> Checkpoint:
    from git_theta.filters.file_tensors import FileTensor  # these need NumPy, which manifests do not
    from git_theta.filters.identify import identify
    from git_theta.filters.source import Content
    from git_theta.objects.store import LocalStore

    store = repository.store if repository else LocalStore(Path(os.devnull))
    notes: list[str] = []
    file = stack.enter_context(os.fdopen(open_regular(path, follow=True), "rb"))
    content = Content.of(file)
    with Progress(f"Reading {pathname}", content.size or 0, sized=True) as progress:
        content.watch(progress.advance)
        manifest, layout = identify(content, pathname, store, notes.append)
    spans = {span.name: span for span in layout.spans}
    # What clean says ends with how the file is stored, which is not what happens here.
    reasons = [note.partition("; stored")[0] for note in notes]
    if found := stand_ins.of_file(path):
        reasons = [found.warning(pathname)]
    return Checkpoint(
        label, manifest, None, lambda line, shared: FileTensor(spans[line.name], file), stack, reasons
    )
