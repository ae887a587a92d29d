"""Clean: a checkpoint's bytes to its manifest; what is new is stored on the way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock

from blake3 import blake3

from git_theta import manifest as manifests
from git_theta.checkpoints import registry
from git_theta.checkpoints.checks import checked
from git_theta.checkpoints.layout import Format, Layout, Span
from git_theta.dtypes import BYTES
from git_theta.errors import DamagedCheckpoint
from git_theta.filters import skeleton
from git_theta.filters.content import Content
from git_theta.filters.held import Allowance, FileTensor, HeldTensor
from git_theta.filters.known import SKELETON, Known
from git_theta.manifest import Manifest, TensorLine, ViewLine
from git_theta.objects.reader import Objects
from git_theta.objects.writer import Bundle, Payload, TensorWriter
from git_theta.settings import Settings
from git_theta.tensors import ArrayTensor
from git_theta.updates import chooser
from git_theta.updates.interface import Target

TEXTCONV_MAGIC = b"git-theta tensors "
OPAQUE = "opaque"
_HELD_BYTES = 64 << 20
_PROBE = 4096
_SUGGESTION = "save the file again; to store it as it is: git -c theta.allowDamaged=true add PATH"


@dataclass(frozen=True)
class Request:
    """What is asked of clean.

    Attributes:
        pathname: as git names the file, for messages and for its suffix.
        recorded: blobs of this path (the index entry's first) and what they parse to.
        related: manifests of other checkpoints, read only if they are needed.
        looks_only: nothing of the answer will be kept: answer fast, store nothing, never refuse.
    """

    pathname: str
    recorded: Sequence[tuple[bytes, Manifest]]
    related: Callable[[], Sequence[Manifest]]
    looks_only: bool


class Cleaner:
    """Cleans one file after the other; threads and buffers are kept.

    Args:
        objects: of the local store.
        known: makes the record of what is stored for a request.
        warn: shows a line to the user.
    """

    def __init__(
        self,
        objects: Objects,
        known: Callable[[Request], Known],
        settings: Settings,
        warn: Callable[[str], None],
    ) -> None:
        self.objects = objects
        self.known = known
        self.settings = settings
        self.warn = warn
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
        self._chunks = ThreadPoolExecutor(workers, "chunk")
        self.tensors = ThreadPoolExecutor(workers, "tensor")
        self.writer = TensorWriter(objects.store, self._chunks, settings.grouping != "off")

    def clean(self, content: Content, request: Request) -> bytes:
        """The manifest of a file.

        Raises:
            DamagedCheckpoint: the file breaks the rules of its format.
            DamagedManifest: it is a manifest with lines that do not belong together.
            ThetaError: the store cannot be written.
        """
        head = content.head(_PROBE)
        if manifests.is_manifest(head):
            text = content.rest()
            if not request.looks_only:
                manifests.parse(text)
            return text
        if head.startswith(TEXTCONV_MAGIC):
            return content.rest()
        with ExitStack() as stack:
            one = _Pass(self, content, request, stack)
            identity, stored = one.identity(one.read(registry.detect(head, request.pathname)))
            return one.answer(identity, stored)

    def identify(self, content: Content, pathname: str) -> tuple[Manifest, Layout]:
        """The identity of a file that is no manifest, and its layout; nothing is stored."""
        with ExitStack() as stack:
            one = _Pass(self, content, Request(pathname, (), tuple, looks_only=True), stack)
            layout = one.read(registry.detect(content.head(_PROBE), pathname))
            return one.identity(layout)[0], layout


class _Pass:
    """One pass over the bytes of one file."""

    def __init__(self, cleaner: Cleaner, content: Content, request: Request, stack: ExitStack) -> None:
        self._cleaner = cleaner
        self._content = content
        self._request = request
        self._stack = stack
        self._known = cleaner.known(request)
        self._allowance = Allowance(_HELD_BYTES)
        self._claimed: set[str] = set()
        self._lock = Lock()
        self._bundle = Bundle()
        self._waiting: deque[tuple[Span, Future[tuple[str, Payload | None]]]] = deque()
        self._lines: list[TensorLine] = []
        self._skeleton = bytearray()
        self._gaps: list[int] = []
        self._size = 0
        self._stored_anew = False

    def read(self, form: Format | None) -> Layout:
        """Read the file, and store what is new unless the request only looks."""
        try:
            layout = self._layout(form)
            self._read(layout)
            if form is not None and layout.format != OPAQUE:
                self._check_size(form, layout, self._size)
        except DamagedCheckpoint as error:
            self._drop_waiting()
            if not self._request.looks_only:
                raise DamagedCheckpoint(
                    f"{self._request.pathname}: {error.message}", error.remedy or _SUGGESTION
                ) from None
            layout = Layout("damaged", ())
            self._content.drain()
        except BaseException:
            self._drop_waiting()
            raise
        return layout

    def _layout(self, form: Format | None) -> Layout:
        whole = [manifest for _, manifest in self._request.recorded if manifest.format == OPAQUE]
        needs_file = form is None or not form.streams or self._cleaner.settings.allow_damaged or whole
        if needs_file and self._content.size is None:
            self._content.spool(self._stack.enter_context(self._cleaner.objects.store.spool()))
        if form is None:
            return self._opaque("no known checkpoint format; stored whole, compressed", whole)
        try:
            layout = checked(form.layout(self._content), self._content.size)
            if self._content.size is not None:
                self._check_size(form, layout, self._content.size)
        except DamagedCheckpoint as error:
            if not (self._cleaner.settings.allow_damaged or self._is_one_of(whole)):
                raise
            return self._opaque(f"{error.message}; stored as opaque bytes", whole)
        return layout

    def _opaque(self, why: str, whole: Sequence[Manifest]) -> Layout:
        """The whole file as one tensor. The user hears of it, unless Git has the file like this already."""
        if not self._request.looks_only and not self._is_one_of(whole):
            self._cleaner.warn(f"{self._request.pathname}: {why}")
        return Layout(OPAQUE, (self._whole_span(),))

    def _is_one_of(self, whole: Sequence[Manifest]) -> bool:
        """Whether one of these opaque manifests is this file's."""
        digests = {line.digest for manifest in whole for line in manifest.tensors}
        return bool(digests) and FileTensor(self._whole_span(), self._content.file()).digest() in digests

    def _whole_span(self) -> Span:
        assert self._content.size is not None
        return Span("file", BYTES, (self._content.size,), 0)

    def _read(self, layout: Layout) -> None:
        spooled = self._content.size is not None
        for span in layout.spans:
            self._read_skeleton(span.offset - self._size)
            self._gaps.append(span.offset - self._size)
            self._size = span.offset
            tensor: HeldTensor | FileTensor
            if spooled:
                tensor = FileTensor(span, self._content.file())
            else:
                self._allowance.take(span.nbytes)
                tensor = HeldTensor(span)
                got = tensor.fill(self._content)
                if got < span.nbytes:
                    tensor.release()
                    raise DamagedCheckpoint(
                        f"the file is cut off in tensor {span.name!r}: {span.nbytes - got} bytes are missing"
                    )
            self._size += span.nbytes
            self._waiting.append((span, self._cleaner.tensors.submit(self._store, span, tensor)))
            while self._waiting and self._waiting[0][1].done():
                self._collect()
        self._read_skeleton(None)
        while self._waiting:
            self._collect()

    def _read_skeleton(self, count: int | None) -> None:
        """Take the next `count` bytes (or all that are left) into the skeleton."""
        if self._content.size is not None:
            file = self._content.file()
            file.seek(self._size)
            data = file.read(-1 if count is None else count)
        elif count is None:
            data = self._content.rest()
        else:
            buffer = bytearray(count)
            data = bytes(buffer[: self._content.readinto(memoryview(buffer))])
        if count is None:
            self._size += len(data)
        elif len(data) < count:
            raise DamagedCheckpoint(
                f"the file is cut off: {count - len(data)} bytes are missing before its end"
            )
        self._skeleton += data

    def _check_size(self, form: Format, layout: Layout, size: int) -> None:
        expected = form.expected_size(layout, self._content.head)
        if expected is not None and expected != size:
            raise DamagedCheckpoint(f"the file has {size} bytes; its header describes {expected}")

    def _store(self, span: Span, tensor: HeldTensor | FileTensor) -> tuple[str, Payload | None]:
        """Digest and, if need be, store one tensor. Runs in a thread of its own."""
        try:
            digest = tensor.digest()
            return digest, self._store_digest(Target(span.name, tensor), digest)
        finally:
            tensor.release()
            if isinstance(tensor, HeldTensor):
                self._allowance.give(span.nbytes)

    def _store_digest(self, target: Target, digest: str) -> Payload | None:
        with self._lock:
            if self._request.looks_only or digest in self._claimed:
                return None
            self._claimed.add(digest)
        if self._known.has(digest, target.tensor):
            return None
        self._stored_anew = True
        settings, known = self._cleaner.settings, self._known
        bases = known.bases(target.name, target.dtype, target.shape, settings.max_chain_depth)
        ranking = chooser.rank(target, list(bases))
        dense = ranking.dense_bytes
        rooms = ((one, known.room(digest, one.bases, dense, settings)) for one in ranking.proposals)
        result = self._cleaner.writer.encode(target, digest, [(one, room) for one, room in rooms if room])
        if isinstance(result, Payload):
            return result
        self._known.add(result)
        return None

    def _collect(self) -> None:
        """Take the result of the first tensor that is not finished, waiting for it."""
        span, future = self._waiting.popleft()
        digest, payload = future.result()
        self._lines.append(TensorLine(span.name, span.dtype, span.shape, digest))
        if payload is not None:
            self._bundle.add(payload)
            if self._bundle.full:
                self._write_bundle()

    def _write_bundle(self) -> None:
        if self._bundle.payloads:
            for line in self._cleaner.writer.write(self._bundle.payloads):
                self._known.add(line)
        self._bundle = Bundle()

    def _drop_waiting(self) -> None:
        """Let threads finish what they do with buffers, and forget the rest."""
        for _, future in self._waiting:
            future.cancel()
        for span, future in self._waiting:
            if future.cancelled():
                self._allowance.give(span.nbytes)
            else:
                future.exception()
        self._waiting.clear()

    def identity(self, layout: Layout) -> tuple[Manifest, bytes]:
        """The manifest of what was read, without storage, and the stored form of its skeleton."""
        names = [line.name for line in self._lines]
        stored = skeleton.pack(names, self._gaps[: len(names)], bytes(self._skeleton))
        views = (ViewLine(v.name, v.of, v.dtype, v.shape, v.offset, v.strides) for v in layout.views)
        identity = Manifest(
            layout.format,
            self._size,
            "",
            tuple(sorted(self._lines, key=lambda line: line.name)),
            tuple(sorted(views, key=lambda line: line.name)),
            blake3(stored).hexdigest(),
            len(stored),
        )
        return manifests.with_root(identity), stored

    def answer(self, identity: Manifest, stored: bytes) -> bytes:
        """The text that git gets."""
        if not self._request.looks_only:
            target = Target(SKELETON, ArrayTensor(BYTES, (len(stored),), stored))
            payload = self._store_digest(target, identity.skeleton)
            if payload is not None:
                self._bundle.add(payload)
            self._write_bundle()
        for blob, recorded in self._request.recorded:
            if recorded.root == identity.root and recorded.storage and not self._stored_anew:
                self._known.record(recorded.storage)
                return blob
        if self._request.looks_only:
            return manifests.write(identity)
        storage = self._known.storage(identity.digests())
        self._known.record(storage)
        return manifests.write(identity.with_storage(storage))
