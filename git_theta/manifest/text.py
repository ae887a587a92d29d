"""The manifest: the small text that Git stores in place of a checkpoint.

One compact JSON object per line, keys in fixed order:

    {"git-theta":2,"format":"safetensors","size":709471960,"root":"<BLAKE3>"}
    {"tensor":"h.0","dtype":"F32","shape":[4],"digest":"<BLAKE3>","at":"c19e44.0 81d2e7.0","update":"delta"}
    {"view":"lm_head.weight","of":"wte.weight","dtype":"BF16","shape":[...],"offset":0,"strides":[...]}
    {"skeleton":"<BLAKE3>","size":36264,"at":"c19e44.1"}
    {"object":"<SHA-256>","size":2836412}

Tensors and views are sorted by name, objects by oid. But for `at` and `update` the lines down to the skeleton
are the *identity*: a pure function of the file's bytes. `at` (see places) and the objects are the *storage*:
where those bytes, and what they are predicted from, are kept. Version 1 has a line of its own for each stored
digest instead, and each that it is predicted from:

    {"digest":"<BLAKE3>","oid":"<SHA-256>","size":2836412,"member":0,"update":"delta","bases":["<BLAKE3>"]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from blake3 import blake3

from git_theta import untrusted
from git_theta.errors import DamagedManifest, NewerManifest, ThetaError
from git_theta.manifest import places
from git_theta.manifest.chains import closure
from git_theta.manifest.checks import check
from git_theta.manifest.lines import Lines, Manifest, StorageLine, TensorLine, View

VERSION = 2
MAGIC = b'{"git-theta":'
TEXT_MAGIC = b"git-theta tensors "
"""What a manifest as text for people begins with (see diffs.textconv), by which clean knows it."""
LARGEST = 256 << 20
"""Bytes of a manifest, at most: what is larger is a mistake or an attack."""
_LONGEST = 1 << 20
"""Bytes of a line, at most: JSON takes up to 60 times as much memory as text."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SIZE = re.compile(rb'"size":([0-9]{1,19})[,}]')
_OBJECT = re.compile(rb'"(?:oid|object)":"([0-9a-f]{64})","size":([0-9]{1,19})[,}]')
_FIRST = re.compile(rb'\{"git-theta":([1-9][0-9]{0,8})[,}]')
_MARKER = re.compile(rb"^(<{7}|={7}|>{7})", re.MULTILINE)
_NAME_OF_PLUGIN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")


def is_manifest(text: bytes) -> bool:
    """Whether this (the first bytes are enough) is meant to be a manifest."""
    return text.startswith(MAGIC)


def version_of(text: bytes) -> int:
    """The version of the format that a manifest needs; 0 where that cannot be told, or for a mix of texts.

    It is in the first line, whatever the others are.
    """
    found = _FIRST.match(text)
    return int(found.group(1)) if found and not _MARKER.search(text) else 0


def write(manifest: Manifest) -> bytes:
    """The text of a manifest; its order is fixed, so equal manifests are equal texts."""
    needed = closure(manifest.digests(), manifest.storage) if manifest.storage else {}
    return _text(manifest, _identity(manifest), VERSION if manifest.storage else 1, needed)


def with_root(manifest: Manifest) -> Manifest:
    """The manifest with the root that its identity has."""
    return replace(manifest, root=_root(manifest, _identity(manifest)))


@dataclass(frozen=True)
class _Line:
    """A line of the identity, and the digest that it is about; "" for one of a view."""

    text: str
    digest: str = ""

    def stored(self, storage: Mapping[str, StorageLine], length: int) -> str:
        """The line with where its digest is stored."""
        if not self.digest:
            return self.text
        update = storage[self.digest].update
        kind = "" if update == "dense" else f',"update":"{update}"'
        return f'{self.text[:-1]},"at":"{places.write(self.digest, storage, length)}"{kind}}}'


def _identity(manifest: Manifest) -> list[_Line]:
    """The lines between the first one and the storage."""
    lines = [
        _Line(
            _encode({"tensor": t.name, "dtype": t.dtype.name, "shape": list(t.shape), "digest": t.digest}),
            t.digest,
        )
        for t in manifest.tensors
    ]
    lines += [
        _Line(
            _encode(
                {
                    "view": v.name,
                    "of": v.of,
                    "dtype": v.dtype.name,
                    "shape": list(v.shape),
                    "offset": v.offset,
                    "strides": list(v.strides),
                }
            )
        )
        for v in manifest.views
    ]
    skeleton = {"skeleton": manifest.skeleton, "size": manifest.skeleton_size}
    return [*lines, _Line(_encode(skeleton), manifest.skeleton)]


