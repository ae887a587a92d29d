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
from dataclasses import replace
from typing import Any

from blake3 import blake3

from git_theta import untrusted
from git_theta.errors import DamagedManifest, NewerManifest, ThetaError
from git_theta.manifest.chains import closure
from git_theta.manifest.checks import check
from git_theta.manifest.lines import Lines, Manifest, StorageLine, TensorLine, View

VERSION = 1
MAGIC = b'{"git-theta":'
TEXT_MAGIC = b"git-theta tensors "
"""What a manifest as text for people begins with (see diffs.textconv), by which clean knows it."""
LARGEST = 256 << 20
"""Bytes of a manifest, at most: what is larger is a mistake or an attack."""
_LONGEST = 1 << 20
"""Bytes of a line, at most: JSON takes up to 60 times as much memory as text."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SIZE = re.compile(rb'"size":([0-9]{1,19})[,}]')
_OBJECT = re.compile(rb'"oid":"([0-9a-f]{64})","size":([0-9]{1,19}),')
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
    return _text(manifest, _identity(manifest))


def write_storage(storage: Mapping[str, StorageLine]) -> bytes:
    """The text of storage lines, as it stands at the end of a manifest."""
    return "".join([_storage_text(storage[digest]) for digest in sorted(storage)]).encode()


def with_root(manifest: Manifest) -> Manifest:
    """The manifest with the root that its identity has."""
    return replace(manifest, root=_root(manifest, _identity(manifest)))


def _text(manifest: Manifest, identity: bytes) -> bytes:
    head = {"git-theta": VERSION, "format": manifest.format, "size": manifest.size, "root": manifest.root}
    return _lines([head]) + identity + write_storage(manifest.storage)


def _root(manifest: Manifest, identity: bytes) -> str:
    head = _lines([{"git-theta": VERSION, "format": manifest.format, "size": manifest.size}])
    return blake3(head + identity).hexdigest()


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join([_encode(row) + "\n" for row in rows]).encode()


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
        NewerManifest: only a newer git-theta can read it.
        DamagedManifest: it is not exactly what `write` writes. The message names the line.
    """
    lines = read_lines(text)
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
    if _text(manifest, identity) != text:
        raise DamagedManifest("the manifest is not as git-theta writes it (order, spacing or doubled lines)")
    if _root(manifest, identity) != manifest.root:
        raise DamagedManifest(
            "the manifest's lines do not belong together: its root is another one",
            "stage the file whole: git add PATH",
        )
    check(manifest)
    if manifest.storage:
        closure(manifest.digests(), manifest.storage)
    return manifest


def read_lines(text: bytes) -> Lines:
    """Read the lines of a manifest, each by itself.

    Raises:
        DamagedManifest: one is none of a manifest. The message names it.
    """
    if not is_manifest(text):
        raise DamagedManifest("this is not a git-theta manifest")
    if (version := version_of(text)) > VERSION:
        raise NewerManifest(version, VERSION)
    if not text.endswith(b"\n"):
        raise DamagedManifest("the manifest is cut off: its last line does not end")
    first, *others = text[:-1].split(b"\n")
    head = _row(1, first)
    if head.get("git-theta") != VERSION:
        raise DamagedManifest(f"the manifest is of version {head.get('git-theta')!r}, which there is not")
    tensors: list[TensorLine] = []
    views: list[View] = []
    skeletons: list[tuple[str, int]] = []
    storage: dict[str, StorageLine] = {}
    for number, line in enumerate(others, 2):
        row = _row(number, line)
        try:
            if "tensor" in row:
                tensors.append(_tensor_line(row))
            elif "view" in row:
                views.append(_view_line(row))
            elif "skeleton" in row:
                skeletons.append((untrusted.digest(row["skeleton"]), untrusted.number(row["size"])))
            else:
                stored = _storage_line(row)
                storage[stored.digest] = stored
        except (KeyError, TypeError, ValueError, ThetaError) as error:
            raise DamagedManifest(f"line {number} of the manifest is wrong: {error}") from None
    return Lines(head, tuple(tensors), tuple(views), tuple(skeletons), storage)


def find_objects(text: bytes) -> dict[str, int]:
    """Size of every object that a manifest names, by oid; without reading the rest, 60 times as fast."""
    return {oid.decode(): int(size) for oid, size in _OBJECT.findall(text)}


def find_size(text: bytes) -> int:
    """The size of the file of which this is the manifest; without reading the rest."""
    found = _SIZE.search(text, 0, text.find(b"\n"))
    return int(found[1]) if found else 0


def parse_storage(text: bytes) -> dict[str, StorageLine]:
    """Undo `write_storage`. Raises DamagedManifest."""
    try:
        lines = [_storage_line(_row(number, line)) for number, line in enumerate(text.splitlines(), 1)]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedManifest(f"storage lines are damaged: {error}") from None
    return {line.digest: line for line in lines}


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


def _storage_text(line: StorageLine) -> str:
    """One storage line. What is in it needs no escapes, and there are thousands of them."""
    bases = ',"bases":["' + '","'.join(line.bases) + '"]' if line.bases else ""
    return (
        f'{{"digest":"{line.digest}","oid":"{line.oid}","size":{line.size},"member":{line.member},'
        f'"update":"{line.update}"{bases}}}\n'
    )


def _plugin(name: Any) -> str:
    """The name of a format or of an update kind. Raises TypeError or ValueError."""
    if not _NAME_OF_PLUGIN.match(name):
        raise ValueError(f"{name!r} is no name of a format or an update")
    return untrusted.text(name)


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
