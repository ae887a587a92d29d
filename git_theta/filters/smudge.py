"""Smudge: a manifest back to the checkpoint's bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.errors import DamagedObject, ThetaError
from git_theta.filters import handoff, skeleton
from git_theta.filters.handoff import Prepared
from git_theta.manifest import Manifest, TensorLine
from git_theta.objects.reader import Objects
from git_theta.tensors import CHUNK_BYTES, Tensor
from git_theta.threads import cores

_AHEAD = 6  # chunks decoded before the one being written

Write = Callable[[memoryview], object]
_Decoded = Future[NDArray[np.uint8]]


class Smudger:
    """Rebuilds one file after the other; threads and buffers are kept."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        workers = cores()
        self._executor = ThreadPoolExecutor(workers, "decode")

    def smudge(self, manifest: Manifest, write: Write) -> None:
        """Write the bytes of the file, front to back; every tensor is checked against its digest.

        Raises:
            MissingObject, DamagedObject, DamagedManifest: names the tensor. Some bytes may have been
                written by then.
        """
        with handoff.taken(self._objects.store, manifest) as left:
            self._smudge(manifest, left, write)

    def _smudge(self, manifest: Manifest, left: Prepared, write: Write) -> None:
        pieces, between = skeleton.pieces(manifest, skeleton.read(manifest, self._objects))
        waiting: deque[tuple[_Decoded, TensorLine, bool]] = deque()
        hashed = blake3()

        def finish_one() -> None:
            nonlocal hashed
            future, line, last = waiting.popleft()
            with _naming(line):
                buffer = future.result()
                hashed.update(buffer.data)
                if last and hashed.hexdigest() != line.digest:
                    raise DamagedObject(_WRONG, "git theta fsck")
            hashed = blake3() if last else hashed
            write(buffer.data)
            scratch.give(buffer)

        try:
            for piece in pieces:
                if piece.tensor is None:
                    while waiting:
                        finish_one()
                    write(between[piece.start : piece.stop])
                    continue
                for future, last in self._decode(manifest, piece.tensor, left):
                    waiting.append((future, piece.tensor, last))
                    while len(waiting) > _AHEAD:
                        finish_one()
            while waiting:
                finish_one()
        finally:
            for future, _, _ in waiting:
                future.cancel()
            for future, _, _ in waiting:
                if not future.cancelled() and future.exception() is None:
                    scratch.give(future.result())

    def _decode(
        self, manifest: Manifest, line: TensorLine, left: Prepared
    ) -> Iterator[tuple[_Decoded, bool]]:
        """The chunks of a tensor, being decoded; and which is the last."""
        with _naming(line):
            tensor = left.tensor(line)
            if tensor is None:
                tensor = self._objects.tensor(line.digest, manifest.storage, line.dtype, line.shape)
        step = CHUNK_BYTES // tensor.dtype.itemsize
        for start in range(0, tensor.items, step):  # not a list: nothing says yet that its size is true
            stop = min(start + step, tensor.items)
            yield self._executor.submit(_read, tensor, start, stop), stop == tensor.items


@contextmanager
def _naming(line: TensorLine) -> Iterator[None]:
    """Put the tensor's name in front of errors that are raised in the `with` block."""
    try:
        yield
    except ThetaError as error:
        error.message = f"tensor {line.name!r}: {error.message}"
        raise


def _read(tensor: Tensor, start: int, stop: int) -> NDArray[np.uint8]:
    buffer = scratch.take((stop - start) * tensor.dtype.itemsize)
    try:
        tensor.read(start, stop, buffer.view(tensor.dtype.storage))
    except BaseException:
        scratch.give(buffer)
        raise
    return buffer


_WRONG = "its data are not what the manifest says"
