"""Narrows a plan: to what needs no torch, or to what an earlier merge has left open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from git_theta.checkpoints.remainder import Remainder
from git_theta.manifest import Manifest, View
from git_theta.merges.arithmetic import linear_coefficients
from git_theta.merges.decisions import OURS, Decision, Line, PartDecision, Plan, lines_of
from git_theta.merges.device import choose
from git_theta.merges.remainders import of_format, with_containers
from git_theta.merges.skeletons import decide_skeleton


def needs_torch(plan: Plan) -> list[Decision]:
    """The combinations that are more than a linear one with fixed coefficients."""
    return [decision for decision in plan.decisions if _needs_torch(decision)]


def device_of(plans: Iterable[Plan], device: str) -> str:
    """The device that plans need torch for; "" if they need none, and give the same on every device."""
    return choose(device).type if any(map(needs_torch, plans)) else ""


def without_torch(plan: Plan, reason: str) -> Plan:
    """The plan with conflicts in place of the combinations that need torch.

    Args:
        reason: why they cannot be made, in words.
    """
    decisions = (
        replace(decision, action="conflict", side=OURS, combination=None, reason=reason, same_as="")
        if _needs_torch(decision)
        else decision
        for decision in plan.decisions
    )
    return replace(plan, decisions=tuple(decisions))


def continued(
    plan: Plan,
    manifests: Sequence[Manifest | None],
    merged: Manifest,
    remainder: Remainder,
    still_open: Collection[str],
    open_parts: Collection[str],
) -> Plan:
    """The plan for what is still open; everything else is as it has been merged before.

    Args:
        manifests: of the plan's sides, base first.
        merged: what has been merged. In the new plan it is a further side, after the others.
        remainder: what that has besides tensors.
        still_open, open_parts: names of tensors and of parts. A factor whose product is merged opens the
            other one again.
    """
    pairs = {decision.product for decision in plan.decisions if decision.name in still_open}
    still_open = {*still_open, *(name for pair in pairs if pair is not None for name in pair.names)}
    before: dict[str, Line] = {line.name: line for line in lines_of(merged)}
    further = len(manifests)
    decisions = []
    for decision in plan.decisions:
        line = before.pop(decision.name, None)
        if decision.name in still_open:
            decisions.append(replace(decision, lines=(*decision.lines, line)))
        else:
            decisions.append(_settled(decision, line, further))
    nothing = (None,) * further
    decisions += [
        _settled(Decision(name, "take", "unchanged", nothing), line, further) for name, line in before.items()
    ]
    decisions.sort(key=lambda decision: decision.name)
    sides = [*manifests, merged]
    remainders = (*plan.remainders, remainder)
    present = {decision.name for decision in decisions if decision.form is not None}
    parts = with_containers(
        [
            part if part.name in open_parts else _settled_part(part, part.name in remainder.parts, further)
            for part in plan.parts
        ],
        remainders,
        present,
        of_format(sides, further),
    )
    labels = [*plan.labels, "what was merged before"]
    skeleton = decide_skeleton(sides, decisions, parts, remainders, labels, further)
    return replace(plan, decisions=tuple(decisions), skeleton=skeleton, parts=parts, remainders=remainders)


def _settled_part(part: PartDecision, there: bool, side: int) -> PartDecision:
    return replace(part, action="take" if there else "remove", side=side, reason="")


def _settled(decision: Decision, line: Line | None, side: int) -> Decision:
    """The decision to take what an earlier merge has made of a tensor."""
    return replace(
        decision,
        action="remove" if line is None else "take",
        lines=(*decision.lines, line),
        side=side,
        combination=None,
        reason="",
        same_as="",
        product=None,
        copied=None,
        of=line.of if isinstance(line, View) else "",
    )


def _needs_torch(decision: Decision) -> bool:
    combination = decision.combination
    if combination is None:
        return False
    count = len(combination.sides)
    return linear_coefficients(combination.strategy, combination.options, count) is None
