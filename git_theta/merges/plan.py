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
from dataclasses import replace

from git_theta.checkpoints.layout import STORAGE
from git_theta.checkpoints.remainder import Remainder, undivided
from git_theta.manifest import Manifest, View
from git_theta.merges import companions, equals, factors, groups, kinds, tied
from git_theta.merges.bookkeeping import TrainerState, is_counter
from git_theta.merges.combining import combination, too_many
from git_theta.merges.compared import Compared, changed_sides, result_name
from git_theta.merges.decisions import (
    BASE,
    OURS,
    Combination,
    Decision,
    Line,
    Plan,
    SkeletonDecision,
    State,
    lines_of,
    state_of,
)
from git_theta.merges.named_sides import numbered, side_number
from git_theta.merges.remainders import SIDES, decide_parts, of_format, side_taken, takes_all
from git_theta.merges.rules import Rules
from git_theta.merges.skeletons import decide_skeleton, like_side


def plan(
    base: Manifest | None,
    sides: Sequence[Manifest],
    rules: Rules,
    labels: Sequence[str] | None = None,
    remainders: Sequence[Remainder | None] = (),
    pathname: str = "",
    renamed: Sequence[Mapping[str, str]] = (),
) -> Plan:
    """Plan a merge.

    Args:
        base: the common ancestor; None where there is none.
        sides: ours, and one or more of theirs.
        labels: what the sides are called in messages, base first; by default base, ours, theirs.
        remainders: what the sides have besides tensors, base first; unless given, the bytes around the
            tensors are one part.
        pathname: of the checkpoint, which says of which format the result is where sides have several.
        renamed: see Plan. It decides nothing: only rename rules make one tensor of two names.

    Raises:
        ThetaError: a rename rule is ambiguous, or options do not fit the number of sides.
    """
    if labels is None:
        theirs = ["theirs"] if len(sides) == 2 else [f"theirs {number}" for number in range(1, len(sides))]
        labels = ["base", "ours", *theirs]
    rules = numbered(rules, labels)
    manifests = (base, *sides)
    remainders = remainders or [undivided(one.skeleton) if one is not None else None for one in manifests]
    rules = rules.among(_names(manifests, remainders))
    compared = Compared(manifests, remainders, labels, rules.renames, renamed)
    planner = _Planner(rules, compared, remainders)
    decisions = {key: planner.decide(key) for key in compared.shared_names()}
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
    return Plan(tuple(labels), model.format, made, skeleton, parts, tuple(remainders), tuple(renamed))


def _names(manifests: Sequence[Manifest | None], remainders: Sequence[Remainder | None]) -> set[str]:
    """All that rules can name."""
    lines = (line for one in manifests if one is not None for line in lines_of(one))
    return {line.name for line in lines} | {
        name for one in remainders if one is not None for name in one.parts
    }


def _in_order(decisions: Mapping[str, Decision]) -> tuple[Decision, ...]:
    return tuple(sorted(decisions.values(), key=lambda decision: decision.name))


class _Planner:
    """Decides tensor by tensor.

    Attributes:
        trainer: what is the state of a trainer, and decided on as a whole.
    """

    def __init__(self, rules: Rules, compared: Compared, remainders: Sequence[Remainder | None]) -> None:
        self._rules = rules
        self._compared = compared
        self.trainer = TrainerState(compared.values_of_sides(), remainders)

    @property
    def preferred(self) -> int | None:
        """The side that is taken for everything that is not merged: where a strategy like `ours` decides."""
        side = self._number(self._rules.default.strategy.takes) if self._rules.default is not None else None
        return side if side is not None and self._compared.sides[side].lines else None

    def decide(self, key: str) -> Decision:
        """What becomes of the tensor with this common name."""
        lines = self._compared.lines(key)
        name = result_name(lines)
        noted = self.trainer.values(name)
        values = noted or self._compared.values(lines)
        changed = changed_sides(values)
        state = state_of(lines, changed, alike=len({values[side] for side in changed}) == 1)
        if not changed:
            return Decision(name, "take", state, lines)
        choice = self._rules.choose(self._compared.decided_by(lines) or name)
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
        made = combination(self._compared, choice, lines, changed, sides)
        if isinstance(made, Combination):
            return Decision(name, "combine", state, lines, combination=made)
        if alike and not too_many(choice, sides):  # what arithmetic cannot do, Git's rule can
            return _taken(name, state, lines, changed[0])
        if is_counter(name):
            return replace(_taken(name, state, lines, OURS), counter=True)
        reason, helps = made
        return Decision(name, "conflict", state, lines, reason=reason, helps=helps)

    def settle_groups(self, decisions: dict[str, Decision]) -> None:
        """Decide once about tensors that mean something only together: a side's for all, or a conflict.

        Of rules, the last one counts that matches any of them.
        """
        dtypes = {key: [line.dtype for line in one.lines if line] for key, one in decisions.items()}
        for keys in companions.groups(dtypes):
            members = [decisions[key] for key in keys]
            values = [tuple(self._compared.values(one.lines)) for one in members]
            if not groups.are_apart(members, values):
                continue
            of_sides: list[object] = list(zip(*values, strict=True))
            changed = changed_sides(of_sides)
            side = changed[0] if len({of_sides[number] for number in changed}) == 1 else None
            choice = self._rules.choose(*(one.name for one in members))
            if choice is not None and choice.strategy.takes:
                side = side_taken(choice, changed, of_sides)
            who = self._compared.names(changed)
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
                if not isinstance(line, View):
                    continue
                owner = self._compared.sides[decision.side]
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
        shown = {one.of for one in decisions.values() if isinstance(one.line, View)}
        for key, decision in decisions.items():
            if not decision.name.startswith(STORAGE) or decision.form is None or decision.name in shown:
                continue
            lines = zip(self._compared.sides, decision.lines, strict=True)
            if any(line and line.name in side.shown for side, line in lines):
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
        return SIDES.get(takes or "") if len(self._compared.sides) == len(SIDES) else None


def _whole(decision: Decision, side: int) -> Decision:
    """What a side has, under its own name, as where its file is taken as it is."""
    line = decision.lines[side]
    taken = _taken(line.name if line else decision.name, decision.state, decision.lines, side)
    return replace(taken, of=line.of) if isinstance(line, View) else taken


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
