"""Tensors that mean something only together (see companions) are decided on once, as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from git_theta.merges import companions
from git_theta.merges.decisions import OURS, Decision


def are_apart(members: Sequence[Decision], values: Sequence[tuple[object, ...]]) -> bool:
    """Whether a group would be mixed from several sides in a way that gives it no meaning.

    Where only one tensor differs, and all are numbers (what a mask leaves, that is the same on all sides),
    merging that one merges what the group stands for.

    Args:
        values: what each member is on every side.
    """
    result = tuple(_result(one, each) for one, each in zip(members, values, strict=True))
    if result in zip(*values, strict=True):
        return False
    differing = [one for one, each in zip(members, values, strict=True) if len(set(each)) > 1]
    dtypes = [line.dtype for one in members for line in one.lines if line is not None]
    return len(differing) > 1 or not companions.are_numbers(dtypes)


def conflict(member: Decision, who: str) -> Decision:
    """The conflict of one tensor of a group that several sides changed; its reason is that of them all."""
    reason = (
        f"codes and their scales stand for one tensor, changed differently by {who}: take them from one side"
    )
    return replace(member, action="conflict", side=OURS, combination=None, reason=reason, helps="side")


def _result(member: Decision, values: tuple[object, ...]) -> object:
    """The value that a member gets; its decision, which equals no value, where that is computed or open."""
    if member.action in ("combine", "conflict"):
        return member
    return values[member.side]
