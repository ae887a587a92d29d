"""A second reader of what git-theta stores, written from docs/format.md; it imports nothing of git_theta.

It is made to be compared with the page, not to be fast: whole tensors are held in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from format_reader.dtypes import CHUNK, Refused, need, size_of, width_of
from format_reader.kinds import predict
from format_reader.manifests import read_manifest
from format_reader.objects import Object
from format_reader.residuals import corrected

__all__ = ["Reader", "Refused"]


class Reader:
    """Restores files from manifests and a folder of objects.

    Attributes:
        met: update kinds and forms of residuals that were met on the way.
    """

    def __init__(self, objects: Path) -> None:
        self._folder = objects
        self._opened: dict[str, Object] = {}
        self.met: set[str] = set()

    def restore(self, text: bytes) -> bytes:
        """The file that a manifest stands for."""
        lines = read_manifest(text)
        storage = {row["digest"]: row for row in lines["digest"]}
        (skeleton,) = lines["skeleton"]
        stored = self.tensor(skeleton["skeleton"], storage, ())
        need(len(stored) == skeleton["size"], "the skeleton's size")
        count = len(lines["tensor"])
        (number,), *table = (
            struct.unpack_from(f"<{n}Q", stored, at) for n, at in ((1, 0), (count, 8), (count, 8 + 8 * count))
        )
        gaps, places = table
        need(number == count and sorted(places) == list(range(count)), "the skeleton's tables")
        between, parts = BytesIO(stored[8 + 16 * count :]), []
        for gap, place in zip(gaps, places, strict=True):
            row = lines["tensor"][place]
            data = self.tensor(row["digest"], storage, ())
            need(len(data) == size_of(row["dtype"], row["shape"]), "a tensor's size")
            parts += [between.read(gap), data]
        result = b"".join(parts) + between.read()
        need(len(result) == lines["git-theta"][0]["size"], "the file's size")
        return result

    def tensor(self, digest: str, storage: Mapping[str, Mapping[str, Any]], path: tuple[str, ...]) -> bytes:
        """The bytes of a digest."""
        need(digest in storage and digest not in path and len(path) <= 64, "a chain of bases")
        line = storage[digest]
        found = self._object(line["oid"], line["size"])
        member = found.members[line["member"]]
        need(all(member.get(key) == line.get(key) for key in ("digest", "update", "bases")), "a member")
        self.met.add(member["update"])
        bases = [self.tensor(base, storage, (*path, digest)) for base in member.get("bases", [])]
        arrays = {name: found.items(*place) for name, place in member.get("arrays", {}).items()}
        bits, size = f"<u{width_of(member['dtype'])}", size_of(member["dtype"], member["shape"])
        if member["update"] == "dense":
            result = arrays["values"]
        else:
            with np.errstate(all="ignore"):
                result = predict(member, arrays, bases, bits)
            need(result.nbytes == size, "a prediction's size")
            if "residual" in member:
                result = self._corrected(found, member, result, size)
        data = result.astype(bits, copy=False).tobytes()
        need(len(data) == size and blake3(data).hexdigest() == digest, "a tensor's digest")
        return data

    def _corrected(
        self, found: Object, member: Mapping[str, Any], predicted: np.ndarray, size: int
    ) -> np.ndarray:
        widths = (1024, 16384, 262144, 4194368)
        width = next(w for w in widths if w >= min(CHUNK, size) + 64)
        _, _, rows = found.rows(f"residual{width}")
        step, result = CHUNK // predicted.itemsize, []
        for number, start in enumerate(range(0, predicted.size, step)):
            part, row = predicted[start : start + step], rows[member["residual"] + number]
            if row is None:
                self.met.add("a chunk without a row")
            else:
                part = corrected(part, row, width, member["dtype"], self.met)
            result.append(part)
        return np.concatenate(result)

    def _object(self, oid: str, size: int) -> Object:
        if oid not in self._opened:
            data = (self._folder / oid[:2] / oid[2:4] / oid).read_bytes()
            need(len(data) == size, "an object's size")
            self._opened[oid] = Object(data, oid)
        return self._opened[oid]
