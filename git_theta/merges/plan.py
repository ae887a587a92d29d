"""The plan of a merge: one decision for every tensor, from the identity lines of manifests alone.

Sides are numbered: 0 is the common ancestor (base), 1 ours, 2 and up theirs. A side *changed* a tensor if it
has another value than the base, or has it where the base has not, or the reverse. As in Git:

    nobody changed it                     take ours
    one side, or all who did alike        take that change: the value, its addition or its removal
    ... a value, and the choice combines  combine what all sides have, if arithmetic can do that
    several, differently, all have it     combine with the chosen strategy, else a conflict
    ... and the base has not              the same, if a rule says so for this tensor, else a conflict
    ... and some side removed it          a conflict
    different dtypes                      combine, in our dtype, if a rule says so, else a conflict
    different shapes                      combine if a policy for rows is set and fits, else a conflict
    no floating point numbers, or views   a conflict
    codes of a quantised tensor, scales   one side's for all that belong together, else a conflict

The strategies ours, theirs and base settle every one of these conflicts. Only the sides that changed a tensor
take part in its combination, with their own weights; all sides do where the choice is `one-sided=combine`.
Views (tied tensors) are compared as views: what they show follows the tensor that they are views of, which is
merged once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from git_theta.checkpoints.layout import STORAGE
from git_theta.checkpoints.remainder import Remainder, undivided
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest, TensorLine, ViewLine
from git_theta.merges import companions, equals, factors, groups, kinds, rows, tied
from git_theta.merges.bookkeeping import TrainerState, is_counter
from git_theta.merges.decisions import (
    BASE,
    OURS,
    Combination,
    Decision,
    Help,
    Line,
    Plan,
    SkeletonDecision,
    State,
    lines_of,
    listed,
    state_of,
)
from git_theta.merges.named_sides import numbered, side_number
from git_theta.merges.options import fit
from git_theta.merges.remainders import SIDES, decide_parts, of_format, side_taken, takes_all
from git_theta.merges.rules import Choice, Rename, Rules
from git_theta.merges.skeletons import decide_skeleton, like_side


def plan(
    base: Manifest | None,
    sides: Sequence[Manifest],
    rules: Rules,
    labels: Sequence[str] | None = None,
    remainders: Sequence[Remainder | None] = (),
    pathname: str = "",
) -> Plan:
    """Plan a merge.

    Args:
        base: the common ancestor; None where there is none.
        sides: ours, and one or more of theirs.
        labels: what the sides are called in messages, base first; by default base, ours, theirs.
        remainders: what the sides have besides tensors, base first; unless given, the bytes around the
            tensors are one part.
        pathname: of the checkpoint, which says of which format the result is where sides have several.

    Raises:
        ThetaError: a rename rule is ambiguous, or options do not fit the number of sides.
    """
    if labels is None:
        theirs = ["theirs"] if len(sides) == 2 else [f"theirs {number}" for number in range(1, len(sides))]
        labels = ["base", "ours", *theirs]
    rules = numbered(rules, labels)
    named = [_named(side, rules.renames, label) for side, label in zip((base, *sides), labels, strict=True)]
    manifests = (base, *sides)
    remainders = remainders or [undivided(one.skeleton) if one is not None else None for one in manifests]
    planner = _Planner(rules, tuple(labels), named, remainders)
    keys = sorted({key for side in named for key in side.lines})
    decisions = {key: planner.decide(key) for key in keys}
    planner.settle_groups(decisions)
    factors.merge_products(decisions, rules, labels)
    planner.settle_views(decisions)
    planner.drop_storages(decisions)
    equals.keep_equal(decisions, planner.is_ruled_apart)
    preferred = planner.preferred
    like = like_side(manifests, pathname, preferred)
    tied.keep_tied(decisions, of_format(manifests, like), planner.is_ruled_apart)
    made = _in_order(decisions)
    present = {decision.name for decision in made if decision.form is not None}
    parts = decide_parts(manifests, remainders, labels, rules, present, like, planner.trainer)
    made, parts = kinds.decide_once(made, parts, remainders, labels, rules)
    skeleton = decide_skeleton(manifests, made, parts, remainders, labels, like)
    if skeleton.action == "conflict" and preferred is not None:  # as for Git: a file that is taken whole
        made = _in_order({key: _whole(decision, preferred) for key, decision in decisions.items()})
        parts = ()
        skeleton = SkeletonDecision("take", preferred)
    _check_complete(made, manifests)
    model = manifests[skeleton.side]
    assert model is not None
    return Plan(tuple(labels), model.format, made, skeleton, parts, tuple(remainders))


@dataclass(frozen=True)
class _Side:
    """A manifest by the names that all sides share.

    Attributes:
        lines: by common name.
        common: the common name of each own name.
    """

    lines: Mapping[str, Line]
    common: Mapping[str, str]


def _shown_in(side: _Side) -> set[str]:
    """What views of a side are of."""
    return {line.of for line in side.lines.values() if isinstance(line, ViewLine)}


def _named(manifest: Manifest | None, renames: Sequence[Rename], label: str) -> _Side:
    own = {line.name: line for line in lines_of(manifest)}
    common = {name: _common_name(name, renames) for name in own}
    lines: dict[str, Line] = {}
    for name, line in own.items():
        if common[name] in lines:
            raise ThetaError(
                f"the rename rules make one of the tensors {lines[common[name]].name!r} and {name!r}, "
                f"but {label} has both",
                "remove that rename rule",
            )
        lines[common[name]] = line
    return _Side(lines, common)


def _common_name(name: str, renames: Sequence[Rename]) -> str:
    for rename in renames:
        new = rename.apply(name)
        if new is not None:
            return new
    return name


def _in_order(decisions: Mapping[str, Decision]) -> tuple[Decision, ...]:
    return tuple(sorted(decisions.values(), key=lambda decision: decision.name))


class _Planner:
    """Decides tensor by tensor.

    Args:
        labels: what the sides are called, base first.
        sides: what they have, base first.
    """

    def __init__(
        self,
        rules: Rules,
        labels: tuple[str, ...],
        sides: Sequence[_Side],
        remainders: Sequence[Remainder | None],
    ) -> None:
        self._remainders = remainders
        self._rules = rules
        self._labels = labels
        self._sides = sides
        values = [
            {key: self._value(number, line) for key, line in side.lines.items()}
            for number, side in enumerate(sides)
        ]
        self.trainer = TrainerState(values, remainders)

    @property
    def preferred(self) -> int | None:
        """The side that is taken for everything that is not merged: where a strategy like `ours` decides."""
        side = self._number(self._rules.default.strategy.takes) if self._rules.default is not None else None
        return side if side is not None and self._sides[side].lines else None

    def decide(self, key: str) -> Decision:
        """What becomes of the tensor with this common name."""
        lines = tuple(side.lines.get(key) for side in self._sides)
        name = self._result_name(lines)
        noted = self.trainer.values(name)
        values = noted or self._values(lines)
        changed = _changed(values)
        state = state_of(lines, changed, alike=len({values[side] for side in changed}) == 1)
        if not changed:
            return Decision(name, "take", state, lines)
        choice = self._rules.choose(self._decided_by(lines) or name)
        all_take_part = takes_all(choice, lines)
        alike = len({values[side] for side in changed}) == 1
        if alike and not (all_take_part and len(changed) < len(lines) - 1):
            return _taken(name, state, lines, changed[0])
        if choice is not None and choice.strategy.takes:
            side = side_taken(choice, changed, values)
            if side is not None:
                return _taken(name, state, lines, side)
        kept = is_counter(name) and not (choice is not None and choice.explicit)
        if (noted or kept) and not alike:
            return replace(_taken(name, state, lines, OURS), counter=True)
        sides = list(range(OURS, len(lines))) if all_take_part else changed
        combination = self._combination(choice, lines, changed, sides)
        if isinstance(combination, Combination):
            return Decision(name, "combine", state, lines, combination=combination)
        if alike and not _too_many(choice, sides):  # what arithmetic cannot do, Git's rule can
            return _taken(name, state, lines, changed[0])
        if is_counter(name):
            return replace(_taken(name, state, lines, OURS), counter=True)
        reason, helps = combination
        return Decision(name, "conflict", state, lines, reason=reason, helps=helps)

    def settle_groups(self, decisions: dict[str, Decision]) -> None:
        """Decide once about tensors that mean something only together: a side's for all, or a conflict.

        Of rules, the last one counts that matches any of them.
        """
        dtypes = {key: [line.dtype for line in one.lines if line] for key, one in decisions.items()}
        for keys in companions.groups(dtypes):
            members = [decisions[key] for key in keys]
            values = [tuple(self._values(one.lines)) for one in members]
            if not groups.are_apart(members, values):
                continue
            of_sides: list[object] = list(zip(*values, strict=True))
            changed = _changed(of_sides)
            side = changed[0] if len({of_sides[number] for number in changed}) == 1 else None
            choice = self._rules.choose(*(one.name for one in members))
            if choice is not None and choice.strategy.takes:
                side = side_taken(choice, changed, of_sides)
            who = listed([self._labels[number] for number in changed])
            for key, one in zip(keys, members, strict=True):
                taken = side is not None and _taken(one.name, one.state, one.lines, side)
                decisions[key] = taken or groups.conflict(one, who)

    def settle_views(self, decisions: dict[str, Decision]) -> None:
        """Name the tensors that views are of; where one is gone or has another form, both conflict."""
        unsettled = True
        while unsettled:
            unsettled = False
            for key in list(decisions):
                decision = decisions[key]
                line = decision.line
                if not isinstance(line, ViewLine):
                    continue
                owner = self._sides[decision.side]
                common = owner.common[line.of]
                seen, shown = owner.lines[common], decisions[common]
                if shown.form == (seen.dtype, seen.shape) and not shown.is_view:
                    decisions[key] = replace(decision, of=shown.name)
                    continue
                unsettled = True
                side = self._side_of_both(decision, shown)
                if side is not None:
                    for name, one in ((key, decision), (common, shown)):
                        decisions[name] = _taken(one.name, one.state, one.lines, side)
                    continue
                decisions[key] = _conflict(
                    decision, f"it is a view of {line.of}, which becomes another tensor"
                )
                decisions[common] = _conflict(
                    shown, f"{decision.name} is a view of it, and would lose its data"
                )

    def drop_storages(self, decisions: dict[str, Decision]) -> None:
        """Leave out the data of slices that the result has no slice of: nothing refers to them there."""
        shown = {one.of for one in decisions.values() if isinstance(one.line, ViewLine)}
        for key, decision in decisions.items():
            if not decision.name.startswith(STORAGE) or decision.form is None or decision.name in shown:
                continue
            lines = zip(self._sides, decision.lines, strict=True)
            if any(line and line.name in _shown_in(side) for side, line in lines):
                decisions[key] = replace(decision, action="remove", combination=None, reason="")

    def is_ruled_apart(self, one: Decision, other: Decision) -> bool:
        """Whether a rule chooses something for one of two equal tensors that is not chosen for the other."""
        choice = self._rules.choose(one.name)
        return choice is not None and choice.explicit and choice != self._rules.choose(other.name)

    def _side_of_both(self, view: Decision, shown: Decision) -> int | None:
        """The side that a view and what it shows are taken from, where one is to be taken for both."""
        choices = [self._rules.choose(one.name) for one in (view, shown)]
        wanted = {choice.strategy.takes if choice is not None else None for choice in choices}
        side = self._number(wanted.pop()) if len(wanted) == 1 else None
        done = all(one.side == side and one.action in ("take", "add", "remove") for one in (view, shown))
        return None if done else side

    def _number(self, takes: str | None) -> int | None:
        """The side that a strategy takes; None where it takes none, or there are several of theirs."""
        if (side := side_number(takes)) is not None:
            return side
        return SIDES.get(takes or "") if len(self._sides) == len(SIDES) else None

    def _values(self, lines: Sequence[Line | None]) -> list[object]:
        values = [self._value(side, line) for side, line in enumerate(lines)]
        if len(set(map(type, filter(None, lines)))) < 2:
            return values
        # Where some side has bytes of its own here, the others' change is nowhere but under their slices.
        return [
            (value, self._seen(side, line))
            for side, (value, line) in enumerate(zip(values, lines, strict=True))
        ]

    def _seen(self, side: int, line: Line | None) -> str:
        """The bytes that a slice is of which has no other name; "" for what is none."""
        if not isinstance(line, ViewLine) or not line.of.startswith(STORAGE):
            return ""
        seen = self._own(side, line.of)
        return seen.digest if isinstance(seen, TensorLine) else ""

    def _value(self, side: int, line: Line | None) -> object:
        """What makes tensors equal: dtype, shape and data; for views, which part of what they show.

        Bytes that mean nothing without a description are equal only with that, and what one object is made
        of only together.
        """
        remainder = self._remainders[side]
        if line is None or remainder is None or line.name not in remainder.bound:
            return self._content(side, line)
        owner = remainder.together.get(line.name)
        if owner is None:
            return self._content(side, line), remainder.bound[line.name]
        members = sorted(name for name, other in remainder.together.items() if other == owner)
        contents = tuple(self._content(side, self._own(side, name)) for name in members)
        return contents, remainder.bound[line.name]

    def _content(self, side: int, line: Line | None) -> object:
        if isinstance(line, ViewLine):
            return self._sides[side].common[line.of], line.dtype, line.shape, line.offset, line.strides
        return line and (line.dtype, line.shape, line.digest)

    def _own(self, side: int, name: str) -> Line | None:
        """The tensor that a side calls so."""
        named = self._sides[side]
        return named.lines[named.common[name]] if name in named.common else None

    def _decided_by(self, lines: Sequence[Line | None]) -> str:
        """The tensor that this one is decided with; "" where it is decided alone."""
        pairs = zip(lines, self._remainders, strict=True)
        owners = (
            one.together.get(line.name, "") for line, one in pairs if line is not None and one is not None
        )
        return next(filter(None, owners), "")

    def _is_bound(self, lines: Sequence[Line | None]) -> bool:
        pairs = zip(lines, self._remainders, strict=True)
        return any(line is not None and one is not None and line.name in one.bound for line, one in pairs)

    def _result_name(self, lines: Sequence[Line | None]) -> str:
        """The name in the result: a rename is taken over as a change is; ours if several renamed it."""
        names = [line.name if line is not None else None for line in lines]
        renamed = [name for name in names[OURS:] if name is not None and name != names[BASE]]
        kept = [name for name in names[OURS:] if name is not None]
        return next(name for name in (*renamed, *kept, names[BASE]) if name is not None)

    def _combination(
        self, choice: Choice | None, lines: Sequence[Line | None], changed: list[int], sides: list[int]
    ) -> Combination | tuple[str, Help]:
        """How to combine what sides have of which some changed it; or why there is a conflict, what helps."""
        who = listed([self._labels[side] for side in changed])
        removed = [self._labels[side] for side in changed if lines[side] is None]
        if removed:
            others = [self._labels[side] for side in changed if lines[side] is not None]
            return f"removed by {listed(removed)}, changed by {listed(others)}", "side"
        if choice is None:
            state = "changed" if lines[BASE] is not None else "added"
            return f"{state} differently by {who}, and no strategy is chosen", rows.what_helps(lines, changed)
        strategy = choice.strategy
        if strategy.takes:
            return f"changed differently by {who}: {strategy.name} is not one of them", "strategy"
        if lines[BASE] is None and not choice.explicit:
            return f"added differently by {who}, and no rule says what to do with it", "rule"
        options = fit(strategy, choice.options, len(lines) - 1, [side - 1 for side in sides])
        needed = [*((BASE,) if strategy.needs_base(options) else ()), *sides]
        if lines[needed[0]] is None:
            return f"{strategy.name} needs the common ancestor, which does not have this tensor", "rule"
        if self._is_bound(lines):
            reason = "and its bytes mean nothing without what describes them"
            return f"changed differently by {who}, {reason}", "side"
        found = [line for line in (lines[side] for side in needed) if isinstance(line, TensorLine)]
        if len(found) < len(needed):
            return f"changed differently by {who}, and a view of another tensor on some side", "side"
        wrong = next((line.dtype.name for line in found if line.dtype.kind != "float"), None)
        if wrong:
            return f"changed differently by {who}, and {wrong} is not merged by arithmetic", "side"
        if not choice.knows_rows and len(rows.longer(lines, changed)) > 1:
            compared = self._compared([BASE, *changed], lines, "shape")
            return f"{who} have new rows ({compared}), and no rule says what to do with them", "rows"
        of_models = found[-len(sides) :]
        if len({line.dtype for line in of_models}) > 1 and not choice.explicit:
            differ = self._compared(changed, lines, "dtype")
            return f"dtypes differ ({differ}), and no rule says what to do", "rule"
        if len(sides) < strategy.least or _too_many(choice, sides):
            names = listed([self._labels[side] for side in sides])
            return f"{strategy.name} cannot merge {len(sides)} models ({names})", "strategy"
        ours = lines[OURS]
        like = ours if isinstance(ours, TensorLine) else of_models[0]
        shape = rows.common_shape([line.shape for line in found], choice.rows, like.shape)
        if shape is None:
            policy = f"rows={choice.rows} does not apply" if choice.rows else "no policy for rows is chosen"
            helps = rows.what_helps(lines, needed)
            return f"shapes differ ({self._compared(needed, lines, 'shape')}), and {policy}", helps
        policy_used = choice.rows if len({line.shape for line in found}) > 1 else None
        return Combination(strategy, options, tuple(sides), policy_used, like.dtype, shape)

    def _compared(self, sides: Sequence[int], lines: Sequence[Line | None], what: str) -> str:
        words = []
        for side in sides:
            line = lines[side]
            assert line is not None
            value = line.dtype.name if what == "dtype" else str(list(line.shape))
            words.append(f"{self._labels[side]} {value}")
        return ", ".join(words)


def _too_many(choice: Choice | None, sides: Sequence[int]) -> bool:
    """Whether a strategy that computes cannot merge so many models."""
    if choice is None or choice.strategy.takes:
        return False
    return choice.strategy.most is not None and len(sides) > choice.strategy.most


def _whole(decision: Decision, side: int) -> Decision:
    """What a side has, under its own name, as where its file is taken as it is."""
    line = decision.lines[side]
    taken = _taken(line.name if line else decision.name, decision.state, decision.lines, side)
    return replace(taken, of=line.of) if isinstance(line, ViewLine) else taken


def _changed(values: Sequence[object]) -> list[int]:
    """The sides that have another value than the base."""
    return [side for side in range(OURS, len(values)) if values[side] != values[BASE]]


def _taken(name: str, state: State, lines: tuple[Line | None, ...], side: int) -> Decision:
    if lines[side] is None:
        return Decision(name, "remove", state, lines, side)
    return Decision(name, "take" if lines[BASE] is not None else "add", state, lines, side)


def _conflict(decision: Decision, reason: str) -> Decision:
    """A conflict in place of another decision; one that is a conflict already stays as it is."""
    if decision.action == "conflict":
        return decision
    return replace(decision, action="conflict", side=OURS, combination=None, reason=reason, helps="side")


def _check_complete(decisions: Sequence[Decision], manifests: Sequence[Manifest | None]) -> None:
    """Every tensor and view of every side stands in exactly one decision, and names are unique."""
    for side, manifest in enumerate(manifests):
        names = [line.name for line in lines_of(manifest)]
        planned = [line.name for line in (decision.lines[side] for decision in decisions) if line]
        assert sorted(names) == sorted(planned), "the plan does not account for every tensor"
    result = [decision.name for decision in decisions if decision.form is not None]
    assert len(result) == len(set(result)), "the plan gives two tensors one name"
