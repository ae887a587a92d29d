"""What is a tensor on one side, and something else under the same name on another, is decided on once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from git_theta.checkpoints.remainder import Remainder
from git_theta.merges.decisions import BASE, OURS, Decision, PartDecision, listed
from git_theta.merges.remainders import side_taken, takes_a_side
from git_theta.merges.rules import Rules

Decisions = tuple[tuple[Decision, ...], tuple[PartDecision, ...]]


def decide_once(
    decisions: Sequence[Decision],
    parts: Sequence[PartDecision],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    rules: Rules,
) -> Decisions:
    """The decisions, where those on a tensor and on a part of one name go together: a side, or a conflict."""
    tensors = {one.name: one for one in decisions}
    others = {one.name: one for one in parts}
    for name in tensors.keys() & others.keys():
        tensors[name], others[name] = _together(tensors[name], others[name], remainders, labels, rules)
    return tuple(tensors.values()), tuple(others.values())


def _together(
    tensor: Decision,
    part: PartDecision,
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    rules: Rules,
) -> tuple[Decision, PartDecision]:
    of_parts = [one.parts.get(part.name) if one is not None else None for one in remainders]
    values: list[object] = list(zip(tensor.lines, of_parts, strict=True))
    changed = [side for side in range(OURS, len(values)) if values[side] != values[BASE]]
    if len({values[side] for side in changed}) < 2:
        return tensor, part
    choice = rules.choose(part.name)
    side = side_taken(choice, changed, values) if choice is not None and takes_a_side(choice) else None
    tensor = replace(tensor, combination=None, counter=False)
    part = replace(part, counter=False)
    if side is not None:
        there = tensor.lines[side] is not None
        return (
            replace(tensor, action="take" if there else "remove", side=side, reason=""),
            replace(part, action="remove" if of_parts[side] is None else "take", side=side, reason=""),
        )
    who = listed([labels[number] for number in changed])
    reason = f"changed differently by {who}, and no tensor on some side"
    return (
        replace(tensor, action="conflict", side=OURS, reason=reason, helps="side"),
        replace(part, action="conflict", side=OURS, reason=reason),
    )
