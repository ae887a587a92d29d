"""Tensors whose first dimensions differ, such as embeddings of different vocabularies."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.manifest import TensorLine
from git_theta.merges.decisions import BASE, OURS, Help, Line
from git_theta.merges.rules import Rows


def common_shape(
    shapes: Sequence[tuple[int, ...]], rows: Rows | None, ours: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The shape of the result; None where shapes differ and no policy applies."""
    if len(set(shapes)) == 1:
        return shapes[0]
    if rows is None or not all(shapes) or len({shape[1:] for shape in shapes}) > 1:
        return None
    heights = [shape[0] for shape in shapes]
    height = {"common": min(heights), "pad": max(heights), "ours": ours[0]}[rows]
    return height, *shapes[0][1:]


def longer(lines: Sequence[Line | None], sides: Sequence[int]) -> list[int]:
    """The sides that have more rows than the base; what these stand for is not the same on any two of them.

    Only rows like the base's are more of them: what differs from it in another dimension, or in the kind of
    its numbers, is another tensor as a whole.

    Args:
        lines: what all sides have, base first.
        sides: which to look at.
    """
    base = lines[BASE]
    if base is None or not base.shape:
        return []
    found = [(side, line) for side in sides if (line := lines[side]) and line.shape]
    return [
        side
        for side, line in found
        if line.dtype.kind == base.dtype.kind
        and line.shape[0] > base.shape[0]
        and line.shape[1:] == base.shape[1:]
    ]


def what_helps(lines: Sequence[Line | None], sides: Sequence[int]) -> Help:
    """What settles a conflict of these sides, by what kind of tensors they have."""
    found = [line for line in (lines[side] for side in sides) if line is not None]
    if not all(isinstance(line, TensorLine) and line.dtype.kind == "float" for line in found):
        return "side"
    changed = [side for side in sides if side >= OURS]
    if len({line.shape for line in found}) == 1 and len(longer(lines, changed)) < 2:
        return "strategy"
    alike = len({line.shape[1:] for line in found}) == 1 and all(line.shape for line in found)
    return "rows" if alike else "side"
