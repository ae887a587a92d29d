"""The arrays of an object, and their Zarr metadata.

An object is a Zarr v3 group in a ZIP (see container_writer). It holds up to eight arrays: `data1`, `data2`,
`data4` and `data8` are uint8 arrays of shape [items, itemsize], dense tensors and the parameters of updates,
one behind the other; `residual<width>` are uint8 arrays of shape [rows, width], one row for each chunk of an
update (see updates.residual). Each array is one shard (`sharding_indexed`, index at the end) whose inner
chunks are read one by one.

Sources: Zarr v3 core specification; sharding codec v1.0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from git_theta import untrusted
from git_theta.errors import DamagedObject
from git_theta.tensors import CHUNK_BYTES
from git_theta.updates import residual

ITEM_SIZES = (1, 2, 4, 8)
ROW_WIDTHS = (1 << 10, 1 << 14, 1 << 18, CHUNK_BYTES + residual.MARGIN)
"""Widths of residual arrays: of a few sizes only, so that few arrays hold the rows of many tensors."""
BUNDLE_CHUNK_BYTES = 256 << 10
"""Of an inner chunk where members share an array: who reads one of them decodes little of the others."""

_CHUNKS = (CHUNK_BYTES, BUNDLE_CHUNK_BYTES)


def data_array(itemsize: int) -> str:
    return f"data{itemsize}"


def residual_array(chunk_bytes: int) -> tuple[str, int]:
    """Name and width of the array whose rows can restore chunks of this size."""
    width = next(width for width in ROW_WIDTHS if width >= chunk_bytes + residual.MARGIN)
    return f"residual{width}", width


def inner_items(items: int, itemsize: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Items of one inner chunk of a data array."""
    return max(1, min(items, chunk_bytes // itemsize))


@dataclass(frozen=True)
class ArrayInfo:
    """Shape of an array [length, width] and of its inner chunks [inner, width]; never empty."""

    length: int
    width: int
    inner: int
    planes: bool  # transposed to byte planes before zstd

    @property
    def name(self) -> str:
        return f"{'data' if self.planes else 'residual'}{self.width}"

    @property
    def count(self) -> int:
        return -(-self.length // self.inner)

    @property
    def version(self) -> int:
        """The first version of objects with such an array: version 1 has none with small inner chunks."""
        return 2 if self.planes and self.inner < inner_items(self.length, self.width) else 1

    def metadata(self) -> dict[str, Any]:
        codecs: list[dict[str, Any]] = [{"name": "transpose", "configuration": {"order": [1, 0]}}]
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [self.length, self.width],
            "data_type": "uint8",
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [self.count * self.inner, self.width]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [self.inner, self.width],
                        "codecs": [
                            *(codecs if self.planes else []),
                            {"name": "bytes"},
                            {"name": "zstd", "configuration": {"level": 1, "checksum": True}},
                        ],
                        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                        "index_location": "end",
                    },
                }
            ],
            "attributes": {},
        }

    @staticmethod
    def read(text: bytes) -> ArrayInfo:
        """Undo `metadata`. Raises DamagedObject where it is not what git-theta writes."""
        try:
            meta = json.loads(text)
            length, width = map(untrusted.number, meta["shape"])
            sharding = meta["codecs"][0]["configuration"]
            planes = sharding["codecs"][0]["name"] == "transpose"
            if not length or width not in (ITEM_SIZES if planes else ROW_WIDTHS):
                raise ValueError(f"{[length, width]} is not the shape of an array")
            inner = untrusted.number(sharding["chunk_shape"][0])
            if inner not in ([inner_items(length, width, size) for size in _CHUNKS] if planes else [1]):
                raise ValueError(f"{inner} is not the length of an inner chunk")
            info = ArrayInfo(length, width, inner, planes)
            if info.metadata() != meta:
                raise ValueError("unexpected metadata")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise DamagedObject(f"the metadata of an array is damaged ({error})") from None
        return info
