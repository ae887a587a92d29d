"""Small JSON files that carry their own checksum, so that damaged ones are told and not believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

_KEY = "checksum"


def sealed(fields: Mapping[str, Any]) -> str:
    """The text of a file with these fields and their checksum."""
    return _text({**fields, _KEY: blake3(_text(fields).encode()).hexdigest()})


def opened(text: bytes) -> dict[str, Any] | None:
    """The fields of a file that `sealed` has made; None if it is not exactly as it was written."""
    fields = fields_of(text)
    if fields is None or fields.pop(_KEY, None) is None:
        return None
    return fields if sealed(fields).encode() == text else None


def fields_of(text: bytes) -> dict[str, Any] | None:
    """The fields of a file, its checksum not looked at; None if it is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=1)
