"""Plain decisions: what a merge does with each tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from git_theta.checkpoints.remainder import Remainder
from git_theta.dtypes import DType
from git_theta.manifest import Manifest, TensorLine, View
from git_theta.merges.interface import Strategy
from git_theta.merges.rules import Rows

Line = TensorLine | View
Action = Literal["take", "add", "remove", "combine", "conflict"]
State = Literal[
    "unchanged",
    "changed on one side",
    "changed alike",
    "changed differently",
    "added on one side",
    "added alike",
    "added differently",
    "removed on one side",
    "removed alike",
    "removed and changed",
]

Help = Literal["strategy", "rule", "rows", "side"]
"""What settles a conflict: any strategy, one that a rule names for it, a policy for rows, or only a side."""

BASE, OURS, THEIRS = 0, 1, 2
"""Numbers of sides: 0 is the common ancestor, 1 ours, 2 and up theirs."""


@dataclass(frozen=True)
class Combination:
    """How a tensor is computed.

    Attributes:
        strategy, options: fitted to the sides that take part.
        sides: their numbers, in order.
        rows: the policy for different numbers of rows, where shapes differ.
        dtype, shape: of the result.
    """

    strategy: Strategy[Any]
    options: Any
    sides: tuple[int, ...]
    rows: Rows | None
    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """The factors of a low-rank update, by name; alpha is "" where the file has none.

    The update is second times first, [out, rank] times [rank, in], times alpha divided by the rank.
    """

    first: str
    second: str
    alpha: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.first, self.second, self.alpha)))


@dataclass(frozen=True)
class Decision:
    """What becomes of one tensor.

    Attributes:
        name: in the result.
        action: `take` a side's value, `add` one that the base has not, `remove` it, `combine` values, or a
            `conflict`, for which the result has what ours has until it is resolved.
        state: how the sides relate.
        lines: what each side has, base first, under its own name; None for nothing.
        side: for take and add whose value, for a conflict ours.
        combination: for combine.
        reason: for a conflict, in words.
        helps: for a conflict, what settles it.
        of: where the result has a view, the name there of the tensor that it is a view of.
        counter: whether several have changed it, and ours is kept because it only keeps count of a training.
        same_as: for combine, the name in the result of the equal tensor that is computed for both; or "".
        product: for combine, the pair of factors whose products are merged, of which it is one.
        copied: where the result has what another tensor, which is equal, is on that side: its line there.
    """

    name: str
    action: Action
    state: State
    lines: tuple[Line | None, ...]
    side: int = OURS
    combination: Combination | None = None
    reason: str = ""
    helps: Help = "strategy"
    of: str = ""
    same_as: str = ""
    product: Pair | None = None
    copied: Line | None = None
    counter: bool = False

    @property
    def line(self) -> Line | None:
        """The line whose bytes the result takes over; None where it has none, or they are computed."""
        if self.copied is not None:
            return self.copied
        return None if self.action in ("remove", "combine") else self.lines[self.side]

    def shared(self, other: Decision) -> Decision | None:
        """The decision about an equal tensor where this one is open, or computed for both; None elsewhere."""
        if self.action == "conflict":
            return replace(other, action="conflict", side=OURS, reason=self.reason, helps=self.helps)
        if self.combination is not None:
            return replace(other, action="combine", combination=self.combination, same_as=self.name)
        return None

    @property
    def is_view(self) -> bool:
        """Whether the result has a view here, which needs no bytes of its own."""
        return isinstance(self.line, View)

    @property
    def form(self) -> tuple[DType, tuple[int, ...]] | None:
        """Dtype and shape in the result; None where the result has no such tensor."""
        if self.combination is not None:
            return self.combination.dtype, self.combination.shape
        return (self.line.dtype, self.line.shape) if self.line is not None else None


@dataclass(frozen=True)
class PartDecision:
    """What becomes of a part of the file that is no tensor (see checkpoints.remainder).

    Attributes:
        action: as of tensors; none is computed.
        side: that has the part, or has it no more, as the result; for a conflict ours.
        reason: for a conflict, in words.
        counter: as of tensors.
    """

    name: str
    action: Literal["take", "add", "remove", "conflict"]
    state: State
    side: int = OURS
    reason: str = ""
    counter: bool = False


@dataclass(frozen=True)
class SkeletonDecision:
    """What the bytes around the tensors are.

    Attributes:
        action: `take` a side's as they are, or `write` the file anew, like that side's, since the result has
            other tensors, dtypes or shapes; or a `conflict`: there are no tensors to merge.
        side: whose.
        reason: for a conflict.
    """

    action: Literal["take", "write", "conflict"]
    side: int = OURS
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """All decisions of a merge.

    Attributes:
        labels: what the sides are called, base first.
        format: of the result: that of the side whose skeleton it has.
        decisions: one for every tensor and view of every side, sorted by name.
        parts: one for everything else that a side has, sorted by name.
        remainders: what the parts are on each side, base first.
        renamed: the new names of the base's tensors on each side, by the old ones, base first, as every
            comparison tells them. Where no rename rule says the same, both names are decided on.
    """

    labels: tuple[str, ...]
    format: str
    decisions: tuple[Decision, ...]
    skeleton: SkeletonDecision
    parts: tuple[PartDecision, ...] = ()
    remainders: tuple[Remainder | None, ...] = field(default=(), repr=False)
    renamed: tuple[Mapping[str, str], ...] = field(default=(), repr=False)

    def new_names(self) -> dict[str, str]:
        """The tensors that the result has under another name than the base: new names by old ones."""
        added = {one.name for one in self.decisions if one.action == "add"}
        found = {}
        for one in self.decisions:
            if (base := one.lines[BASE]) is None:
                continue
            name = one.name
            if one.action in ("remove", "conflict"):
                gone = (side for side, line in enumerate(one.lines) if line is None)
                new = (self.new_name(side, base.name) for side in gone)
                name = next(filter(added.__contains__, new), base.name)
            if name != base.name:
                found[base.name] = name
        return found

    def new_name(self, side: int, name: str) -> str:
        """What a side has renamed a tensor of the base to; "" if it has not."""
        return self.renamed[side].get(name, "") if side < len(self.renamed) else ""

    def conflicts(self) -> list[Decision | PartDecision]:
        """The decisions that are still open: on tensors, then on parts."""
        return [*self.open_tensors(), *self.open_parts()]

    def names(self) -> set[str]:
        """What rules can be about: tensors, and everything else."""
        return {one.name for one in self.decisions} | {one.name for one in self.parts}

    def open_tensors(self) -> list[Decision]:
        return [decision for decision in self.decisions if decision.action == "conflict"]

    def open_parts(self) -> list[PartDecision]:
        return [part for part in self.parts if part.action == "conflict"]

    @property
    def helps(self) -> Help:
        """What settles as many conflicts as can be settled without taking a side."""
        found = {decision.helps for decision in self.open_tensors()}
        several: tuple[Help, ...] = ("rows", "strategy", "rule")
        return next((one for one in several if one in found), "side")

    def counts(self) -> dict[tuple[Action, State], int]:
        """How many tensors there are of each kind, most first."""
        return dict(Counter((one.action, one.state) for one in self.decisions).most_common())


def lines_of(manifest: Manifest | None) -> list[Line]:
    """All tensors and views of a side; none where there is no such side."""
    return [*manifest.tensors, *manifest.views] if manifest is not None else []


def is_one_sided(decision: Decision) -> bool:
    """Whether a tensor was changed by some sides, while others have it as the base has."""
    base, *sides = decision.lines
    if base is None or decision.state == "unchanged":
        return False
    return any(line is not None and _same(line, base) for line in sides)


def _same(one: Line, other: Line) -> bool:
    if isinstance(one, TensorLine) and isinstance(other, TensorLine):
        return (one.dtype, one.shape, one.digest) == (other.dtype, other.shape, other.digest)
    return replace(one, name="") == replace(other, name="")


def state_of(lines: Sequence[object | None], changed: Sequence[int], alike: bool) -> State:
    """How sides relate, of which some changed what the base has."""
    if not changed:
        return "unchanged"
    gone = [lines[side] is None for side in changed]
    if alike and len(changed) == 1:
        return (
            "removed on one side"
            if gone[0]
            else "changed on one side"
            if lines[BASE] is not None
            else "added on one side"
        )
    if alike:
        return "removed alike" if gone[0] else "changed alike" if lines[BASE] is not None else "added alike"
    if any(gone):
        return "removed and changed"
    return "changed differently" if lines[BASE] is not None else "added differently"
