"""Ours and theirs against their common base: what a merge will have to reconcile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from git_theta.diffs import layers, matching
from git_theta.diffs.agreement import Agreement, Weights, alike, all_weights, together
from git_theta.diffs.compare import Progress, Version, counted, reason
from git_theta.diffs.entries import Entry, entries, open_entry
from git_theta.diffs.outlook import apart, outlook
from git_theta.diffs.similarity import SimilarValues
from git_theta.patterns import read
from git_theta.tensors import Tensor, Zeros

if TYPE_CHECKING:
    from git_theta.diffs.tasks import Trio

Fate = Literal["unchanged", "absent"] | matching.Status
_Entries = Sequence["Entry | None"]  # of base, ours and theirs


def changed(fate: Fate) -> bool:
    """Whether a side did anything with a tensor: one that is only on the other side was left alone."""
    return fate not in ("unchanged", "absent")


@dataclass(frozen=True)
class TaskRow:
    """A tensor that at least one side changed.

    Attributes:
        name: the one that a merge would give it: ours if ours renamed it, else theirs.
        names: what base, ours and theirs call it; None where there is none.
        ours, theirs: what each side did with it.
        same: whether both sides have the same data, under one name.
        agreement: None where the three do not have one dtype and shape, or are not all there.
        weights: how far the sides lie apart; None also for what is no floating point number.
        unknown: why the values could not be compared, or "".
    """

    name: str
    names: tuple[str | None, str | None, str | None]
    dtype: str
    shape: tuple[int, ...]
    ours: Fate
    theirs: Fate
    same: bool
    agreement: Agreement | None = None
    weights: Weights | None = None
    unknown: str = ""

    @property
    def layer(self) -> str:
        return layers.split(self.name)[0]

    @property
    def both(self) -> bool:
        """Whether both sides changed it, each in its own way."""
        return changed(self.ours) and changed(self.theirs) and not self.same

    @property
    def only_renamed(self) -> bool:
        """Whether one side gave it another name, and left its values alone."""
        found = self.agreement
        values = [(self.ours, found.ours_changed), (self.theirs, found.theirs_changed)] if found else []
        return any(fate == "renamed" and not count for fate, count in values)


@dataclass(frozen=True)
class TaskLayer:
    """The rows of one layer, and their agreement taken together."""

    name: str
    rows: tuple[TaskRow, ...]
    agreement: Agreement


@dataclass(frozen=True)
class ThreeWay:
    """Two versions of a checkpoint against their base.

    Attributes:
        labels: of base, ours and theirs.
        rows: sorted by name; tensors that nobody changed are left out.
        agreement: of all rows taken together, those that one side left alone too.
        weights: of the whole models, also of what nobody changed; None where they are not known.
        overlap: of the largest 20 % of the changes, in these rows; None where there is nothing to compare.
    """

    path: str
    labels: tuple[str, str, str]
    rows: tuple[TaskRow, ...]
    unchanged: int
    layers: tuple[TaskLayer, ...]
    agreement: Agreement
    weights: Weights | None = None
    overlap: float | None = None

    @property
    def cosine(self) -> float | None:
        """The cosine of the task vectors, as far as they are floating point numbers."""
        parts = [row.agreement for row in self.rows if row.weights is not None]
        return together(part for part in parts if part is not None).cosine

    @property
    def verdict(self) -> str:
        """What this means for a merge, in a sentence; see diffs.outlook."""
        both = [row for row in self.rows if row.both]
        if not both:
            return "no tensor was changed differently on both sides: nothing has to be reconciled"
        if all(row.only_renamed for row in both):
            return "what both sides changed was only renamed by one of them: a rename rule merges that"
        return outlook(self.weights, self.cosine, self.overlap)


def compare_three(
    base: Version,
    ours: Version,
    theirs: Version,
    *,
    path: str = "",
    only: str | None = None,
    norms: Callable[[], Mapping[str, float]] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ThreeWay:
    """Compare ours and theirs with their base.

    Args:
        only: pattern of tensors' names to restrict the comparison to.
        norms: gives those of the base's stored tensors, by digest, some of which may be missing; asked where
            what nobody changed matters.
    """
    from git_theta.diffs.largest import Magnitudes, step_for, top_overlap
    from git_theta.diffs.tasks import Measured, agreements

    versions = (base, ours, theirs)
    found = _tensors(versions, only)
    rows = [_row(each) for each in found]
    trios = list(_trios(rows, found, versions))
    items = sum(trio.items for trio in trios)
    largest: list[Magnitudes] = []
    told = counted(items, progress)
    for number, answer in agreements(trios, step=step_for(items), threads=threads, progress=told):
        if isinstance(answer, Measured):
            weights = answer.weights if answer.largest else None
            agreement = answer.agreement if base.manifest else None
            rows[number] = replace(rows[number], agreement=agreement, weights=weights)
            largest += answer.largest
        else:
            rows[number] = replace(rows[number], unknown=reason(answer))
    changed = tuple(row for row in rows if _is_changed(row))
    return ThreeWay(
        path,
        (base.label, ours.label, theirs.label),
        changed,
        len(rows) - len(changed),
        _layers(changed),
        together(row.agreement for row in changed if row.agreement is not None),
        _whole(rows, found, norms),
        top_overlap(largest) if base.manifest else None,
    )


def _tensors(versions: Sequence[Version], only: str | None) -> list[_Entries]:
    """Each tensor as base, ours and theirs have it, under whatever names; sorted by the name of its row."""
    base, *sides = versions
    compared = [(side.manifest, SimilarValues(base.open, side.open)) for side in sides]
    found: dict[str, list[Entry | None]] = {}
    for side, (version, renames) in enumerate(
        zip(versions, [{}, *matching.renames_of_sides(base.manifest, compared)], strict=True)
    ):
        old_names = {new: old for old, new in renames.items()}
        for name, entry in entries(version.manifest).items() if version.manifest else ():
            found.setdefault(old_names.get(name, name), [None] * len(versions))[side] = entry
    if only is not None:
        pattern = read(only).among({entry.name for each in found.values() for entry in each if entry})
        found = {
            key: each
            for key, each in found.items()
            if any(entry is not None and pattern.matches(entry.name) for entry in each)
        }
    return sorted(found.values(), key=_name)


def _name(found: _Entries) -> str:
    base, ours, theirs = (entry.name if entry is not None else "" for entry in found)
    return next(name for name in (ours if ours != base else "", theirs, ours, base) if name)


def _whole(
    rows: Sequence[TaskRow], found: Sequence[_Entries], norms: Callable[[], Mapping[str, float]] | None
) -> Weights | None:
    """How far the whole models lie apart.

    What nobody changed counts where the rest alone says that they were trained apart: two new heads on one
    frozen body were not. None where its norms are not known then.
    """
    changed = all_weights(row.weights for row in rows if row.weights is not None)
    still = [
        base
        for row, (base, _, _) in zip(rows, found, strict=True)
        if (row.ours, row.theirs) == ("unchanged", "unchanged")
    ]
    digests = {one.line.digest for one in still if one is not None and one.dtype.kind == "float"}
    if not digests or not apart(changed):
        return changed
    known = norms() if norms is not None else {}
    if not digests <= known.keys():
        return None
    return all_weights([changed, *(alike(known[digest]) for digest in digests)])


def _row(found: _Entries) -> TaskRow:
    base, ours, theirs = found
    shown = ours or theirs or base
    assert shown is not None
    same = ours is not None and theirs is not None and matching.same(ours, theirs)
    base_name, ours_name, theirs_name = (entry.name if entry is not None else None for entry in found)
    return TaskRow(
        _name(found),
        (base_name, ours_name, theirs_name),
        shown.dtype.name,
        shown.shape,
        _fate(base, ours),
        _fate(base, theirs),
        ours_name == theirs_name and (same or ours is theirs),
    )


def _fate(base: Entry | None, side: Entry | None) -> Fate:
    if base is None:
        return "absent" if side is None else "added"
    if side is None:
        return "removed"
    if base.name != side.name:
        return "renamed"
    return "unchanged" if matching.same(base, side) else matching.status(base, side)


def _is_changed(row: TaskRow) -> bool:
    """Views of data of which only another part changed turn out not to be."""
    if (row.ours, row.theirs) == ("unchanged", "unchanged"):
        return False
    if "renamed" in (row.ours, row.theirs):
        return True
    found = row.agreement
    return found is None or found.ours_changed + found.theirs_changed > 0 or not found.elements


def _trios(
    rows: Sequence[TaskRow], found: Sequence[_Entries], versions: Sequence[Version]
) -> Iterator[Trio[int]]:
    from git_theta.diffs.tasks import Trio

    for number, (row, entries_of) in enumerate(zip(rows, found, strict=True)):
        if (row.ours, row.theirs) == ("unchanged", "unchanged"):
            continue
        there = [
            (entry, version) for entry, version in zip(entries_of, versions, strict=True) if entry is not None
        ]
        same = len({(entry.dtype, entry.shape) for entry, _ in there}) == 1
        whole = len(there) == 3 or (len(there) == 2 and versions[0].manifest is None)
        if whole and same:
            entry, _ = there[0]
            if entry.dtype.kind != "raw":
                yield Trio(number, entry.dtype, entry.items, _opener(there))


def _opener(found: Sequence[tuple[Entry, Version]]) -> Callable[[], tuple[Tensor, Tensor, Tensor]]:
    """Opens base, ours and theirs; zeros for a base that is not there."""

    def opened() -> tuple[Tensor, Tensor, Tensor]:
        tensors: dict[object, Tensor] = {}
        for entry, version in found:
            if entry.data not in tensors:
                tensors[entry.data] = open_entry(entry, version.open)
        *base, ours, theirs = (tensors[entry.data] for entry, _ in found)
        return base[0] if base else Zeros(ours.dtype, ours.shape), ours, theirs

    return opened


def _layers(rows: Sequence[TaskRow]) -> tuple[TaskLayer, ...]:
    grouped: dict[str, list[TaskRow]] = {}
    for row in rows:
        grouped.setdefault(row.layer, []).append(row)
    return tuple(
        TaskLayer(
            name,
            tuple(some),
            together(row.agreement for row in some if row.agreement is not None),
        )
        for name, some in sorted(grouped.items(), key=lambda item: layers.natural(item[0]))
    )
