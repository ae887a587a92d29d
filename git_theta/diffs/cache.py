"""How far tensors moved, as the local index remembers it: a commit's changes are measured once.

`git theta log` and `blame` ask about the same pairs of versions time and again, and these never change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, fields, replace
from operator import methodcaller

from git_theta.diffs.change import Change
from git_theta.diffs.entries import Entry
from git_theta.objects.index import Index

_DEFINITION = 1
"""Another number when a field is measured in another way: what was recorded before is measured again."""
_FIELDS = [field.name for field in fields(Change) if field.name != "bins"]


class Memory:
    """Changes by what both tensors hold.

    Args:
        index: where they are kept.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._found: dict[tuple[str, str], Change | None] = {}

    def find(self, old: Entry, new: Entry) -> Change | None:
        """The change from one tensor to another, if it was measured before."""
        pair = _key(old), _key(new)
        if pair not in self._found:
            text = self._index.change(*pair)
            self._found[pair] = None if text is None else _read(text)
        return self._found[pair]

    def record(self, changes: Iterable[tuple[Entry, Entry, Change]]) -> None:
        """Keep what was measured, histograms apart."""
        self._index.record_changes({(_key(old), _key(new)): _written(change) for old, new, change in changes})


def _key(entry: Entry) -> str:
    """The key that a change is cached under; equal for equal data in equal shapes, as the rank needs."""
    return json.dumps([*entry.data, entry.shape], separators=(",", ":"))


def _written(change: Change) -> str:
    values = astuple(replace(change, bins=None))[: len(_FIELDS)]
    return json.dumps([_DEFINITION, *values], default=methodcaller("item"))  # NumPy's numbers as Python's


def _read(text: str) -> Change | None:
    """A change that was written; None for anything else: the index is a cache that can be damaged."""
    try:
        definition, *values = json.loads(text)
        if definition != _DEFINITION or len(values) != len(_FIELDS):
            return None
        elements, changed, *numbers = values
        if not all(isinstance(value, (int, float, type(None))) for value in numbers):
            return None
        return Change(int(elements), int(changed), *numbers)
    except (ValueError, TypeError):
        return None
