"""Where tensors are stored, as lines of a manifest say it: short, with all that they are predicted from.

A *place* is an object and one of its members: `3fa94c.12`, with as much of the oid as tells the objects of
the manifest apart. Behind it stands what the tensor is predicted from: a place after a space, or several in
parentheses, each with what stands behind it in turn.

    3fa94c.12 81d2e7.0                           an update, predicted from dense data
    3fa94c.12(81d2e7.0,77aa01.3 81d2e7.1)        a mean of two

The digests of what tensors are predicted from are left out: the objects say them, and nobody needs them
before.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise

from git_theta.errors import DamagedManifest
from git_theta.manifest.chains import DEEPEST, MOST_READS
from git_theta.manifest.lines import StorageLine

_SHORTEST = 6
_PLACE = re.compile(r"([0-9a-f]{6,64})\.(0|[1-9][0-9]{0,8})")
Objects = Mapping[str, int]
"""Sizes of objects, by oid."""


class Abbreviations:
    """Objects by the beginnings of their oids, all of one length."""

    def __init__(self, oids: Iterable[str]) -> None:
        self._oids = sorted(set(oids))
        self.length = _SHORTEST
        for one, other in pairwise(self._oids):
            while one[: self.length] == other[: self.length]:
                self.length += 1
        self._usual = {oid[: self.length]: oid for oid in self._oids}

    def find(self, short: str) -> str:
        """The oid that begins like this. Raises KeyError where none does, or several do."""
        if short in self._usual:
            return self._usual[short]
        at = bisect_left(self._oids, short)
        found = [oid for oid in self._oids[at : at + 2] if oid.startswith(short)]
        if len(found) != 1:
            raise KeyError(short)
        return found[0]


def write(digest: str, storage: Mapping[str, StorageLine], length: int) -> str:
    """Where a digest is stored, with oids of this length."""
    line = storage[digest]
    own = f"{line.oid[:length]}.{line.member}"
    if not line.bases:
        return own
    behind = [write(base, storage, length) for base in line.bases]
    return f"{own} {behind[0]}" if len(behind) == 1 else f"{own}({','.join(behind)})"


def shortened(text: str) -> set[str]:
    """The oids that a place and what stands behind it name, as short as they stand there."""
    return {short for short, _ in _PLACE.findall(text)}


class Reader:
    """Reads the places of one manifest into storage lines.

    Args:
        objects: those of the manifest.
        places: its places by digest.

    Attributes:
        storage: the lines that were read, by digest; those behind by place, if it is no digest's.
    """

    def __init__(self, objects: Objects, places: Mapping[str, str]) -> None:
        self._objects = objects
        self._short = Abbreviations(objects)
        self._tips: dict[str, str] = {}
        self.storage: dict[str, StorageLine] = {}
        for digest, text in places.items():
            found = _PLACE.match(text)
            with suppress(KeyError):
                if found is not None:
                    self._tips[f"{self._short.find(found[1])}.{found[2]}"] = digest

    def read(self, digest: str, text: str, update: str) -> None:
        """Read where a digest is stored, and by which kind of update.

        Raises:
            DamagedManifest: the text is not what `write` writes, or names no object of the manifest.
        """
        try:
            (oid, member, bases), end = self._place(text, 0, 0)
        except (KeyError, IndexError):
            raise DamagedManifest(f"{text[:40]!r} is no place of the manifest's objects") from None
        if end != len(text):
            raise DamagedManifest(f"{text[end : end + 40]!r} stands behind a place")
        if text.count(".") > MOST_READS:
            raise DamagedManifest(
                f"a tensor needs {text.count('.')} others; {MOST_READS} at most are allowed"
            )
        self._add(StorageLine(digest, oid, self._objects[oid], member, update, bases))

    def _place(self, text: str, at: int, depth: int) -> tuple[tuple[str, int, tuple[str, ...]], int]:
        """The place that stands there, with the keys of what stands behind it; and where that ends."""
        found = _PLACE.match(text, at)
        if found is None or depth > DEEPEST:
            raise IndexError
        oid, member, at = self._short.find(found[1]), int(found[2]), found.end()
        bases: list[str] = []
        if text[at : at + 1] == " ":
            key, at = self._behind(text, at + 1, depth + 1)
            bases.append(key)
        elif text[at : at + 1] == "(":
            while text[at] != ")":
                key, at = self._behind(text, at + 1, depth + 1)
                bases.append(key)
                if text[at] not in ",)":
                    raise IndexError
            at += 1
        return (oid, member, tuple(bases)), at

    def _behind(self, text: str, at: int, depth: int) -> tuple[str, int]:
        (oid, member, bases), end = self._place(text, at, depth)
        place = f"{oid}.{member}"
        if place in self._tips:
            return self._tips[place], end
        self._add(StorageLine(place, oid, self._objects[oid], member, "", bases))
        return place, end

    def _add(self, line: StorageLine) -> None:
        if self.storage.setdefault(line.digest, line) != line:
            raise DamagedManifest(f"the manifest says two things of member {line.member} of {line.oid[:12]}")
