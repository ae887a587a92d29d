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
    "object": ("object", "size"),
    "digest": ("digest", "oid", "size", "member", "update", "bases"),
}
STORED = {"tensor", "skeleton"}
"""Lines that say in version 2 where something is stored."""
PLACE = re.compile(r"([0-9a-f]{6,64})\.(0|[1-9][0-9]*)")
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
    need(head["git-theta"] in (1, 2), "another version")
    for kind, row in zip(kinds, rows, strict=True):
        more = ("at", "update") if "at" in row and kind in STORED and head["git-theta"] == 2 else ()
        keys = [key for key in KEYS[kind] + more if key not in ("bases", "update") or key in row]
        need(list(row) == keys and row.get("bases") != [] and row.get("at", 0) != "", "keys in another order")
        need(kind == "digest" or row.get("update") != "dense", "an update that goes without saying")
    need(written(rows) == text, "not as git-theta writes it")
    need(NAME.match(head["format"]) and all(NAME.match(r.get("update", "dense")) for r in rows), "a name")
    need(not lines["object" if head["git-theta"] == 1 else "digest"], "lines of another version")
    identity = [
        {key: value for key, value in row.items() if key not in ("at", "update")}
        for row in rows[1 : 1 + kinds.index("skeleton")]
    ]
    rootless = {"git-theta": 1, "format": head["format"], "size": head["size"]}
    need(blake3(written([rootless, *identity])).hexdigest() == head["root"], "another root")
    names = [[row[kind] for row in lines[kind]] for kind in ("tensor", "view", "digest", "object")]
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


class Place:
    """Where a tensor is stored.

    Attributes:
        oid, size, member: the object, its bytes, and which of its members.
        bases: the places of what it is predicted from.
        said: what the manifest says of the member besides.
    """

    def __init__(self, oid: str, size: int, member: int, bases: list[Place], said: dict[str, Any]) -> None:
        self.oid, self.size, self.member, self.bases, self.said = oid, size, member, bases, said


def read_places(lines: dict[str, list[dict[str, Any]]]) -> dict[str, Place]:
    """The places of a manifest's tensors and of its skeleton, by digest."""
    if lines["git-theta"][0]["git-theta"] == 1:
        storage = {row["digest"]: row for row in lines["digest"]}
        return {digest: _of_line(digest, storage, 0) for digest in storage}
    objects = {row["object"]: row["size"] for row in lines["object"]}
    places = {}
    short: set[str] = set()
    for row in [*lines["tensor"], *lines["skeleton"]]:
        short.update(oid for oid, _ in PLACE.findall(row["at"]))
        place, rest = _of_text(row["at"], objects)
        need(rest == "", "something behind a place")
        digest = row["digest"] if "tensor" in row else row["skeleton"]
        place.said = {"digest": digest, "update": row.get("update", "dense")}
        need(digest not in places or _same(places[digest], place), "two places of one tensor")
        places[digest] = place
    length = 6
    while len({oid[:length] for oid in objects}) < len(objects):
        length += 1
    need(short == {oid[:length] for oid in objects}, "objects that no place names, or of another length")
    return places


def _same(one: Place, other: Place) -> bool:
    return (one.oid, one.member) == (other.oid, other.member)


def _of_text(text: str, objects: Mapping[str, int], depth: int = 0) -> tuple[Place, str]:
    found = PLACE.match(text)
    oids = [oid for oid in objects if found and oid.startswith(found[1])]
    need(found is not None and len(oids) == 1 and depth <= 64, "a place")
    assert found is not None
    rest, bases = text[found.end() :], []
    if rest.startswith(" "):
        base, rest = _of_text(rest[1:], objects, depth + 1)
        bases = [base]
    elif rest.startswith("("):
        while not rest.startswith(")"):
            base, rest = _of_text(rest[1:], objects, depth + 1)
            need(rest[:1] in (",", ")") and rest, "parentheses")
            bases.append(base)
        need(len(bases) > 1, "parentheses around one")
        rest = rest[1:]
    return Place(oids[0], objects[oids[0]], int(found[2]), bases, {}), rest


def _of_line(digest: str, storage: Mapping[str, Mapping[str, Any]], depth: int) -> Place:
    need(digest in storage and depth <= 64, "a chain of bases")
    line = storage[digest]
    bases = [_of_line(base, storage, depth + 1) for base in line.get("bases", [])]
    said = {"digest": digest, "update": line["update"], "bases": line.get("bases")}
    return Place(line["oid"], line["size"], line["member"], bases, said)
