"""Equal tensors are one tensor: what is the same on every side that has both stays the same in the result.

Tied embeddings are often saved twice, under two names, and some sides have one of the names alone. Formats
with views say that they are one; elsewhere it shows in that they are equal. What becomes of the one that more
sides have becomes of the other, unless a rule says otherwise for it. Tensors as they were initialised (all 0,
all 1, and so on) are equal by chance, as codes may be: of these only names can tell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from blake3 import blake3

from git_theta.manifest import TensorLine
from git_theta.merges.decisions import BASE, OURS, Decision
from git_theta.values import from_float

Vector = tuple[TensorLine | None, ...]
"""What each side has, without names."""

_TIED = re.compile(
    r"emb|wte|lm_head|shared|tok_|word_|output|logits|decoder|proj_out|generator|classifier|(?:^|[./_:])head",
    re.IGNORECASE,
)
"""In names of embeddings, and of the heads that are tied to them."""

_LIKELY = (*map(float, range(17)), 0.5, 0.25, 0.2, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
"""Numbers that parameters start from, the commonest first; their negatives are rare."""

_STEP = 1 << 20


def keep_equal(decisions: dict[str, Decision], ruled: Callable[[Decision, Decision], bool]) -> None:
    """Let what is equal become the same.

    Args:
        decisions: about all tensors, by common name; changed here.
        ruled: whether a rule says something for the first tensor that it does not say for the second one.
    """
    vectors = {key: found for key, one in decisions.items() if (found := _vector(one)) is not None}
    leaders: dict[Vector, str] = {}
    for key in sorted(vectors):
        leader = leaders.setdefault(vectors[key], key)
        one, first = decisions[key], decisions[leader]
        if leader != key and one.combination and one.combination == first.combination:
            decisions[key] = replace(one, same_as=first.name)
    by_value: dict[tuple[int, TensorLine], list[str]] = defaultdict(list)
    for vector, key in leaders.items():
        for side, value in enumerate(vector):
            if value is not None:
                by_value[side, value].append(key)
    for key, vector in vectors.items():
        leader_key = _leader(key, vector, vectors, by_value) if None in vector else None
        if leader_key is not None and not ruled(decisions[key], decisions[leader_key]):
            decisions[key] = _following(decisions[key], decisions[leader_key])


def _leader(
    key: str,
    vector: Vector,
    vectors: Mapping[str, Vector],
    by_value: Mapping[tuple[int, TensorLine], list[str]],
) -> str | None:
    """The tensor that this one is a copy of: equal on all sides that have both, and on more sides."""
    side, value = next((side, value) for side, value in enumerate(vector) if value is not None)
    found = [
        other
        for other in by_value[side, value]
        if _stands_for(vectors[other], vector) and not _by_chance(key, other, vector)
    ]
    return min(found, key=lambda other: (vectors[other].count(None), other), default=None)


def _stands_for(other: Vector, vector: Vector) -> bool:
    """Whether one tensor equals another on all sides that have the other, and exists on more sides."""
    same = all(value is None or value == more for value, more in zip(vector, other, strict=True))
    return same and other.count(None) < vector.count(None)


def _by_chance(key: str, other: str, vector: Vector) -> bool:
    """Whether two tensors may be equal without being one; of what some side has removed, only names tell."""
    if _TIED.search(key) and _TIED.search(other):
        return False
    return vector[BASE] is not None or all(value is None or _says_nothing(value) for value in vector)


def _says_nothing(line: TensorLine) -> bool:
    if line.dtype.kind != "float" or line.dtype.itemsize == 1 or len(line.shape) == 0:
        return True
    return line.nbytes == line.dtype.itemsize or _is_constant(line)


def _following(decision: Decision, leader: Decision) -> Decision:
    """The decision for a copy, after that of its leader; its own sides say whether it is there at all."""
    there = [line is not None for line in decision.lines]
    changed = [side for side in range(OURS, len(there)) if there[side] != there[BASE]]
    if changed and there[BASE]:
        return replace(decision, action="remove", side=changed[0], combination=None, reason="")
    if decision.action == "remove" or leader.action == "remove":
        return decision
    plain = replace(decision, action="take" if there[BASE] else "add", combination=None, reason="")
    if shared := leader.shared(plain):
        return shared
    if decision.lines[leader.side] is not None:
        return replace(plain, side=leader.side)
    return replace(plain, side=leader.side, copied=leader.line)


def _vector(decision: Decision) -> Vector | None:
    """The lines of a tensor on all sides, to be compared; None for views and factors, which are no copies."""
    if decision.product is not None:
        return None
    values = []
    for line in decision.lines:
        if line is not None and not isinstance(line, TensorLine):
            return None
        values.append(line and replace(line, name=""))
    return tuple(values)


def _is_constant(line: TensorLine) -> bool:
    """Whether all entries are one number that parameters start from."""
    numbers = _LIKELY if line.nbytes <= _STEP else _LIKELY[:2]
    patterns = from_float(np.array(numbers), line.dtype)
    return any(line.digest == _digest_of(pattern.tobytes(), line.nbytes) for pattern in patterns)


def _digest_of(pattern: bytes, nbytes: int) -> str:
    """The digest of so many bytes of a pattern."""
    digest = blake3()
    block = pattern * (_STEP // len(pattern))
    for start in range(0, nbytes, len(block)):
        digest.update(block[: nbytes - start])
    return digest.hexdigest()
