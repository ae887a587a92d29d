"""Ours and theirs against their common base: what a merge will have to reconcile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from git_theta.diffs import layers
from git_theta.diffs.agreement import Agreement, together
from git_theta.diffs.compare import Progress, Version, counted, reason
from git_theta.diffs.entries import Entry, entries, open_entry
from git_theta.tensors import Tensor

if TYPE_CHECKING:
    from git_theta.diffs.tasks import Trio

Fate = Literal["unchanged", "modified", "added", "removed", "absent"]


def changed(fate: Fate) -> bool:
    """Whether a side did anything with a tensor: one that is only on the other side was left alone."""
    return fate not in ("unchanged", "absent")


@dataclass(frozen=True)
class TaskRow:
    """A tensor that at least one side changed.

    Attributes:
        ours, theirs: what each side did with it.
        same: whether both sides have the same data.
        agreement: None where the three do not have one dtype and shape, or are not all there.
        unknown: why the values could not be compared, or "".
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    ours: Fate
    theirs: Fate
    same: bool
    agreement: Agreement | None = None
    unknown: str = ""

    @property
    def layer(self) -> str:
        return layers.split(self.name)[0]

    @property
    def both(self) -> bool:
        """Whether both sides changed it, each in its own way."""
        return changed(self.ours) and changed(self.theirs) and not self.same


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
    """

    path: str
    labels: tuple[str, str, str]
    rows: tuple[TaskRow, ...]
    unchanged: int
    layers: tuple[TaskLayer, ...]
    agreement: Agreement

    @property
    def verdict(self) -> str:
        """What this means for a merge, in a sentence. A rule of thumb."""
        cosine, conflicts = self.agreement.cosine, self.agreement.conflict_fraction
        if not any(row.both for row in self.rows):
            return "no tensor was changed differently on both sides: nothing has to be reconciled"
        if cosine is None:
            return "the sides cannot be compared"
        if cosine >= 0.3:
            advice = "the task vectors point the same way: an average keeps most of both"
        elif cosine > -0.3:
            advice = "the task vectors are nearly orthogonal: a sum keeps both, an average halves them"
        else:
            advice = "the task vectors pull apart: an average cancels much of both"
        if conflicts is not None and conflicts >= 0.25:
            advice += f"; {100 * conflicts:.0f}% of the shared entries have conflicting signs, of which"
            advice += " methods like TIES drop a side"
        return advice


def compare_three(
    base: Version,
    ours: Version,
    theirs: Version,
    *,
    path: str = "",
    only: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ThreeWay:
    """Compare ours and theirs with their base, by tensor name.

    Args:
        only: glob of tensors' names to restrict the comparison to.
    """
    from git_theta.diffs.tasks import agreements

    versions = (base, ours, theirs)
    sides = [entries(version.manifest) if version.manifest else {} for version in versions]
    names = sorted({name for side in sides for name in side if only is None or fnmatchcase(name, only)})
    rows = [_row(name, [side.get(name) for side in sides]) for name in names]
    trios = list(_trios(rows, sides, versions))
    told = counted(sum(trio.items for trio in trios), progress)
    for number, answer in agreements(trios, threads=threads, progress=told):
        if isinstance(answer, Agreement):
            rows[number] = replace(rows[number], agreement=answer)
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
    )


def _row(name: str, found: Sequence[Entry | None]) -> TaskRow:
    base, ours, theirs = found
    shown = ours or theirs or base
    assert shown is not None
    same = ours is not None and theirs is not None and _equal(ours, theirs)
    return TaskRow(
        name, shown.dtype.name, shown.shape, _fate(base, ours), _fate(base, theirs), same or ours is theirs
    )


def _fate(base: Entry | None, side: Entry | None) -> Fate:
    if base is None:
        return "absent" if side is None else "added"
    if side is None:
        return "removed"
    return "unchanged" if _equal(base, side) else "modified"


def _equal(one: Entry, other: Entry) -> bool:
    return one.shape == other.shape and one.data == other.data


def _is_changed(row: TaskRow) -> bool:
    """Views of data of which only another part changed turn out not to be."""
    if (row.ours, row.theirs) == ("unchanged", "unchanged"):
        return False
    found = row.agreement
    return found is None or found.ours_changed + found.theirs_changed > 0 or not found.elements


def _trios(
    rows: Sequence[TaskRow], sides: Sequence[dict[str, Entry]], versions: Sequence[Version]
) -> Iterator[Trio[int]]:
    from git_theta.diffs.tasks import Trio

    for number, row in enumerate(rows):
        if (row.ours, row.theirs) == ("unchanged", "unchanged"):
            continue
        found = [side[row.name] for side in sides if row.name in side]
        if len(found) == 3 and len({(entry.dtype, entry.shape) for entry in found}) == 1:
            dtype = found[0].dtype
            if dtype.kind != "raw":
                yield Trio(number, dtype, found[0].items, _opener(found, versions))


def _opener(
    found: Sequence[Entry], versions: Sequence[Version]
) -> Callable[[], tuple[Tensor, Tensor, Tensor]]:
    def opened() -> tuple[Tensor, Tensor, Tensor]:
        tensors: dict[object, Tensor] = {}
        for entry, version in zip(found, versions, strict=True):
            if entry.data not in tensors:
                tensors[entry.data] = open_entry(entry, version.open)
        base, ours, theirs = (tensors[entry.data] for entry in found)
        return base, ours, theirs

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
