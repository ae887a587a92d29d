"""Tensors and other values that mean something only together are decided on once.

Such are one name for a tensor on one side and for something else on another, the codes of a quantised
tensor whose scale is a number, a list or an array in the pickle, or stands in the header, and the entries of
a list that a side made shorter: their numbers do not tell which of them it removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from git_theta.checkpoints.remainder import WHOLE, Remainder
from git_theta.dtypes import DType, dtype
from git_theta.merges import companions
from git_theta.merges.decisions import BASE, OURS, Decision, PartDecision
from git_theta.merges.remainders import side_taken
from git_theta.merges.rules import Rules
from git_theta.terminal.showing import printable
from git_theta.terminal.units import joined, listed

_SHOWN = 6  # names in a reason

Group = tuple[list[str], list[str], str]
"""The names of tensors and of parts, and why they are decided on once."""

AnyDecision = TypeVar("AnyDecision", Decision, PartDecision)

_IN_HEADERS = "__metadata__."

_DESCRIPTION = re.compile("quant(?!ile)", re.IGNORECASE)
"""In names of what says about all codes of a file how they are made: `quantization_config`."""


def decide_once(
    decisions: Sequence[Decision],
    parts: Sequence[PartDecision],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    rules: Rules,
) -> tuple[tuple[Decision, ...], tuple[PartDecision, ...]]:
    """The decisions, where those on tensors and parts that belong together are for one side, or conflicts."""
    tensors = {one.name: one for one in decisions}
    others = {one.name: one for one in parts}
    shared = sorted(tensors.keys() & others.keys())
    groups = [([name], [name], "no tensor on some side") for name in shared]
    groups += _scaled(decisions, parts, remainders)
    groups += _shortened(decisions, parts, remainders, labels)
    for names, also, why in groups:
        members = [tensors[name] for name in names], [others[name] for name in also]
        settled = _settled(*members, remainders, labels, rules, why)
        tensors |= {one.name: one for one in settled[0]}
        others |= {one.name: one for one in settled[1]}
    return tuple(tensors.values()), tuple(others.values())


def _scaled(
    decisions: Sequence[Decision], parts: Sequence[PartDecision], remainders: Sequence[Remainder | None]
) -> Iterator[Group]:
    """The groups of quantised tensors and scales of which a value that is no tensor has changed."""
    dtypes: dict[str, list[DType]] = {
        one.name: [line.dtype for line in one.lines if line is not None] for one in decisions
    }
    others = {name for one in remainders if one is not None for name in (*one.containers, *one.flags, WHOLE)}
    numbers = {one.name.removeprefix(_IN_HEADERS): one for one in parts if one.name not in others}
    changed = {name for name, one in numbers.items() if one.state != "unchanged"} - dtypes.keys()
    if not changed:
        return
    described = {name for name in changed if _DESCRIPTION.search(name)}
    codes: list[str] = []
    for group in companions.groups(dtypes | {name: [dtype("F32")] for name in numbers if name not in dtypes}):
        tensors = [name for name in group if name in dtypes]
        codes += tensors
        described -= set(group)
        if tensors and not changed.isdisjoint(group):
            also = [numbers[name].name for name in group if name not in dtypes]
            yield tensors, also, _why([*tensors, *also])
    if codes and described:
        also = sorted(numbers[name].name for name in described)
        yield codes, also, _why([*codes, *also])


def _shortened(
    decisions: Sequence[Decision],
    parts: Sequence[PartDecision],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
) -> Iterator[Group]:
    """The lists that a side has fewer entries of than the base, with all that is in them."""
    base = remainders[BASE]
    if base is None:
        return
    for name, count in base.lists.items():
        lengths = [one.lists.get(name, count) if one is not None else count for one in remainders]
        shorter = [labels[side] for side, length in enumerate(lengths) if length < count]
        if shorter:
            prefix = base.containers[name]
            tensors = [one.name for one in decisions if one.name.startswith(prefix)]
            also = [one.name for one in parts if one.name == name or one.name.startswith(prefix)]
            removed = f"removed entries of {printable(prefix[:-1]) or 'the list'}"
            yield tensors, also, f"{joined(shorter)} {removed}"


def _settled(
    tensors: Sequence[Decision],
    parts: Sequence[PartDecision],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    rules: Rules,
    why: str,
) -> tuple[list[Decision], list[PartDecision]]:
    of_parts = [
        tuple(one.parts.get(part.name) if one is not None else None for part in parts) for one in remainders
    ]
    of_tensors = zip(*(one.lines for one in tensors), strict=True)
    values: list[object] = list(zip(of_tensors, of_parts, strict=True))
    changed = [side for side in range(OURS, len(values)) if values[side] != values[BASE]]
    if len({values[side] for side in changed}) < 2:
        return list(tensors), list(parts)
    names = [*(one.name for one in tensors), *(one.name for one in parts)]
    choice = rules.choose(*names)
    side = side_taken(choice, changed, values) if choice is not None and choice.strategy.takes else None
    if side is not None:
        return (
            [_of_side(one, side, one.lines[side] is not None) for one in tensors],
            [
                _of_side(one, side, there is not None)
                for one, there in zip(parts, of_parts[side], strict=True)
            ],
        )
    who = joined([labels[number] for number in changed])
    reason = f"changed differently by {who}, and {why}"
    return (
        [
            replace(one, action="conflict", side=OURS, combination=None, reason=reason, helps="side")
            for one in tensors
        ],
        [replace(one, action="conflict", side=OURS, reason=reason, counter=False) for one in parts],
    )


def _of_side(one: AnyDecision, side: int, there: bool) -> AnyDecision:
    changes: dict[str, Any] = {"action": "take" if there else "remove", "side": side, "reason": ""}
    if isinstance(one, Decision):
        changes["combination"] = None
    return replace(one, **changes, counter=False)


def _why(names: list[str]) -> str:
    what = "mean something only together" if any(map(_DESCRIPTION.search, names)) else "are one tensor"
    return f"{listed(names, _SHOWN)} {what}: take them from one side"
