"""A whole comparison of two checkpoints, as plain data that every renderer starts from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from git_theta.diffs import layers
from git_theta.diffs.amount import Amount, amount
from git_theta.diffs.change import METRICS, Change, together
from git_theta.diffs.matching import Status


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
    """Several rows taken together.

    Attributes:
        tensors, parameters: how many, and their elements; tied tensors count once.
        change: of all whose values were compared, as if they were one vector; None where none was.
        unknown: rows whose values could not be compared.
    """

    tensors: int = 0
    parameters: int = 0
    change: Change | None = None
    unknown: int = 0


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
    return Totals(
        tensors=len(counted),
        parameters=sum(row.elements for row in counted),
        change=together([row.change for row in counted if row.change is not None]),
        unknown=sum(bool(row.unknown) for row in rows),
    )


def ordered(rows: Iterable[Row], by: str) -> list[Row]:
    """Rows in the order asked for (see change.sorts): the largest first, or by name.

    Tensors that came or went, and those that are unknown, stand before numbers.
    """

    def key(row: Row) -> tuple[float, float, object]:
        name = layers.natural(row.name)
        if by == "name":
            return 0, 0, name
        value = _measure(row, by)
        return (0, 0, name) if value is None else (1, -value, name)

    return sorted(rows, key=key)


def _measure(row: Row, by: str) -> float | None:
    if row.change is None:
        return None
    order = METRICS[by].order
    value = order(row.change) if order is not None else None
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
