"""What a checkpoint format says about a file: which byte ranges are tensors, and what they are called.

Everything between the spans is the skeleton. A file is its spans and its skeleton, in file order, so
whatever the format, putting them together again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from git_theta.dtypes import DType
from git_theta.manifest import View

if TYPE_CHECKING:
    from git_theta.tensors import Tensor

__all__ = ["STORAGE", "Format", "Layout", "Source", "Span", "View"]

STORAGE = "storage:"
"""How the names begin of spans that a file has no name for: only their views are tensors for its reader."""


@dataclass(frozen=True)
class Span:
    """The byte range of one stored tensor inside a file.

    Attributes:
        name: unique among the spans and views of a file.
        shape: in elements; `dtype.nbytes(shape)` is the span's length.
        offset: where the span starts in the file.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.shape)


@dataclass(frozen=True)
class Layout:
    """Where the tensors of a file lie.

    Attributes:
        format: name of the format plug-in.
        spans: sorted by offset, disjoint, inside the file.
        views: sorted by name.
    """

    format: str
    spans: tuple[Span, ...]
    views: tuple[View, ...] = ()


class Source(Protocol):
    """A checkpoint's bytes, as a format reads them.

    `head(n)` gives the first n bytes (fewer where the file is shorter) and can be asked again with a
    larger n. `file()` gives the whole file, seekable; for a format with `streams = True` it must not be
    called, so that its files are never spooled to disk.
    """

    def head(self, count: int) -> bytes: ...

    def file(self) -> BinaryIO: ...

    @property
    def size(self) -> int | None:
        """Bytes of the whole file, or None while a stream's end is not known."""
        ...


class Format(Protocol):
    """A checkpoint format: the plug-in interface of the entry-point group `git_theta.plugins.checkpoints`.

    The entry point names a class without constructor arguments.

    Attributes:
        name: kebab-case name, as manifests record it.
        suffixes: file name endings, lower case with the dot; they only break ties between formats.
        streams: True where `layout` needs nothing but `head`: then a file of any size is read as a
            stream. The caller checks afterwards that the file is as long as the spans need.
        probe: how many first bytes `recognises` wants.
    """

    name: str
    suffixes: tuple[str, ...]
    streams: bool
    probe: int

    def recognises(self, head: bytes) -> bool:
        """Whether a file that starts with `head` (at most `probe` bytes) is of this format."""
        ...

    def layout(self, source: Source) -> Layout:
        """Where the tensors lie.

        Raises:
            DamagedCheckpoint: the file breaks the format's rules. Says what is wrong; the caller adds
                the file's name. Nothing in the file is trusted before it is checked.
        """
        ...

    def expected_size(self, layout: Layout, head: Callable[[int], bytes]) -> int | None:
        """Bytes that a whole file with this layout has, or None where the format cannot tell."""
        ...

    def patch(self, skeleton: bytes, layout: Layout, tensors: Mapping[str, Tensor]) -> bytes:
        """The skeleton for a file whose spans keep their places but hold other values.

        Args:
            skeleton: the file's bytes outside the spans, in file order.
            tensors: the new values by name, of those spans that have others than before.

        Returns:
            The skeleton with checksums of tensor data made right again; the same bytes where the format
            has none.
        """
        ...

    def write(self, target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], like: bytes | None) -> None:
        """Write a file of this format with these tensors, in the order given.

        Used where a merge or a conversion changes the set of tensors.

        Args:
            target: opened for writing, seekable.
            tensors: names and values.
            like: the head or skeleton of a file of this format whose metadata is to be kept.

        Raises:
            ThetaError: the format cannot hold such a tensor, or cannot be written.
        """
        ...
