"""Small JSON files of git-theta's own with a checksum: what is not as it was written is not believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

_KEY = "checksum"


def sealed(fields: Mapping[str, Any]) -> str:
    """The text of a file that says this, and its checksum."""
    return _text({**fields, _KEY: blake3(_text(fields).encode()).hexdigest()})


def opened(text: bytes) -> dict[str, Any] | None:
    """What such a file says; None if a bit of it is not as it was written."""
    fields = fields_of(text)
    if fields is None or fields.pop(_KEY, None) is None:
        return None
    return fields if sealed(fields).encode() == text else None


def fields_of(text: bytes) -> dict[str, Any] | None:
    """What a file says that may have no checksum; None if it is no object of JSON."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=1)
