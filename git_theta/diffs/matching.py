"""Decides what changed: which tensor of an older checkpoint is which of a newer one, and what became of it.

Every command that speaks of added, removed, modified, renamed, reshaped or cast tensors asks here. All but
some renames (see diffs.similarity) are decided by the identity lines of the manifests: no tensor is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from git_theta.checkpoints.registry import OPAQUE
from git_theta.diffs import renames
from git_theta.diffs.entries import Entry, entries
from git_theta.manifest import Manifest
from git_theta.patterns import Pattern, read

Status = Literal["added", "removed", "modified", "renamed", "reshaped", "cast"]
STATUSES: tuple[Status, ...] = ("modified", "added", "removed", "renamed", "reshaped", "cast")


@dataclass(frozen=True)
class Match:
    """A tensor that is not the same on both sides; one side can be missing.

    Attributes:
        status: what is most remarkable: a renamed tensor can have changed in every other way as well, a
            reshaped one can have another dtype and other values.
    """

    status: Status
    old: Entry | None
    new: Entry | None

    @property
    def name(self) -> str:
        """The name of the tensor in the newer checkpoint, or in the older one where it is gone."""
        entry = self.new or self.old
        assert entry is not None
        return entry.name

    @property
    def same_data(self) -> bool:
        """Whether both sides are there and hold the same bits of the same dtype."""
        return self.old is not None and self.new is not None and self.old.data == self.new.data


@dataclass(frozen=True)
class Matching:
    """How the tensors of two checkpoints correspond.

    Attributes:
        matches: tensors that differ, sorted by name.
        unchanged: names of those that do not.
        following: names of views that are what they were, of data that changed: the row of those says it all.
        shares: for stored tensors, the names of their views in the newer checkpoint.
    """

    matches: tuple[Match, ...]
    unchanged: tuple[str, ...]
    following: tuple[str, ...]
    shares: dict[str, tuple[str, ...]]

    @property
    def everything(self) -> int:
        """How many tensors there are on both sides together."""
        return len(self.matches) + len(self.unchanged) + len(self.following)

    @property
    def renames(self) -> dict[str, str]:
        """The new names of tensors that were renamed, by their old ones."""
        pairs = [(found.old, found.new) for found in self.matches if found.status == "renamed"]
        return {old.name: new.name for old, new in pairs if old is not None and new is not None}

    @property
    def statuses(self) -> dict[str, Status]:
        """What became of the tensors that differ, by their newest names."""
        return {found.name: found.status for found in self.matches}


def match(
    old: Manifest | None,
    new: Manifest | None,
    *,
    only: str | None = None,
    similar: renames.Similar | None = None,
) -> Matching:
    """Compare two manifests.

    A view that is the same part of the same tensor on both sides makes no match of its own when the data
    under it change: `shares` has it.

    Args:
        old, new: None where the file is not there.
        only: pattern; tensors with no name like it are left out.
        similar: tells whether two tensors have similar values, to find those that were renamed and changed
            in one step; None to find only such as follow the pattern of others that were not changed.
    """
    before, after = _tensors(old, new)
    pairs = [(before[name], after[name]) for name in before if name in after]
    gone = [entry for name, entry in before.items() if name not in after]
    come = [entry for name, entry in after.items() if name not in before]
    renamed = renames.find(gone, come, similar)
    matches = [Match("renamed", before[was], after[name]) for was, name in renamed.items()]
    different = [(a, b) for a, b in pairs if not same(a, b)]
    matches += [Match(status(a, b), a, b) for a, b in different if not _follows(a, b)]
    matches += [Match("removed", entry, None) for entry in gone if entry.name not in renamed]
    taken = set(renamed.values())
    matches += [Match("added", None, entry) for entry in come if entry.name not in taken]
    unchanged = [a.name for a, b in pairs if same(a, b)]
    following = [a.name for a, b in different if _follows(a, b)]
    if only is not None:
        pattern = read(only).among(before.keys() | after.keys())
        matches = [found for found in matches if _named(found, pattern)]
        unchanged = [name for name in unchanged if pattern.matches(name)]
        following = [name for name in following if pattern.matches(name)]
    matches.sort(key=lambda found: found.name)
    shares: dict[str, tuple[str, ...]] = {}
    for entry in after.values():
        if entry.of:
            shares[entry.of] = (*shares.get(entry.of, ()), entry.name)
    return Matching(tuple(matches), tuple(unchanged), tuple(following), shares)


def renames_of_sides(
    base: Manifest | None, sides: Sequence[tuple[Manifest | None, renames.Similar | None]]
) -> list[dict[str, str]]:
    """What each side of a merge has renamed: new names of the base's tensors by their old ones.

    A name that another side has as well, but for another tensor, is no rename: it would stand for both.

    Args:
        sides: each with what tells similar values; see `match`.
    """
    names = [_names(side) for side, _ in sides]
    known = _names(base)
    found = [
        {} if known <= there or there <= known else match(base, side, similar=similar).renames
        for there, (side, similar) in zip(names, sides, strict=True)
    ]
    return [
        {
            old: new
            for old, new in one.items()
            if all(
                new not in there or other.get(old) == new for there, other in zip(names, found, strict=True)
            )
        }
        for one in found
    ]


def _names(manifest: Manifest | None) -> set[str]:
    if manifest is None:
        return set()
    return {line.name for line in manifest.tensors} | {view.name for view in manifest.views}


def _tensors(old: Manifest | None, new: Manifest | None) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """Both sides' tensors; where one is bytes only, those of the other did not come or go."""
    if old and new and OPAQUE in (old.format, new.format):
        return {}, {}
    return entries(old) if old else {}, entries(new) if new else {}


def same(old: Entry, new: Entry) -> bool:
    """Whether a tensor did not change."""
    return old.shape == new.shape and old.data == new.data


def status(old: Entry, new: Entry) -> Status:
    """What became of a tensor that is not the same, and has the same name."""
    if old.shape != new.shape:
        return "reshaped"
    return "cast" if old.dtype != new.dtype else "modified"


def _follows(old: Entry, new: Entry) -> bool:
    """Whether a view shows the same part of the same tensor as before, so that it needs no row of its own."""
    kinds = [(entry.of, entry.dtype, entry.shape, entry.place) for entry in (old, new)]
    return bool(new.of) and kinds[0] == kinds[1]


def _named(found: Match, pattern: Pattern) -> bool:
    return any(pattern.matches(entry.name) for entry in (found.old, found.new) if entry)
