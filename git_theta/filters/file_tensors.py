"""Tensors of a checkpoint that is being cleaned: held in buffers, or lying in a file."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np
from blake3 import blake3

from git_theta import scratch
from git_theta.checkpoints.layout import Span
from git_theta.filters.source import Content
from git_theta.tensors import CHUNK_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits


class HeldTensor:
    """A tensor in buffers of CHUNK_BYTES each, which go back to `scratch` on release."""

    def __init__(self, span: Span) -> None:
        self.dtype, self.shape = span.dtype, span.shape
        self.items = span.nbytes // span.dtype.itemsize
        self._buffers: list[NDArray[np.uint8]] = []
        self._step = CHUNK_BYTES // span.dtype.itemsize
        self._nbytes = span.nbytes

    def fill(self, content: Content) -> int:
        """Read the tensor's bytes; returns how many there were."""
        left = self._nbytes
        while left:
            buffer = scratch.take(min(left, CHUNK_BYTES))
            self._buffers.append(buffer)
            got = content.readinto(buffer.data)
            left -= got
            if got < buffer.size:
                break
        return self._nbytes - left

    def digest(self) -> str:
        found = blake3()
        for buffer in self._buffers:
            found.update(buffer.data)
        return found.hexdigest()

    def release(self) -> None:
        for buffer in self._buffers:
            scratch.give(buffer)
        self._buffers = []

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        first, last = start // self._step, (stop - 1) // self._step
        if first == last and out is None:
            bits: Bits = self._buffers[first].view(self.dtype.storage)
            return bits[start - first * self._step : stop - first * self._step]
        result: Bits = np.empty(stop - start, self.dtype.storage) if out is None else out
        for number in range(first, last + 1) if stop > start else ():
            low, high = max(start, number * self._step), min(stop, (number + 1) * self._step)
            source = self._buffers[number].view(self.dtype.storage)
            result[low - start : high - start] = source[
                low - number * self._step : high - number * self._step
            ]
        return result


class FileTensor:
    """A tensor in a file that can be read at positions.

    It keeps the file and not its descriptor, whose number the next file that is opened may get: once the file
    is closed, reading raises ValueError.
    """

    def __init__(self, span: Span, file: IO[bytes]) -> None:
        self.dtype, self.shape = span.dtype, span.shape
        self.items = span.nbytes // span.dtype.itemsize
        self._offset, self._nbytes = span.offset, span.nbytes
        self._file = file

    def digest(self) -> str:
        found = blake3()
        with scratch.borrow(min(CHUNK_BYTES, max(1, self._nbytes))) as buffer:
            for start in range(0, self._nbytes, CHUNK_BYTES):
                part = buffer[: min(CHUNK_BYTES, self._nbytes - start)]
                self._pread(part, self._offset + start)
                found.update(part.data)
        return found.hexdigest()

    def release(self) -> None:
        """Do nothing: a tensor in a file holds no buffers."""

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        result: Bits = np.empty(stop - start, self.dtype.storage) if out is None else out
        if stop > start:
            self._pread(result.view(np.uint8), self._offset + start * self.dtype.itemsize)
        return result

    def _pread(self, out: NDArray[np.uint8], offset: int) -> None:
        view, done, descriptor = out.data, 0, self._file.fileno()
        while done < len(view):
            got = os.preadv(descriptor, [view[done:]], offset + done)
            if not got:
                raise OSError("a spooled file became shorter")
            done += got


class SpooledTensor(FileTensor):
    """A tensor that is too large to be held, in a temporary file that is gone on release.

    Args:
        spool: gives the file.
    """

    def __init__(self, span: Span, spool: AbstractContextManager[IO[bytes]]) -> None:
        self._stack = ExitStack()
        super().__init__(replace(span, offset=0), self._stack.enter_context(spool))

    def fill(self, content: Content) -> int:
        """Read the tensor's bytes; returns how many there were. Raises ThetaError: they cannot be written."""
        left = self._nbytes
        with scratch.borrow(CHUNK_BYTES) as buffer:
            while left and (got := content.readinto(buffer[: min(left, CHUNK_BYTES)].data)):
                self._file.write(buffer[:got].data)
                left -= got
        return self._nbytes - left

    def release(self) -> None:
        self._stack.close()


class Allowance:
    """How many bytes of tensors may be held at once; the largest tensor alone is always allowed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def has(self, nbytes: int) -> bool:
        """Whether there is room."""
        return not self._used or self._used + nbytes <= self._limit

    def take(self, nbytes: int) -> None:
        """Wait until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self.has(nbytes))
            self._used += nbytes

    def give(self, nbytes: int) -> None:
        with self._changed:
            self._used -= nbytes
            self._changed.notify_all()
