"""What the lines of a manifest say; see text for how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from git_theta.dtypes import BYTES, DType

SKELETON = ""
"""The name under which the skeletons of earlier versions are found: that of no tensor."""


@dataclass(frozen=True)
class TensorLine:
    """Identity of one stored tensor. `digest` is the BLAKE3 of its bytes, in hexadecimal."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    digest: str

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.shape)


@dataclass(frozen=True)
class View:
    """A further tensor over the bytes of a stored one: a tied weight, or a slice that is not contiguous.

    Attributes:
        of: name of the stored tensor.
        offset: first element of the view, counted in that tensor from its start, in elements of `dtype`.
        strides: in elements, one per dimension.
    """

    name: str
    of: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class StorageLine:
    """Where the data of a tensor are kept.

    Attributes:
        digest: of the tensor; its place where a manifest does not say more (see places).
        oid: SHA-256 of the object, which names it.
        size: bytes of the object.
        member: which of the object's members it is.
        update: name of the update kind; "" where a manifest does not say it.
        bases: the `digest` of the lines that the update predicts from.
    """

    digest: str
    oid: str
    size: int
    member: int
    update: str
    bases: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Object and member, which tell any two stored tensors apart. No digest looks like it."""
        return f"{self.oid}.{self.member}"

    @property
    def names_digest(self) -> bool:
        """Whether the tensor's digest is known here."""
        return "." not in self.digest


@dataclass(frozen=True)
class Lines:
    """The lines of a manifest, each right by itself; they need not belong together.

    Attributes:
        head: of the first line.
        skeletons: (digest, size) of each skeleton line.
    """

    head: Mapping[str, Any]
    tensors: tuple[TensorLine, ...]
    views: tuple[View, ...]
    skeletons: tuple[tuple[str, int], ...]
    storage: Mapping[str, StorageLine]


@dataclass(frozen=True)
class Manifest:
    """A checkpoint as Git stores it.

    Attributes:
        format: name of the format plug-in, "opaque" for files of no known format.
        size: bytes of the file.
        root: BLAKE3 over all of the identity: the file's own, without another pass over it.
        tensors: sorted by name.
        views: sorted by name.
        skeleton: digest of the skeleton's stored form, which also says in which order the tensors lie
            (see filters.skeleton).
        skeleton_size: its bytes.
        storage: by digest, closed under `bases`; empty where only the identity is known.
    """

    format: str
    size: int
    root: str
    tensors: tuple[TensorLine, ...]
    views: tuple[View, ...]
    skeleton: str
    skeleton_size: int
    storage: Mapping[str, StorageLine] = field(default_factory=dict)

    def tensor(self, name: str) -> TensorLine | None:
        """The stored tensor of that name, or None."""
        return next((line for line in self.tensors if line.name == name), None)

    @property
    def skeleton_line(self) -> TensorLine:
        """The skeleton as if it were a tensor, which it is stored like."""
        return TensorLine(SKELETON, BYTES, (self.skeleton_size,), self.skeleton)

    def digests(self) -> list[str]:
        """Every digest that the file itself needs, the skeleton last, each once."""
        return list(dict.fromkeys([*(line.digest for line in self.tensors), self.skeleton]))

    def oids(self) -> dict[str, int]:
        """Size of every object that a checkout needs, by oid."""
        return {line.oid: line.size for line in self.storage.values()}

    def with_storage(self, storage: Mapping[str, StorageLine]) -> Manifest:
        """The same checkpoint with these storage lines."""
        return replace(self, storage=storage)
