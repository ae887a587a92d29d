"""One pass over the bytes of one file: digests, what is stored on the way, and the identity."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3

from git_theta import manifest as manifests
from git_theta import scratch
from git_theta.checkpoints.checks import checked
from git_theta.checkpoints.layout import Format, Layout, Span
from git_theta.checkpoints.registry import OPAQUE
from git_theta.dtypes import BYTES
from git_theta.errors import DamagedCheckpoint
from git_theta.filters import skeleton
from git_theta.filters.file_tensors import Allowance, FileTensor, HeldTensor, SpooledTensor
from git_theta.filters.source import Content
from git_theta.manifest import SKELETON, Manifest, TensorLine
from git_theta.objects.store import LocalStore
from git_theta.objects.writer import Payload
from git_theta.settings import Settings
from git_theta.storing.keeper import Keeper
from git_theta.tensors import ArrayTensor
from git_theta.updates.interface import Target

_HELD_BYTES = 64 << 20
_LARGEST_HELD = 256 << 20
"""Bytes of a tensor that is held in memory; a larger one is written down until it is stored."""
_PIECE = 1 << 20
_TINY = 64 << 10
"""Bytes of a tensor below which several are handled in one go."""
_MOST_AT_ONCE = 128
_SUGGESTION = "save the file again; to store it as it is: git -c theta.allowDamaged=true add PATH"


@dataclass(frozen=True)
class Means:
    """What a pass works with.

    Attributes:
        keeper: stores tensors; None where nothing is to be stored: then nothing is refused either.
        threads: where whole tensors are handled; others than those that the keeper uses.
        warn: shows a line to the user.
    """

    store: LocalStore
    keeper: Keeper | None
    settings: Settings
    threads: Executor
    warn: Callable[[str], None]


class _Read(NamedTuple):
    """A tensor that was read, and its number in the file."""

    number: int
    span: Span
    tensor: HeldTensor | FileTensor


_Stored = tuple[str, Payload | None]
"""A tensor's digest, and what is to be gathered of it."""


