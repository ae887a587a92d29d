"""Tied tensors stay tied where some side has saved them as two that are equal, or tied what was equal.

Where all sides tie them, one is a view of the other and follows it. Where some do not, what becomes of the
tensor becomes of its copy; whether the result has a view or a copy is decided as of any change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from git_theta.manifest import TensorLine, View
from git_theta.merges.decisions import BASE, OURS, Decision, Line

_Vector = tuple[TensorLine | None, ...]
"""What each side has, views as what they show, without names."""


def keep_tied(
    decisions: dict[str, Decision],
    of_format: Collection[int],
    ruled: Callable[[Decision, Decision], bool],
) -> None:
    """Let what is one tensor on some sides, and equal on the others, become the same.

    Args:
        decisions: about all tensors, by common name; changed here.
        of_format: the sides whose files are of the result's format, which may not have views.
        ruled: whether a rule says something for the first tensor that it does not say for the second one.
    """
    mixed = [key for key, one in decisions.items() if len(set(map(type, filter(None, one.lines)))) > 1]
    if not mixed:
        return
    sides = [
        {line.name: line for line in lines if line is not None}
        for lines in zip(*(one.lines for one in decisions.values()), strict=True)
    ]
    by_vector: dict[_Vector, list[Decision]] = {}
    for one in decisions.values():
        if not any(isinstance(line, View) for line in one.lines):
            by_vector.setdefault(tuple(_plain(line) for line in one.lines), []).append(one)
    for key in mixed:
        one = decisions[key]
        leader = next((other for other in by_vector.get(_shown(one, sides), ()) if _shows(one, other)), None)
        if leader is not None and not _agree(one, leader, of_format) and not ruled(one, leader):
            decisions[key] = _following(one, leader, of_format)


def _shown(decision: Decision, sides: Sequence[Mapping[str, Line]]) -> _Vector:
    """The tensor of each side under a name; for a view of a whole tensor, that tensor."""
    found = []
    for line, others in zip(decision.lines, sides, strict=True):
        seen = others[line.of] if isinstance(line, View) and _is_whole(line, others[line.of]) else line
        found.append(_plain(seen))
    return tuple(found)


def _plain(line: Line | None) -> TensorLine | None:
    return replace(line, name="") if isinstance(line, TensorLine) else None


def _is_whole(view: View, tensor: Line) -> bool:
    """Whether a view is all of a tensor, in its order."""
    step = 1
    for size, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return view.offset == 0 and (view.dtype, view.shape) == (tensor.dtype, tensor.shape)


def _shows(decision: Decision, other: Decision) -> bool:
    """Whether wherever this name is a view, it is a view of the other tensor."""
    pairs = zip(decision.lines, other.lines, strict=True)
    return all(
        not isinstance(line, View) or (seen is not None and line.of == seen.name) for line, seen in pairs
    )


def _agree(one: Decision, leader: Decision, of_format: Collection[int]) -> bool:
    """Whether both become the same already, in a way that the result's format has."""
    if "conflict" in (one.action, leader.action):
        return False
    if one.is_view:
        return one.of == leader.name and one.side in of_format
    return one.combination is None and leader.combination is None and one.side == leader.side


def _following(one: Decision, leader: Decision, of_format: Collection[int]) -> Decision:
    """The decision for a tensor that becomes what another one does, as a view of it or as its copy."""
    is_view = [isinstance(line, View) for line in one.lines]
    having = [side for side in range(OURS, len(is_view)) if one.lines[side] is not None]
    asked = [side for side in having if side in of_format] or having
    side = next((side for side in asked if is_view[side] != is_view[BASE]), next(iter(asked), OURS))
    plain = replace(one, side=side, combination=None, reason="", of=leader.name)
    plain = replace(plain, action="add" if one.lines[BASE] is None else "take")
    if leader.action == "remove":
        return replace(plain, action="remove", side=leader.side)
    if is_view[side] and leader.form is not None:
        return plain
    return leader.shared(plain) or replace(plain, copied=leader.line)
