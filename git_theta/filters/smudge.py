"""Smudge: a manifest back to the checkpoint's bytes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from git_theta import scratch
from git_theta.dtypes import BYTES
from git_theta.errors import DamagedObject, ThetaError
from git_theta.filters import skeleton
from git_theta.manifest import Manifest, TensorLine
from git_theta.objects.reader import Objects
from git_theta.tensors import Tensor, chunks

_AHEAD = 6  # chunks decoded before the one being written

Write = Callable[[memoryview], object]
_Decoded = Future[NDArray[np.uint8]]


class Smudger:
    """Rebuilds one file after the other; threads and buffers are kept."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
        self._executor = ThreadPoolExecutor(workers, "decode")

    def smudge(self, manifest: Manifest, write: Write) -> None:
        """Write the bytes of the file, front to back; every tensor is checked against its digest.

        Raises:
            MissingObject, DamagedObject, DamagedManifest: names the tensor. Some bytes may have been
                written by then.
        """
        stored = self.skeleton(manifest)
        pieces, between = skeleton.pieces(manifest, stored)
        waiting: deque[tuple[_Decoded, TensorLine, bool]] = deque()
        hashed = blake3()
        written = 0

        def finish_one() -> None:
            nonlocal hashed, written
            future, line, last = waiting.popleft()
            buffer = future.result()
            hashed.update(buffer.data)
            if last and hashed.hexdigest() != line.digest:
                raise DamagedObject(f"tensor {line.name!r}: {_WRONG}", _FSCK)
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
                for future, last in self._decode(manifest, piece.tensor):
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

    def skeleton(self, manifest: Manifest) -> bytes:
        """The stored form of the skeleton, checked against its digest."""
        tensor = self._objects.tensor(manifest.skeleton, manifest.storage, BYTES, (manifest.skeleton_size,))
        stored = tensor.read(0, tensor.items).tobytes()
        if blake3(stored).hexdigest() != manifest.skeleton:
            raise DamagedObject(f"the skeleton: {_WRONG}", _FSCK)
        return stored

    def _decode(self, manifest: Manifest, line: TensorLine) -> Iterator[tuple[_Decoded, bool]]:
        """The chunks of a tensor, being decoded; and which is the last."""
        try:
            tensor = self._objects.tensor(line.digest, manifest.storage, line.dtype, line.shape)
        except ThetaError as error:
            error.message = f"tensor {line.name!r}: {error.message}"
            raise
        ranges = chunks(tensor)
        for start, stop in ranges:
            yield self._executor.submit(_read, tensor, start, stop), stop == ranges[-1][1]


def _read(tensor: Tensor, start: int, stop: int) -> NDArray[np.uint8]:
    buffer = scratch.take((stop - start) * tensor.dtype.itemsize)
    try:
        tensor.read(start, stop, buffer.view(tensor.dtype.storage))
    except BaseException:
        scratch.give(buffer)
        raise
    return buffer


_WRONG = "its data are not what the manifest says"
_FSCK = "git theta fsck names the damaged object; remove it, then: git theta fetch"