def _root(manifest: Manifest, identity: Iterable[_Line]) -> str:
    """The BLAKE3 of the identity; its first line is as in version 1, whatever the manifest's version is."""
    head = _encode({"git-theta": 1, "format": manifest.format, "size": manifest.size})
    return blake3(_joined([head, *(line.text for line in identity)])).hexdigest()


def _needed(manifest: Manifest) -> Mapping[str, StorageLine]:
    """The storage lines that a manifest which was read needs, which should be all of them.

    Raises:
        DamagedManifest: one is missing, or updates lead back to where they come from.
    """
    storage = manifest.storage
    entwined = any("." not in base for line in storage.values() for base in line.bases)
    if entwined or any(digest not in storage for digest in manifest.digests()):
        return closure(manifest.digests(), storage) if storage else {}
    return storage  # each place was read with all that stands behind it


def _text(
    manifest: Manifest, identity: Iterable[_Line], version: int, needed: Mapping[str, StorageLine]
) -> bytes:
    """All of the text.

    Args:
        needed: the storage lines that it has. Raises DamagedManifest if there are none in version 2.
    """
    head = _encode(
        {"git-theta": version, "format": manifest.format, "size": manifest.size, "root": manifest.root}
    )
    if version == 1:
        return _joined([head, *(line.text for line in identity)]) + _storage_text(manifest.storage)
    if not needed:
        raise DamagedManifest("the manifest does not say where its tensors are stored")
    objects = {line.oid: line.size for line in needed.values()}
    length = places.Abbreviations(objects).length
    return _joined(
        [
            head,
            *(line.stored(manifest.storage, length) for line in identity),
            *(f'{{"object":"{oid}","size":{objects[oid]}}}' for oid in sorted(objects)),
        ]
    )


