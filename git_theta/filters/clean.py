"""Clean: a checkpoint's bytes to its manifest; what is new is stored on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from git_theta import manifest as manifests
from git_theta import plugins
from git_theta.checkpoints import registry
from git_theta.checkpoints.layout import Format
from git_theta.checkpoints.registry import PROBE
from git_theta.errors import BrokenPlugin, NewerManifest
from git_theta.filters import remains, stand_ins
from git_theta.filters.recorded_layout import holds
from git_theta.filters.single_pass import Means, SinglePass
from git_theta.filters.source import Content
from git_theta.manifest import Manifest
from git_theta.objects.reader import Objects
from git_theta.objects.writer import TensorWriter
from git_theta.settings import Settings
from git_theta.storing.keeper import Keeper
from git_theta.storing.ledger import Ledger
from git_theta.storing.stock import Stock
from git_theta.terminal.showing import printable
from git_theta.threads import cores


@dataclass(frozen=True)
class Request:
    """What is asked of clean.

    Attributes:
        pathname: as git names the file, for messages and for its suffix.
        recorded: blobs of this path (the index entry's first) and what they parse to.
        related: manifests of other checkpoints, read only if they are needed.
        looks_only: nothing of the answer will be kept: answer fast, store nothing, never refuse.
        adopts: the answer is meant to be committed: what a commit should not have is refused.
        blobs: what Git has for this path by now, manifest or not; read only if it is needed.
        encoding: what Git takes the answer to be encoded in; "" if it leaves it alone.
        mend: makes a manifest whole that has come out of a patch; raises DamagedManifest.
    """

    pathname: str
    recorded: Sequence[tuple[bytes, Manifest]]
    related: Callable[[], Sequence[Manifest]]
    looks_only: bool
    adopts: bool = True
    blobs: Callable[[], Sequence[bytes]] = tuple
    encoding: Callable[[], str] = str
    mend: Callable[[bytes], bytes] | None = None

    @property
    def stores(self) -> bool:
        """Whether the answer is kept, and meant to be committed."""
        return self.adopts and not self.looks_only


class Cleaner:
    """Cleans one file after the other; threads and buffers are kept.

    Args:
        objects: of the local store.
        stock: what there is for the tensors of a request.
        warn: shows a line to the user.
    """

    def __init__(
        self,
        objects: Objects,
        stock: Callable[[Request], Stock],
        settings: Settings,
        warn: Callable[[str], None],
    ) -> None:
        self._objects = objects
        self._stock = stock
        self._settings = settings
        self._warn = warn
        workers = cores()
        self._tensors = ThreadPoolExecutor(workers, "tensor")
        chunks = ThreadPoolExecutor(workers, "chunk")
        self._writer = TensorWriter(objects.store, chunks, settings.grouping)

    def clean(self, content: Content, request: Request) -> bytes:
        """The manifest of a file.

        Raises:
            DamagedCheckpoint: the file breaks the rules of its format.
            BrokenPlugin: the file's format is of a package, which is broken.
            DamagedManifest: it is a manifest with lines that do not belong together.
            ThetaError: it is a text that stands in place of a checkpoint, it is what is left of the one that
                Git has, or the store cannot be written.
        """
        head = content.head(PROBE)
        if manifests.is_manifest(head) or stand_ins.recognise(head):
            return _text(content.rest(manifests.LARGEST), request)
        if request.stores and (encoding := request.encoding()):
            raise stand_ins.recoded(encoding)
        with ExitStack() as stack:
            form, stock = registry.detect(head, request.pathname), self._stock(request)
            recorded = self._as_recorded(content, request, stock.ledger, form, stack)
            if recorded is not None:
                return recorded
            if form is None and request.stores and not self._settings.allow_damaged:
                earlier = [manifest for _, manifest in request.recorded]
                registry.check_unrecognised(head, request.pathname, (one.format for one in earlier))
                remains.check(content, earlier, self._objects, stack)
            try:
                return self._pass(content, request, stock, form, stack)
            except BrokenPlugin as error:
                return self._without_format(content, request, stock, error, stack)

    def _pass(
        self, content: Content, request: Request, stock: Stock, form: Format | None, stack: ExitStack
    ) -> bytes:
        one = SinglePass(self._means(request, stock), content, stack)
        identity = one.identity(one.read(form))
        for blob, recorded in request.recorded:
            if recorded.root != identity.root or not recorded.storage or one.stored_anew:
                continue
            # What it names may be lost, and the tensors stored in other objects since.
            if request.looks_only or stock.ledger.trusts(recorded.storage):
                stock.ledger.record(recorded.storage)
                return blob
        if request.looks_only:
            return manifests.write(identity)
        storage = stock.ledger.storage(identity.digests())
        stock.ledger.record(storage)
        return manifests.write(identity.with_storage(storage))

    def _without_format(
        self, content: Content, request: Request, stock: Stock, error: BrokenPlugin, stack: ExitStack
    ) -> bytes:
        """Clean a file as bytes of no known format, as its plug-in has failed; or raise `error`."""
        recorded = self._as_recorded(content, request, stock.ledger, None, stack)
        if recorded is None and request.stores and not self._settings.allow_damaged:
            raise error
        plugins.warn(error)
        return self._pass(content, request, stock, None, stack) if recorded is None else recorded

    def _as_recorded(
        self, content: Content, request: Request, ledger: Ledger, form: Format | None, stack: ExitStack
    ) -> bytes | None:
        """The recorded manifest of this very file, where it was read as another format than it would be now.

        By a plug-in that is not installed here, by a version that did not know the format yet, or whole
        because it is damaged: the same file stays the same blob.
        """
        others = [
            (blob, manifest)
            for blob, manifest in request.recorded
            if manifest.storage and (form is None or manifest.format != form.name)
        ]
        if others and content.size is None:
            content.spool(stack.enter_context(self._objects.store.spool()))
        for blob, manifest in others:
            if ledger.trusts(manifest.storage) and holds(content, manifest, self._objects):
                return blob
        return None

    def _means(self, request: Request, stock: Stock) -> Means:
        store, settings = self._objects.store, self._settings
        if request.looks_only:
            return Means(store, None, settings, self._tensors, lambda line: None)
        about = f"{printable(request.pathname)}: " if request.pathname else ""
        keeper = Keeper(stock, self._writer, settings)
        return Means(store, keeper, settings, self._tensors, lambda line: self._warn(about + line))


def _text(text: bytes, request: Request) -> bytes:
    """What Git is to keep of a manifest that was left in the work tree, or of what else stands in there.

    What Git has already stays the same blob, whatever it is. A manifest of a newer git-theta is left to that.
    """
    found, kept = stand_ins.recognise(text), stand_ins.plain(text)
    if found is None:
        for blob, _ in request.recorded:
            if stand_ins.plain(blob) == kept:
                return blob
    if not request.stores:
        return text if found else kept
    encoding = request.encoding()
    same = next((blob for blob in request.blobs() if stand_ins.plain(blob) == kept), None)
    if same is not None and not (encoding and text == kept):
        return text if encoding else same
    if encoding:
        raise stand_ins.recoded(encoding)
    if found not in (None, stand_ins.ENCODED):
        error = found.refusal()
        if error.remedy == stand_ins.RESTORE and not any(request.blobs()):
            error.remedy = "rm PATH"  # there is nothing to restore
        raise error
    with suppress(NewerManifest):
        if request.mend is not None:
            return request.mend(kept)
        manifests.parse(kept)
    return kept
