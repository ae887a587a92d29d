"""What becomes of the bytes around the tensors."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.checkpoints.registry import OPAQUE
from git_theta.manifest import Manifest, ViewLine
from git_theta.merges.decisions import BASE, OURS, THEIRS, Decision, SkeletonDecision, listed


def decide_skeleton(
    manifests: Sequence[Manifest | None],
    decisions: Sequence[Decision],
    labels: Sequence[str],
    preferred: int | None = None,
) -> SkeletonDecision:
    """A skeleton that the result's tensors fit into: theirs where only they changed it, else ours.

    Args:
        manifests: of all sides, base first.
        decisions: about their tensors.
        labels: what the sides are called.
        preferred: the side whose skeleton is taken where several changed it; ours unless given.
    """
    base, ours = manifests[BASE], manifests[OURS]
    assert ours is not None
    known = [manifest for manifest in manifests if manifest is not None]
    if OPAQUE in {manifest.format for manifest in known} and len({one.format for one in known}) > 1:
        found = listed(
            [
                f"{label}: {one.format}"
                for label, one in zip(labels, manifests, strict=True)
                if one is not None
            ]
        )
        return SkeletonDecision("conflict", reason=f"the file is no checkpoint on some side ({found})")
    result = _layout_of_result(decisions)
    changed = [side for side, one in enumerate(manifests) if one and base and one.skeleton != base.skeleton]
    like = THEIRS if preferred == THEIRS and (base is None or THEIRS in changed) else OURS
    model = manifests[like] or ours
    candidates = [like]
    if base is not None and ours.skeleton == base.skeleton:
        candidates = [*changed[:1], OURS]
    # Where only the tensors' sizes differ (opaque files), others have the same skeleton.
    candidates += [side for side, one in enumerate(manifests) if one and one.skeleton == model.skeleton]
    for side in candidates:
        manifest = manifests[side]
        assert manifest is not None
        if manifest.format == model.format and _layout_of(manifest) == result:
            return SkeletonDecision("take", side)
    return SkeletonDecision("write", like)


def _layout_of(manifest: Manifest) -> set[object]:
    tensors: set[object] = {(line.name, line.dtype, line.shape) for line in manifest.tensors}
    return tensors | {(v.name, v.of, v.dtype, v.shape, v.offset, v.strides) for v in manifest.views}


def _layout_of_result(decisions: Sequence[Decision]) -> set[object]:
    found: set[object] = set()
    for decision in decisions:
        line = decision.line
        if isinstance(line, ViewLine):
            found.add((decision.name, decision.of, line.dtype, line.shape, line.offset, line.strides))
        elif decision.form is not None:
            found.add((decision.name, *decision.form))
    return found