def _joined(lines: Iterable[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()


def parse(text: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        NewerManifest: only a newer git-theta can read it.
        DamagedManifest: it is not exactly what `write` writes. The message names the line.
    """
    lines, misplaced = _read_lines(text)
    if not lines.skeletons:
        raise DamagedManifest("the manifest is cut off: it has no skeleton line")
    if len(lines.skeletons) > 1:
        raise DamagedManifest("the manifest has a second skeleton line")
    try:
        manifest = Manifest(
            _plugin(lines.head["format"]),
            untrusted.number(lines.head["size"]),
            untrusted.digest(lines.head["root"]),
            lines.tensors,
            lines.views,
            *lines.skeletons[0],
            lines.storage,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedManifest(f"line 1 of the manifest is wrong: {error}") from None
    identity = _identity(manifest)
    if misplaced is None and _text(manifest, identity, version_of(text), _needed(manifest)) != text:
        raise DamagedManifest("the manifest is not as git-theta writes it (order, spacing or doubled lines)")
    if _root(manifest, identity) != manifest.root:
        raise DamagedManifest(
            "the manifest's lines do not belong together: its root is another one",
            "stage the file whole: git add PATH",
        )
    if misplaced is not None:
        raise misplaced
    check(manifest)
    return manifest


def read_lines(text: bytes) -> Lines:
    """Read the lines of a manifest, each by itself. What is stored where nobody can tell is left out.

    Raises:
        DamagedManifest: one is none of a manifest. The message names it.
    """
    return _read_lines(text)[0]


def _read_lines(text: bytes) -> tuple[Lines, DamagedManifest | None]:
    """The lines, and what is wrong with the first place that cannot be read. Raises DamagedManifest."""
    if not is_manifest(text):
        raise DamagedManifest("this is not a git-theta manifest")
    if (version := version_of(text)) > VERSION:
        raise NewerManifest(version, VERSION)
    if not text.endswith(b"\n"):
        raise DamagedManifest("the manifest is cut off: its last line does not end")
    head, *rows = _rows(text[:-1].split(b"\n"))
    if head.get("git-theta") != version or not version:
        raise DamagedManifest(f"the manifest is of version {head.get('git-theta')!r}, which there is not")
    found = _Found(head)
    for number, row in enumerate(rows, 2):
        try:
            found.take(row)
        except (KeyError, TypeError, ValueError, ThetaError) as error:
            raise DamagedManifest(f"line {number} of the manifest is wrong: {error}") from None
    return found.lines()


class _Found:
    """What the lines of a manifest say that were read so far."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = head
        self._tensors: list[TensorLine] = []
        self._views: list[View] = []
        self._skeletons: list[tuple[str, int]] = []
        self._storage: dict[str, StorageLine] = {}
        self._objects: dict[str, int] = {}
        self._places: dict[str, tuple[str, str]] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """Take a line. Raises KeyError, TypeError, ValueError or ThetaError."""
        if "tensor" in row:
            line = _tensor_line(row)
            self._tensors.append(line)
            self._take_place(line.digest, row)
        elif "view" in row:
            self._views.append(_view_line(row))
        elif "skeleton" in row:
            self._skeletons.append((untrusted.digest(row["skeleton"]), untrusted.number(row["size"])))
            self._take_place(row["skeleton"], row)
        elif "object" in row:
            self._objects[untrusted.digest(row["object"])] = untrusted.number(row["size"])
        else:
            stored = _storage_line(row)
            self._storage[stored.digest] = stored

    def _take_place(self, digest: str, row: Mapping[str, Any]) -> None:
        if "at" in row:
            self._places[digest] = untrusted.text(row["at"]), _plugin(row.get("update", "dense"))

    def lines(self) -> tuple[Lines, DamagedManifest | None]:
        """All of it, and what is wrong with the first place that cannot be read."""
        misplaced = None
        reader = places.Reader(self._objects, {digest: at for digest, (at, _) in self._places.items()})
        for digest, (at, update) in self._places.items():
            try:
                reader.read(digest, at, update)
            except DamagedManifest as error:
                misplaced = misplaced or error
        storage = {**self._storage, **reader.storage}
        parts = tuple(self._tensors), tuple(self._views), tuple(self._skeletons)
        return Lines(self._head, *parts, storage), misplaced


def find_objects(text: bytes) -> dict[str, int]:
    """Size of every object that a manifest names, by oid; without reading the rest, 60 times as fast."""
    return {oid.decode(): int(size) for oid, size in _OBJECT.findall(text)}


def find_size(text: bytes) -> int:
    """The size of the file of which this is the manifest; without reading the rest."""
    found = _SIZE.search(text, 0, text.find(b"\n"))
    return int(found[1]) if found else 0


def _tensor_line(row: Mapping[str, Any]) -> TensorLine:
    kind = untrusted.dtype_and_shape(row["dtype"], row["shape"])
    return TensorLine(untrusted.text(row["tensor"]), *kind, untrusted.digest(row["digest"]))


def _view_line(row: Mapping[str, Any]) -> View:
    kind = untrusted.dtype_and_shape(row["dtype"], row["shape"])
    offset, strides = untrusted.number(row["offset"]), tuple(map(untrusted.number, row["strides"]))
    return View(untrusted.text(row["view"]), untrusted.text(row["of"]), *kind, offset, strides)


def _storage_line(row: Mapping[str, Any]) -> StorageLine:
    return StorageLine(
        untrusted.digest(row["digest"]),
        untrusted.digest(row["oid"]),
        untrusted.number(row["size"]),
        untrusted.number(row["member"]),
        _plugin(row["update"]),
        tuple(map(untrusted.digest, row.get("bases", ()))),
    )


def _storage_text(storage: Mapping[str, StorageLine]) -> bytes:
    """The storage lines of version 1. What is in them needs no escapes, and there are thousands of them."""
    text = []
    for _, line in sorted(storage.items()):
        bases = ',"bases":["' + '","'.join(line.bases) + '"]' if line.bases else ""
        text.append(
            f'{{"digest":"{line.digest}","oid":"{line.oid}","size":{line.size},"member":{line.member},'
            f'"update":"{line.update}"{bases}}}\n'
        )
    return "".join(text).encode()


def _plugin(name: Any) -> str:
    """The name of a format or of an update kind. Raises TypeError or ValueError."""
    if not _NAME_OF_PLUGIN.match(name):
        raise ValueError(f"{name!r} is no name of a format or an update")
    return untrusted.text(name)


def _rows(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Parse the lines, all at once, which is three times as fast; one by one to say which is wrong."""
    if max(map(len, lines)) <= _LONGEST:
        with suppress(ValueError, RecursionError):
            rows = json.loads(b"[" + b",".join(lines) + b"]")
            if len(rows) == len(lines) and all(type(row) is dict for row in rows):
                return rows  # type: ignore[no-any-return]
    return [_row(number, line) for number, line in enumerate(lines, 1)]


def _row(number: int, line: bytes) -> dict[str, Any]:
    if len(line) > _LONGEST:
        raise DamagedManifest(f"line {number} of the manifest has {len(line)} bytes, and {_LONGEST} at most")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DamagedManifest(
            f"line {number} of the manifest is not JSON: {line[:40].decode(errors='replace')!r}"
        )
    return row
