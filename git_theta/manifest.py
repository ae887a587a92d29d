"""The manifest: the small text that Git stores in place of a checkpoint.

One compact JSON object per line, keys in fixed order:

    {"git-theta":1,"format":"safetensors","size":709471960,"root":"<BLAKE3>"}
    {"tensor":"h.0.attn.k.weight","dtype":"BF16","shape":[1024,1024],"digest":"<BLAKE3>"}      sorted by name
    {"view":"lm_head.weight","of":"wte.weight","dtype":"BF16","shape":[...],"offset":0,"strides":[...]}
    {"skeleton":"<BLAKE3>","size":36264}
    {"digest":"<BLAKE3>","oid":"<SHA-256>","size":2836412,"member":0,"update":"delta","bases":["<BLAKE3>"]}

The lines up to the skeleton are the *identity*: a pure function of the file's bytes. The last kind are the
*storage*: where those bytes, and the bases that they are predicted from, are kept. Sorted by digest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blake3 import blake3

from git_theta.dtypes import DType, dtype
from git_theta.errors import DamagedManifest, ThetaError

VERSION = 1
MAGIC = b'{"git-theta":'
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_LIMIT = 1 << 62  # sizes and counts above this come from nowhere but an attack
_NAME_OF_UPDATE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")


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
class ViewLine:
    """A tensor over the bytes of another one; see checkpoints.layout.View."""

    name: str
    of: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class StorageLine:
    """Where the data of a digest is kept.

    Attributes:
        oid: SHA-256 of the object, which names it.
        size: bytes of the object.
        member: which of the object's members it is.
        update: name of the update kind.
        bases: digests of the tensors that the update predicts from.
    """

    digest: str
    oid: str
    size: int
    member: int
    update: str
    bases: tuple[str, ...] = ()


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
    views: tuple[ViewLine, ...]
    skeleton: str
    skeleton_size: int
    storage: Mapping[str, StorageLine] = field(default_factory=dict)

    def tensor(self, name: str) -> TensorLine | None:
        """The stored tensor of that name, or None."""
        return next((line for line in self.tensors if line.name == name), None)

    def digests(self) -> list[str]:
        """Every digest that the file itself needs, the skeleton last, each once."""
        return list(dict.fromkeys([*(line.digest for line in self.tensors), self.skeleton]))

    def oids(self) -> dict[str, int]:
        """Size of every object that a checkout needs, by oid."""
        return {line.oid: line.size for line in self.storage.values()}

    def with_storage(self, storage: Mapping[str, StorageLine]) -> Manifest:
        """The same checkpoint with these storage lines."""
        return replace(self, storage=storage)


def closure(digests: Iterable[str], storage: Mapping[str, StorageLine]) -> dict[str, StorageLine]:
    """The storage lines of these digests and of all their bases.

    Raises:
        DamagedManifest: a line is missing, or a chain of bases runs in a circle.
    """
    lines: dict[str, StorageLine] = {}
    done: set[str] = set()
    path: set[str] = set()
    stack = [(digest, False) for digest in digests]
    while stack:
        digest, leaving = stack.pop()
        if leaving:
            path.discard(digest)
            done.add(digest)
            continue
        if digest in path:
            raise DamagedManifest(f"the updates of {digest[:12]} lead back to itself")
        if digest in done:
            continue
        line = storage.get(digest)
        if line is None:
            raise DamagedManifest(f"no storage line for {digest[:12]}")
        lines[digest] = line
        path.add(digest)
        stack.append((digest, True))
        stack.extend((base, False) for base in line.bases)
    return lines


def depth(digest: str, storage: Mapping[str, StorageLine]) -> int:
    """How many updates lie between a tensor and dense data: 0 for a dense one."""
    deepest, stack = 0, [(digest, 0)]
    while stack:
        current, level = stack.pop()
        deepest = max(deepest, level)
        stack.extend((base, level + 1) for base in storage[current].bases)
    return deepest


def is_manifest(text: bytes) -> bool:
    """Whether this (the first bytes are enough) is meant to be a manifest."""
    return text.startswith(MAGIC)


def write(manifest: Manifest) -> bytes:
    """The text of a manifest; its order is fixed, so equal manifests are equal texts."""
    head = {"git-theta": VERSION, "format": manifest.format, "size": manifest.size, "root": manifest.root}
    rows: list[dict[str, Any]] = []
    for digest in sorted(manifest.storage):
        line = manifest.storage[digest]
        rows.append({"digest": digest, "oid": line.oid, "size": line.size, "member": line.member})
        rows[-1]["update"] = line.update
        if line.bases:
            rows[-1]["bases"] = list(line.bases)
    return _lines([head]) + _identity(manifest) + _lines(rows)


def with_root(manifest: Manifest) -> Manifest:
    """The manifest with the root that its identity has."""
    return replace(manifest, root=_root(manifest))


def _root(manifest: Manifest) -> str:
    head = _lines([{"git-theta": VERSION, "format": manifest.format, "size": manifest.size}])
    return blake3(head + _identity(manifest)).hexdigest()


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows
    )


def _identity(manifest: Manifest) -> bytes:
    """The lines between the first one and the storage."""
    rows: list[dict[str, Any]] = []
    rows += [
        {"tensor": t.name, "dtype": t.dtype.name, "shape": list(t.shape), "digest": t.digest}
        for t in manifest.tensors
    ]
    rows += [
        {
            "view": v.name,
            "of": v.of,
            "dtype": v.dtype.name,
            "shape": list(v.shape),
            "offset": v.offset,
            "strides": list(v.strides),
        }
        for v in manifest.views
    ]
    rows.append({"skeleton": manifest.skeleton, "size": manifest.skeleton_size})
    return _lines(rows)


def parse(text: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        DamagedManifest: it is not exactly what `write` writes. The message names the line.
    """
    if not is_manifest(text):
        raise DamagedManifest("this is not a git-theta manifest")
    if not text.endswith(b"\n"):
        raise DamagedManifest("the manifest is cut off: its last line does not end")
    rows = [_row(number, line) for number, line in enumerate(text[:-1].split(b"\n"), 1)]
    head = rows[0]
    if head.get("git-theta") != VERSION:
        raise DamagedManifest(
            f"the manifest is of version {head.get('git-theta')!r}; this git-theta reads version {VERSION}",
            "pip install --upgrade git-theta",
        )
    tensors: list[TensorLine] = []
    views: list[ViewLine] = []
    storage: dict[str, StorageLine] = {}
    skeleton: tuple[str, int] | None = None
    for number, row in enumerate(rows[1:], 2):
        try:
            if "tensor" in row:
                tensors.append(TensorLine(_text(row["tensor"]), *_kind(row), _digest(row["digest"])))
            elif "view" in row:
                offset, strides = _number(row["offset"]), tuple(map(_number, row["strides"]))
                views.append(ViewLine(_text(row["view"]), _text(row["of"]), *_kind(row), offset, strides))
            elif "skeleton" in row:
                if skeleton is not None:
                    raise ValueError("a second skeleton")
                skeleton = _digest(row["skeleton"]), _number(row["size"])
            else:
                bases = tuple(map(_digest, row.get("bases", ())))
                if not _NAME_OF_UPDATE.match(row["update"]):
                    raise ValueError(f"update {row['update']!r}")
                line = StorageLine(
                    _digest(row["digest"]),
                    _digest(row["oid"]),
                    _number(row["size"]),
                    _number(row["member"]),
                    row["update"],
                    bases,
                )
                storage[line.digest] = line
        except (KeyError, TypeError, ValueError, ThetaError) as error:
            raise DamagedManifest(f"line {number} of the manifest is wrong: {error}") from None
    if skeleton is None:
        raise DamagedManifest("the manifest is cut off: it has no skeleton line")
    try:
        manifest = Manifest(
            _text(head["format"]),
            _number(head["size"]),
            _digest(head["root"]),
            tuple(tensors),
            tuple(views),
            *skeleton,
            storage,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedManifest(f"line 1 of the manifest is wrong: {error}") from None
    if write(manifest) != text:
        raise DamagedManifest("the manifest is not as git-theta writes it (order, spacing or doubled lines)")
    if _root(manifest) != manifest.root:
        raise DamagedManifest(
            "the manifest's lines do not belong together: its root is another one",
            "stage the file whole: git add PATH",
        )
    _check_names(manifest)
    if storage:
        closure(manifest.digests(), storage)
    return manifest


def _check_names(manifest: Manifest) -> None:
    names = [line.name for line in manifest.tensors]
    if names != sorted(set(names)):
        raise DamagedManifest("the manifest's tensors are not sorted by name, or one stands twice")
    view_names = [line.name for line in manifest.views]
    if view_names != sorted(set(view_names)) or set(view_names) & set(names):
        raise DamagedManifest("the manifest's views are not sorted by name, or one stands twice")
    if unknown := {line.of for line in manifest.views} - set(names):
        raise DamagedManifest(f"the manifest has views of no tensor: {', '.join(sorted(unknown))}")


def _row(number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DamagedManifest(
            f"line {number} of the manifest is not JSON: {line[:40].decode(errors='replace')!r}",
            "take one side of a conflict whole: git checkout --ours PATH, or git checkout --theirs PATH",
        )
    return row


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a name")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise ValueError(f"{value!r} is not a size")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _HEX64.match(value):
        raise ValueError(f"{value!r} is not a digest")
    return value


def _kind(row: dict[str, Any]) -> tuple[DType, tuple[int, ...]]:
    shape = tuple(map(_number, row["shape"]))
    kind = dtype(row["dtype"])
    if kind.nbytes(shape) >= _LIMIT:
        raise ValueError(f"shape {list(shape)} is absurd")
    return kind, shape
