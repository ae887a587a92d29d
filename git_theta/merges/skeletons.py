"""Decides what a merge does with the skeleton: the bytes around the tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from git_theta.checkpoints import registry
from git_theta.checkpoints.registry import OPAQUE
from git_theta.checkpoints.remainder import WHOLE, Remainder
from git_theta.manifest import Manifest, View
from git_theta.merges.decisions import BASE, OURS, Decision, PartDecision, SkeletonDecision
from git_theta.merges.remainders import bound, expected
from git_theta.terminal.units import joined


def like_side(manifests: Sequence[Manifest | None], pathname: str, preferred: int | None = None) -> int:
    """Choose the side whose format a file written anew gets: the one that fits its name, else ours.

    Args:
        pathname: of the file.
        preferred: the side that is taken where several have changed something; ours unless given.
    """
    base = manifests[BASE]
    like = OURS
    chosen = manifests[preferred] if preferred is not None and preferred != BASE else None
    if preferred is not None and chosen is not None and (base is None or chosen.skeleton != base.skeleton):
        like = preferred
    formats = {side: one.format for side, one in enumerate(manifests) if one is not None and side != BASE}
    if len(set(formats.values())) == 1:
        return like
    order = sorted(formats, key=lambda side: side != like)
    return next((side for side in order if is_named_for(formats[side], pathname)), like)


def is_named_for(name: str, pathname: str) -> bool:
    """Whether a path has a suffix of this format."""
    return name != OPAQUE and pathname.lower().endswith(registry.by_name(name).suffixes)


def decide_skeleton(
    manifests: Sequence[Manifest | None],
    decisions: Sequence[Decision],
    parts: Sequence[PartDecision],
    remainders: Sequence[Remainder | None],
    labels: Sequence[str],
    like: int,
) -> SkeletonDecision:
    """A skeleton that the result's tensors fit into, with its parts; else that of a file written anew.

    Args:
        manifests: of all sides, base first.
        decisions: about their tensors.
        parts, remainders: the same about everything else, and what that is.
        labels: what the sides are called.
        like: the side that a file written anew is like.
    """
    base, ours = manifests[BASE], manifests[OURS]
    assert ours is not None
    known = [manifest for manifest in manifests if manifest is not None]
    if OPAQUE in {manifest.format for manifest in known} and len({one.format for one in known}) > 1:
        found = joined(
            [
                f"{label}: {one.format}"
                for label, one in zip(labels, manifests, strict=True)
                if one is not None
            ]
        )
        return SkeletonDecision("conflict", reason=f"the file is no checkpoint on some side ({found})")
    result = _layout_of_result(decisions)
    wanted = expected(parts, remainders), bound(decisions, remainders)
    changed = [side for side, one in enumerate(manifests) if one and base and one.skeleton != base.skeleton]
    # What is no tensor in a file of a format that says nothing about parts is as on one side, or new.
    like = next((part.side for part in parts if part.name == WHOLE), like)
    model = manifests[like] or ours
    candidates = [like]
    if base is not None and ours.skeleton == base.skeleton:
        candidates = [*changed[:1], OURS]
    candidates += [side for side, one in enumerate(manifests) if one is not None]
    for side in dict.fromkeys(candidates):
        manifest, remainder = manifests[side], remainders[side]
        assert manifest is not None
        assert remainder is not None
        fits = manifest.format == model.format and _layout_of(manifest) == result
        if fits and (remainder.parts, remainder.bound) == wanted:
            return SkeletonDecision("take", side)
    return SkeletonDecision("write", like)


def _layout_of(manifest: Manifest) -> set[object]:
    tensors: set[object] = {(line.name, line.dtype, line.shape) for line in manifest.tensors}
    return tensors | set(manifest.views)


def _layout_of_result(decisions: Sequence[Decision]) -> set[object]:
    found: set[object] = set()
    for decision in decisions:
        line = decision.line
        if isinstance(line, View):
            found.add(replace(line, name=decision.name, of=decision.of))
        elif decision.form is not None:
            found.add((decision.name, *decision.form))
    return found
