"""What becomes of the parts of a checkpoint that are no tensors: one decision for each, as for tensors.

What one side changed is taken; what several changed differently is a conflict, unless a strategy takes a
side. What is only noise where several have changed it, such as the time of saving, is as in ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from git_theta.checkpoints import registry
from git_theta.checkpoints.registry import OPAQUE
from git_theta.checkpoints.remainder import WHOLE, Divisible, Remainder, undivided
from git_theta.errors import DamagedCheckpoint
from git_theta.filters import skeleton
from git_theta.manifest import Manifest
from git_theta.merges.bookkeeping import TrainerState, is_counter
from git_theta.merges.decisions import BASE, OURS, THEIRS, Decision, PartDecision, State, state_of
from git_theta.merges.named_sides import side_number
from git_theta.merges.rules import Choice, Rules
from git_theta.objects.reader import Objects
from git_theta.terminal.units import joined

SIDES = {"base": BASE, "ours": OURS, "theirs": THEIRS}
"""What strategies like `ours` take, where there are two sides."""

_OF_FORMATS = re.compile(r"__metadata__\.format\Z|(?:.*\.)?_metadata\.")
"""What safetensors and torch note in files about the file itself."""

_NOISE = re.compile(
    r"(?:.*[._-])?(?:version|timestamp|date|datetime|created_at|saved_at|updated_at|modified_at)",
    re.IGNORECASE,
)


def read_remainder(manifest: Manifest, objects: Objects) -> Remainder:
    """What a file holds besides tensors. Raises as filters.skeleton.read does."""
    found = undivided(manifest.skeleton)
    if manifest.format == OPAQUE:
        return found
    checkpoint_format = registry.by_name(manifest.format)
    if not isinstance(checkpoint_format, Divisible):
        return found
    _, between = skeleton.pieces(manifest, skeleton.read(manifest, objects))
    try:
        return checkpoint_format.remainder(bytes(between))
    except DamagedCheckpoint:
        return found


def decide_parts(
    manifests: Sequence[Manifest | None],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    rules: Rules,
    tensors: Collection[str],
    like: int,
    trainer: TrainerState,
) -> tuple[PartDecision, ...]:
    """Decide on every part of every side.

    Args:
        remainders: of all sides, base first.
        tensors: names of those that the result has.
        like: the side whose format the result has.
        trainer: what is decided together.
    """
    names = sorted({name for one in remainders if one is not None for name in one.parts})
    formats = [one.format if one is not None else "" for one in manifests]
    decided = [_decided(name, remainders, labels, rules, trainer) for name in names]
    decided = [_of_format(one, formats, remainders, rules, like) for one in decided]
    return with_containers(decided, remainders, tensors, of_format(manifests, like))


def of_format(manifests: Sequence[Manifest | None], like: int) -> list[int]:
    """The sides whose files are of the same format as this one's, ours first, base last."""
    formats = [one.format if one is not None else "" for one in manifests]
    found = [side for side, one in enumerate(formats) if one == formats[like]]
    return sorted(found, key=lambda side: (side == BASE, side))


def _of_format(
    part: PartDecision,
    formats: Sequence[str],
    remainders: Sequence[Remainder | None],
    rules: Rules,
    like: int,
) -> PartDecision:
    """Adapt the decision on a part to the result's format, which may be unable to hold it.

    What says how the other format holds tensors is left out; what somebody put there is a conflict.
    """
    there, here = remainders[part.side], remainders[like]
    if formats[part.side] == formats[like] or there is None or here is None or part.name not in there.parts:
        return part
    if here.parts.get(part.name) == there.parts[part.name]:
        return replace(part, side=like)
    technical = part.name in there.containers or part.name in there.flags or _OF_FORMATS.match(part.name)
    if technical or part.name == WHOLE:
        return replace(part, action="take" if part.name in here.parts else "remove", side=like, reason="")
    choice = rules.choose(part.name)
    takes = SIDES.get(choice.strategy.takes or "") if choice is not None else None
    if takes is not None and choice is not None and (choice.explicit or formats[takes] == formats[like]):
        return replace(part, action="remove", side=like)
    reason = f"a {formats[like]} file cannot hold what a {formats[part.side]} file has here"
    return replace(part, action="conflict", side=like, reason=f"no tensor: {reason}: each side leaves it out")


