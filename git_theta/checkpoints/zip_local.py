"""The first record of a ZIP, which is all that is needed to recognise one.

Source: PKWARE APPNOTE 6.3.10, section 4.3.7.
"""

from __future__ import annotations

import struct

SIGNATURE = b"PK\x03\x04"
LOCAL = struct.Struct("<4sHHHHHIIIHH")
"""A local header: signature, version, flags, method, time, date, CRC-32, compressed and real size, and the
lengths of the name and of the extra field that follow."""

STORED = 0
"""The compression method that does not compress."""

PICKLE = "/data.pkl"
"""How the name of the first entry of torch.save's archives ends; before that is the archive's one folder."""


def first_entry(head: bytes) -> tuple[str, int] | None:
    """Name and start of the data of a ZIP's first entry if that is stored, from the file's first bytes."""
    if len(head) < LOCAL.size or not head.startswith(SIGNATURE):
        return None
    fields = LOCAL.unpack_from(head)
    method, name_length, extra_length = fields[3], fields[9], fields[10]
    name = head[LOCAL.size : LOCAL.size + name_length]
    if method != STORED or len(name) < name_length:
        return None
    return name.decode(errors="replace"), LOCAL.size + name_length + extra_length
