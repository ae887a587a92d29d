"""A whole comparison of two checkpoints, as plain data that every renderer starts from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from git_theta.diffs import layers
from git_theta.diffs.amount import Amount, amount
from git_theta.diffs.change import Change, cosine
from git_theta.diffs.matching import Status

Sort = Literal["norm", "relative", "name", "changed"]
SORTS: tuple[Sort, ...] = ("relative", "norm", "changed", "name")


@dataclass(frozen=True)
class Side:
    """One of the two checkpoints.

    Attributes:
        label: what the user calls it: a revision, "index", "work tree".
        format: of the file; "opaque" where git-theta cannot see tensors in it.
        size: bytes of the file.
        root: its identity.
        tensors: all, by name.
        parameters: stored ones; those of a tied tensor count once.
    """

    label: str
    format: str
    size: int
    root: str
    tensors: int
    parameters: int


@dataclass(frozen=True)
class Row:
    """One tensor that differs.

    Attributes:
        name: its newest name; `old_name` is None where it was not there before.
        dtype, shape: of the newer side; None where it is gone. `old_dtype`, `old_shape`: likewise before.
        tied: names of other tensors that are views of this one.
        view_of: the stored tensor of which this one is a view, or "".
        change: how its values changed; None where there is nothing to compare, or it is unknown.
        unknown: why the values could not be compared, or "".
        compared: what was compared if not all elements, for people, or "".
        update: how the newer data are stored ("delta", "low-rank", ...), or "" where that is not recorded.
        stored: bytes that this change added to the store; None where other tensors share the object, or
            nothing is recorded.
    """

    name: str
    status: Status
    old_name: str | None
    old_dtype: str | None
    dtype: str | None
    old_shape: tuple[int, ...] | None
    shape: tuple[int, ...] | None
    tied: tuple[str, ...] = ()
    view_of: str = ""
    change: Change | None = None
    unknown: str = ""
    compared: str = ""
    update: str = ""
    stored: int | None = None

    @property
    def layer(self) -> str:
        return layers.split(self.name)[0]

    @property
    def component(self) -> str:
        return layers.split(self.name)[1]

    @property
    def elements(self) -> int:
        """Of the newer side, or of the older where it is gone."""
        shape = self.shape if self.shape is not None else self.old_shape
        return math.prod(shape or ())


@dataclass(frozen=True)
class Totals:
    """Several rows taken together, as if their tensors were one vector.

    Attributes:
        tensors, parameters: how many, and their elements; tied tensors count once.
        compared, changed: elements whose values were compared, and those that differ.
        norm, old_norm: 2-norms over the rows that have them; None where none has.
        max_abs, cosine: as in Change.
        nans, infinities: elements that became NaN, or infinite.
        unknown: rows whose values could not be compared.
    """

    tensors: int = 0
    parameters: int = 0
    compared: int = 0
    changed: int = 0
    norm: float | None = None
    old_norm: float | None = None
    max_abs: float | None = None
    cosine: float | None = None
    nans: int = 0
    infinities: int = 0
    unknown: int = 0

    @property
    def relative_norm(self) -> float | None:
        """norm / old_norm, over the tensors that changed."""
        if self.norm is None or not self.old_norm:
            return 0.0 if self.norm == 0 else None
        return self.norm / self.old_norm

    @property
    def rms(self) -> float | None:
        return None if self.norm is None else self.norm / math.sqrt(max(1, self.compared))

    @property
    def changed_fraction(self) -> float | None:
        return self.changed / self.compared if self.compared else None


@dataclass(frozen=True)
class Layer:
    """The rows of one layer.

    Attributes:
        name: "" for tensors that belong to none.
        all: how many tensors it has, unchanged ones too.
    """

    name: str
    rows: tuple[Row, ...]
    all: int
    totals: Totals


@dataclass(frozen=True)
class Kind:
    """What kind of change it looks like: a word for programs, a line for people."""

    code: str
    text: str


@dataclass(frozen=True)
class Report:
    """How two checkpoints differ.

    Attributes:
        path: of the file.
        old, new: None where the file is not there.
        rows: tensors that differ, sorted by name.
        unchanged: names of tensors that do not.
        following: names of views that are what they were, of data that changed.
        totals: of all rows.
        kinds: what it looks like, the most telling first; see diffs.classify.
        stored: bytes of all objects that the newer manifest needs and the older one does not; None where
            it does not say (a work-tree file that was not added).
        only: the glob that rows were restricted to, or "".
        valued: whether values were compared at all.
        old_path: of the file before, where it has moved; else "".
        header: lines about the file that Git writes over its own differences: renames, modes.
        notes: what else there is to say about either file, in lines: that it is damaged, for one.
    """

    path: str
    old: Side | None
    new: Side | None
    rows: tuple[Row, ...]
    unchanged: tuple[str, ...]
    totals: Totals
    kinds: tuple[Kind, ...] = ()
    stored: int | None = None
    only: str = ""
    valued: bool = True
    old_path: str = ""
    header: tuple[str, ...] = ()
    following: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _layers(self.rows, self.unchanged + self.following))

    @property
    def identical(self) -> bool:
        """Whether both files are the same, byte for byte."""
        if self.old is None or self.new is None:
            return self.old is self.new
        return self.old.root == self.new.root

    @property
    def amount(self) -> Amount:
        """How many tensors differ, and how."""
        everything = len(self.rows) + len(self.unchanged) + len(self.following)
        return amount((row.status for row in self.rows), everything, self.only)

    def with_kinds(self, kinds: Iterable[Kind]) -> Report:
        return replace(self, kinds=tuple(kinds))


def total(rows: Sequence[Row]) -> Totals:
    """Rows taken together."""
    counted = [row for row in rows if not row.view_of]
    changes = [row.change for row in counted if row.change is not None]
    normed = [change for change in changes if change.norm is not None]
    return Totals(
        tensors=len(counted),
        parameters=sum(row.elements for row in counted),
        compared=sum(change.elements for change in changes),
        changed=sum(change.changed for change in changes),
        norm=math.hypot(*(change.norm or 0.0 for change in normed)) if normed else None,
        old_norm=math.hypot(*(change.old_norm or 0.0 for change in normed)) if normed else None,
        max_abs=max((change.max_abs or 0.0 for change in normed), default=None),
        cosine=_cosine(normed),
        nans=sum(change.nans for change in changes),
        infinities=sum(change.infinities for change in changes),
        unknown=sum(bool(row.unknown) for row in rows),
    )


def ordered(rows: Iterable[Row], by: Sort) -> list[Row]:
    """Rows in the order asked for: the largest first, or by name.

    Tensors that came or went, and those that are unknown, stand before numbers.
    """

    def key(row: Row) -> tuple[float, float, object]:
        name = layers.natural(row.name)
        if by == "name":
            return 0, 0, name
        value = _measure(row, by)
        return (0, 0, name) if value is None else (1, -value, name)

    return sorted(rows, key=key)


def _measure(row: Row, by: Sort) -> float | None:
    if row.change is None:
        return None
    if by == "norm":
        value = row.change.norm
    elif by == "relative":
        value = row.change.relative_norm
        if value is None and row.change.norm:  # from zero to something
            value = math.inf
    else:
        value = row.change.changed_fraction
    if value is None:
        return row.change.changed_fraction
    return math.inf if math.isnan(value) else value


def _layers(rows: Sequence[Row], unchanged: Sequence[str]) -> tuple[Layer, ...]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.layer, []).append(row)
    still: dict[str, int] = {}
    for name in unchanged:
        layer = layers.split(name)[0]
        still[layer] = still.get(layer, 0) + 1
    return tuple(
        Layer(name, tuple(grouped[name]), len(grouped[name]) + still.get(name, 0), total(grouped[name]))
        for name in sorted(grouped, key=layers.natural)
    )


def _cosine(changes: Sequence[Change]) -> float | None:
    """The cosine of all old and all new values, each seen as one vector."""
    known = [change for change in changes if change.old_norm is not None and change.new_norm is not None]
    old, new, moved = (
        math.hypot(*(getattr(change, name) for change in known)) for name in ("old_norm", "new_norm", "norm")
    )
    products = (
        (change.cosine or 0.0) * (change.old_norm or 0.0) * (change.new_norm or 0.0) for change in known
    )
    return cosine(old, new, moved, math.fsum(products))