class SinglePass:
    """Reads one file from front to back."""

    def __init__(self, means: Means, content: Content, stack: ExitStack) -> None:
        self._keeper = means.keeper
        self._means = means
        self._content = content
        self._stack = stack
        self._allowance = Allowance(_HELD_BYTES)
        self._batch: list[_Read] = []
        self._waiting: deque[tuple[list[_Read], Future[list[_Stored]]]] = deque()
        self._lines: list[TensorLine] = []
        self._skeleton = bytearray()
        self._gaps: list[int] = []
        self._expected: int | None = None
        self._size = 0

    @property
    def stored_anew(self) -> bool:
        """Whether the file has something that was not stored before."""
        return self._keeper is not None and self._keeper.stored_anew

    def read(self, form: Format | None) -> Layout:
        """Read the file.

        Raises:
            DamagedCheckpoint: it breaks the rules of its format.
            BrokenPlugin: its format is of a package, and fails. The content can still be read.
        """
        try:
            layout = self._layout(form)
            self._read(layout)
            if layout.format != OPAQUE:
                self._check_size(self._size)
        except DamagedCheckpoint as error:
            self._drop_waiting()
            if self._keeper is not None:
                raise DamagedCheckpoint(error.message, error.remedy or _SUGGESTION) from None
            # Which tensors were finished is a matter of chance; what is shown should not be.
            self._lines, self._gaps, self._skeleton = [], [], bytearray()
            layout = Layout("damaged", ())
            self._content.drain()
        except BaseException:
            self._drop_waiting()
            raise
        return layout

    def identity(self, layout: Layout) -> Manifest:
        """The manifest of what was read, without storage; the skeleton is stored, too."""
        names = [line.name for line in self._lines]
        stored = skeleton.pack(names, self._gaps, bytes(self._skeleton))
        digest = blake3(stored).hexdigest()
        identity = Manifest(
            layout.format,
            self._size,
            "",
            tuple(sorted(self._lines, key=lambda line: line.name)),
            tuple(layout.views),
            digest,
            len(stored),
        )
        target = Target(SKELETON, ArrayTensor(BYTES, (len(stored),), stored))
        if self._keeper is not None:
            self._keeper.gather(self._keeper.keep(target, digest))
            self._keeper.finish()
        return manifests.with_root(identity)

    def _layout(self, form: Format | None) -> Layout:
        settings = self._means.settings
        if (form is None or not form.streams or settings.allow_damaged) and self._content.size is None:
            self._content.spool(self._stack.enter_context(self._means.store.spool()))
        if form is None:
            return self._opaque("no known checkpoint format; stored whole, compressed")
        try:
            layout = checked(form.layout(self._content), self._content.size)
            self._expected = form.expected_size(layout, self._content.head)
            if self._content.size is not None:
                self._check_size(self._content.size)
        except DamagedCheckpoint as error:
            if not settings.allow_damaged:
                raise
            return self._opaque(f"{error.message}; stored as opaque bytes")
        if self._is_bulky(layout):
            return self._opaque("too much of it is no tensor; stored whole, compressed")
        return layout

    def _is_bulky(self, layout: Layout) -> bool:
        if self._content.size is None:
            return False
        return self._content.size - sum(span.nbytes for span in layout.spans) > skeleton.LARGEST

    def _opaque(self, why: str) -> Layout:
        assert self._content.size is not None
        self._means.warn(why)
        return Layout(OPAQUE, (Span("file", BYTES, (self._content.size,), 0),))

    def _read(self, layout: Layout) -> None:
        for number, span in enumerate(layout.spans):
            gap = span.offset - self._size
            self._read_skeleton(gap)
            self._gaps.append(gap)
            if not self._goes_along(span):
                self._hand_over()
            tensor = self._take(span)
            self._batch.append(_Read(number, span, tensor))
            self._size += span.nbytes
        self._hand_over()
        self._read_skeleton(None)
        while self._waiting:
            self._collect()

    def _goes_along(self, span: Span) -> bool:
        """Whether a tensor is handled in one go with those read before: threads are for what takes long."""
        if len(self._batch) >= _MOST_AT_ONCE or span.nbytes >= _TINY:
            return False
        return not self._batch or self._batch[-1].span.nbytes < _TINY

    def _hand_over(self) -> None:
        """Let a thread handle what was read, and take the results that are there."""
        if self._batch:
            self._waiting.append((self._batch, self._means.threads.submit(self._store_all, self._batch)))
            self._batch = []
        while self._waiting and self._waiting[0][1].done():
            self._collect()

    def _take(self, span: Span) -> HeldTensor | FileTensor:
        """Read a tensor."""
        if self._content.size is not None:
            return FileTensor(span, self._content.file())
        tensor: HeldTensor | SpooledTensor
        if span.nbytes > _LARGEST_HELD:
            tensor = SpooledTensor(span, self._means.store.spool())
        else:
            if not self._allowance.has(_held(span)):
                self._hand_over()  # nobody gives back what was not handed over
            self._allowance.take(_held(span))
            tensor = HeldTensor(span)
        try:
            got = tensor.fill(self._content)
        except BaseException:
            tensor.release()
            raise
        if got < span.nbytes:
            tensor.release()
            raise DamagedCheckpoint(
                f"the file is cut off in tensor {span.name!r}: {span.nbytes - got} bytes are missing"
            )
        return tensor

    def _read_skeleton(self, count: int | None) -> None:
        """Take the next `count` bytes (or all that are left) into the skeleton."""
        if count == 0:
            return
        if self._content.size is not None:
            self._content.seek(self._size)
        left, buffer = count, memoryview(bytearray(_PIECE))
        while left is None or left:
            got = self._content.readinto(buffer[: _PIECE if left is None else min(left, _PIECE)])
            if not got:
                break
            self._skeleton += buffer[:got]
            self._size += got
            left = None if left is None else left - got
            if len(self._skeleton) > skeleton.LARGEST:
                raise DamagedCheckpoint(
                    f"more than {skeleton.LARGEST} bytes, the most allowed, are no tensors"
                )
        if left:
            raise DamagedCheckpoint(f"the file is cut off: {left} bytes are missing before its end")

    def _check_size(self, size: int) -> None:
        if self._expected is not None and self._expected != size:
            raise DamagedCheckpoint(f"the file has {size} bytes; its header describes {self._expected}")

    def _store_all(self, batch: Sequence[_Read]) -> list[_Stored]:
        """Digest and, if need be, store tensors. Runs in a thread of its own."""
        try:
            return [self._store(read) for read in batch]
        finally:
            for read in batch:
                if self._keeper is not None:
                    self._keeper.passed(read.number)
                read.tensor.release()
                if isinstance(read.tensor, HeldTensor):
                    self._allowance.give(_held(read.span))

    def _store(self, read: _Read) -> _Stored:
        digest = read.tensor.digest()
        if self._keeper is None:
            return digest, None
        target = Target(read.span.name, read.tensor)
        payload = self._keeper.keep_in_turn(read.number, target, digest)
        self._keeper.passed(read.number)
        return digest, payload

    def _collect(self) -> None:
        """Take the results of the first tensors that are not finished, waiting for them."""
        batch, future = self._waiting.popleft()
        for (_, span, _), (digest, payload) in zip(batch, future.result(), strict=True):
            self._lines.append(TensorLine(span.name, span.dtype, span.shape, digest))
            if self._keeper is not None:
                self._keeper.gather(payload)

    def _drop_waiting(self) -> None:
        """Let threads finish what they do with buffers and files, and forget the rest."""
        for _, future in self._waiting:
            future.cancel()
        for batch, future in self._waiting:
            if future.cancelled():
                self._batch += batch
            else:
                future.exception()
        for read in self._batch:
            read.tensor.release()
        self._waiting.clear()
        self._batch = []


def _held(span: Span) -> int:
    """Bytes that holding a tensor takes: however small it is, a buffer."""
    return max(span.nbytes, scratch.SLAB)