def with_containers(
    decisions: Sequence[PartDecision],
    remainders: Sequence[Remainder | None],
    tensors: Collection[str],
    sides: Sequence[int],
) -> tuple[PartDecision, ...]:
    """The decisions where containers stay while something is in them, and flags go with their tensors.

    Args:
        sides: those from which a container can be.
    """
    kept = {one.name for one in decisions if _side_has(remainders, one.side, one.name)}
    prefixes = {
        name: prefix for one in remainders if one is not None for name, prefix in one.containers.items()
    }
    described = {name: tensor for one in remainders if one is not None for name, tensor in one.flags.items()}
    held = {*tensors, *kept}
    found = []
    for one in decisions:
        if one.name in described and one.name in kept and described[one.name] not in tensors:
            nowhere = _side_without(remainders, one.name)
            one = replace(one, action="remove", side=nowhere, reason="") if nowhere is not None else one
        elif one.name in prefixes and one.name not in kept:
            prefix = prefixes[one.name]
            if any(name.startswith(prefix) and name != one.name for name in held):
                having = [side for side in sides if _side_has(remainders, side, one.name)]
                one = replace(one, action="take", side=having[0], reason="") if having else one
        found.append(one)
    return tuple(found)


def side_taken(choice: Choice, changed: Sequence[int], values: Sequence[object]) -> int | None:
    """The side that a strategy like `ours` takes; None if that is not clear."""
    if (side := side_number(choice.strategy.takes)) is not None:
        return side
    if choice.strategy.takes == "base":
        return BASE
    if choice.strategy.takes == "ours":
        return OURS
    others = [side for side in changed if side != OURS]
    if choice.one_sided == "combine" and len(values) == len(SIDES):
        return THEIRS
    return others[0] if len({values[side] for side in others}) == 1 else None


def takes_all(choice: Choice | None, values: Sequence[object]) -> bool:
    """Whether a choice is for every tensor, also those that only one side has changed."""
    return choice is not None and choice.one_sided == "combine" and None not in values


def expected(parts: Sequence[PartDecision], remainders: Sequence[Remainder | None]) -> Mapping[str, str]:
    """The parts that the merged file must have, to check it by."""
    found = {}
    for one in parts:
        there = remainders[one.side]
        if there is not None and one.name in there.parts:
            found[one.name] = there.parts[one.name]
    return found


def bound(decisions: Sequence[Decision], remainders: Sequence[Remainder | None]) -> Mapping[str, str]:
    """The descriptions that bytes of the result's tensors need to mean anything, such as a scale of codes."""
    found = {}
    for one in decisions:
        line, there = one.line, remainders[one.side]
        if line is not None and there is not None and line.name in there.bound:
            found[one.name] = there.bound[line.name]
    return found


def _decided(
    name: str,
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    rules: Rules,
    trainer: TrainerState,
) -> PartDecision:
    parts = [one.parts.get(name) if one is not None else None for one in remainders]
    noted = trainer.values(name)
    values = noted or parts
    changed = [side for side in range(OURS, len(values)) if values[side] != values[BASE]]
    alike = len({values[side] for side in changed}) == 1
    state = state_of(parts, changed, alike)
    if not changed:
        return PartDecision(name, "take", state)
    choice = rules.choose(name)
    everything = takes_all(choice, parts)
    if alike and not (everything and len(changed) < len(values) - 1):
        return _taken(name, state, parts, changed[0])
    if choice is not None and choice.strategy.takes:
        side = side_taken(choice, changed, values)
        if side is not None:
            return _taken(name, state, parts, side)
    if alike:
        return _taken(name, state, parts, changed[0])
    if noted or is_counter(name):
        return replace(_taken(name, state, parts, OURS), counter=True)
    if _NOISE.fullmatch(name):
        return _taken(name, state, parts, OURS)
    return PartDecision(name, "conflict", state, reason=_reason(name, parts, changed, remainders, labels))


def _taken(name: str, state: State, values: Sequence[str | None], side: int) -> PartDecision:
    if values[side] is None:
        return PartDecision(name, "remove", state, side)
    return PartDecision(name, "take" if values[BASE] is not None else "add", state, side)


def _reason(
    name: str,
    values: Sequence[str | None],
    changed: Sequence[int],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
) -> str:
    words = []
    for side in changed:
        there = remainders[side]
        shown = there.shown.get(name) if there is not None else None
        words.append(labels[side] + (f" ({shown})" if shown is not None else ""))
    removed = [labels[side] for side in changed if values[side] is None]
    if removed:
        others = [word for word, side in zip(words, changed, strict=True) if values[side] is not None]
        return f"no tensor: removed by {joined(removed)}, changed by {joined(others)}"
    return f"no tensor: {'changed' if values[BASE] is not None else 'added'} differently by {joined(words)}"


def _side_has(remainders: Sequence[Remainder | None], side: int, name: str) -> bool:
    there = remainders[side]
    return there is not None and name in there.parts


def _side_without(remainders: Sequence[Remainder | None], name: str) -> int | None:
    return next((side for side in range(len(remainders)) if not _side_has(remainders, side, name)), None)
