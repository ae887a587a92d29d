"""Manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from blake3 import blake3

from format_reader.dtypes import BITS, need, size_of

KEYS = {
    "git-theta": ("git-theta", "format", "size", "root"),
    "tensor": ("tensor", "dtype", "shape", "digest"),
    "view": ("view", "of", "dtype", "shape", "offset", "strides"),
    "skeleton": ("skeleton", "size"),
    "digest": ("digest", "oid", "size", "member", "update", "bases"),
}
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")


def written(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows
    )


def read_manifest(text: bytes) -> dict[str, list[dict[str, Any]]]:
    """The lines of a manifest by their first key, checked."""
    need(text.startswith(b'{"git-theta":') and len(text) <= 256 << 20, "no manifest")
    rows = [json.loads(line) for line in text.split(b"\n")[:-1]]
    kinds = [next(iter(row)) for row in rows]
    need(kinds == sorted(kinds, key=list(KEYS).index), "lines in another order")
    lines = {kind: [row for row in rows if next(iter(row)) == kind] for kind in KEYS}
    (head,), (skeleton,) = lines["git-theta"], lines["skeleton"]
    need(head["git-theta"] == 1, "another version")
    for kind, row in zip(kinds, rows, strict=True):
        keys = [key for key in KEYS[kind] if key != "bases" or "bases" in row]
        need(list(row) == keys and row.get("bases") != [], "keys in another order")
    need(written(rows) == text, "not as git-theta writes it")
    need(NAME.match(head["format"]) and all(NAME.match(s["update"]) for s in lines["digest"]), "a name")
    identity = rows[1 : 1 + kinds.index("skeleton")]
    rootless = {key: head[key] for key in ("git-theta", "format", "size")}
    need(blake3(written([rootless, *identity])).hexdigest() == head["root"], "another root")
    names = [[row[kind] for row in lines[kind]] for kind in ("tensor", "view", "digest")]
    need(all(some == sorted(set(some)) for some in names) and not {*names[0]} & {*names[1]}, "names")
    tensors = {row["tensor"]: row for row in lines["tensor"]}
    for view in lines["view"]:
        of = tensors[view["of"]]
        last = view["offset"] + sum(
            (n - 1) * step for n, step in zip(view["shape"], view["strides"], strict=True)
        )
        end = view["offset"] if 0 in view["shape"] else last + 1
        need(end * BITS[view["dtype"]] <= 8 * size_of(of["dtype"], of["shape"]), "a view outside")
    between = skeleton["size"] - 8 - 16 * len(tensors)
    whole = between + sum(size_of(row["dtype"], row["shape"]) for row in tensors.values())
    need(head["size"] == whole and 0 <= between <= 256 << 20, "sizes do not add up")
    return lines
