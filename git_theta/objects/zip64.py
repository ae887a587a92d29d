"""The records of a ZIP file, in the one form that objects use: stored, 64-bit, without times.

Source: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LOCAL = struct.Struct("<IHHHHHIIIHH")
CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
DESCRIPTOR = struct.Struct("<IIQQ")
ZIP64_EXTRA = struct.Struct("<HHQQQ")
LOCAL_EXTRA = struct.Struct("<HHQQ")
END64 = struct.Struct("<IQHHIIQQQQ")
LOCATOR64 = struct.Struct("<IIQI")
END = struct.Struct("<IHHHHIIH")
DOS_DATE = 0 << 9 | 1 << 5 | 1  # 1980-01-01, the earliest: an object says nothing about when
MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """A file in a ZIP: its local header starts at `offset`; `size` and `crc` are of its data."""

    name: bytes
    offset: int
    size: int
    crc: int

    @property
    def data_start(self) -> int:
        return self.offset + LOCAL.size + len(self.name) + LOCAL_EXTRA.size
