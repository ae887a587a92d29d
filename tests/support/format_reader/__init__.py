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
from format_reader.manifests import Place, read_manifest, read_places
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
        places_of = read_places(lines)
        (skeleton,) = lines["skeleton"]
        stored = self.tensor(places_of[skeleton["skeleton"]])
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
            data = self.tensor(places_of[row["digest"]])
            need(len(data) == size_of(row["dtype"], row["shape"]), "a tensor's size")
            parts += [between.read(gap), data]
        result = b"".join(parts) + between.read()
        need(len(result) == lines["git-theta"][0]["size"], "the file's size")
        return result

    def tensor(self, place: Place) -> bytes:
        """The bytes of the tensor that is stored there."""
        found = self._object(place.oid, place.size)
        member = found.members[place.member]
        need(all(member.get(key) == said for key, said in place.said.items()), "a member")
        below = [self._object(base.oid, base.size).members[base.member]["digest"] for base in place.bases]
        need(member.get("bases", []) == below, "other bases")
        self.met.add(member["update"])
        bases = [self.tensor(base) for base in place.bases]
        arrays = {name: found.items(*range_) for name, range_ in member.get("arrays", {}).items()}
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
        need(len(data) == size and blake3(data).hexdigest() == member["digest"], "a tensor's digest")
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
