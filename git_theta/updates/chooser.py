"""Chooses how to store a tensor: which update from which bases costs the least.

What an update costs is mostly its bytes. But who reads the tensor decodes the chain below, too, and a chain
that is full is of no more use: so an earlier version is the base where that takes hardly more. Versions that
follow each other become a tree of little depth by that, much as with skip deltas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.errors import DamagedObject, MissingObject, NewerObject
from git_theta.updates import registry, sampling
from git_theta.updates.checks import alike
from git_theta.updates.interface import Base, Proposal, Target, Update

if TYPE_CHECKING:
    from git_theta.updates.adapters import Guide

_NEAR = 0.03
"""A base from which a delta takes less than this part of the tensor is near enough not to look for others."""
_EXACT = 0.001
"""An update that takes less than this part of the tensor ends the search."""
_WORTH = 0.97
"""An update is worth its bases only if it takes less than this part of dense data."""
_BELOW = 0.05
"""What a byte of the chain below an update counts for, against one of the update itself."""
_LARGER = 2
"""A step that takes so many times what another one from the same tensor takes leads away from it."""

_CHEAPEST_FIRST = ("rows", "cast", "scale", "combine", "low-rank")
"""Kinds by what their search costs."""
_SMALL = 32 << 10
"""Bytes of a tensor below which nothing is looked at: a delta is made, and taken if it is the smaller."""
_LOOKS = 7
"""Bases that are looked at, at most."""


@dataclass(frozen=True)
class Ranking:
    """What may be tried for a tensor.

    Attributes:
        proposals: by estimated price, dense last.
        dense_bytes: what dense data would take, estimated.
    """

    proposals: tuple[Proposal, ...]
    dense_bytes: int


def rank(target: Target, bases: Sequence[Base], guide: Guide | None = None, deepest: int = 10) -> Ranking:
    """The updates that would take less than dense data, by samples. Deterministic.

    Args:
        bases: likeliest first: the newest version of each side, then earlier ones, newest first, then
            tensors of other checkpoints. Those that are alike the target are sampled for the nearest.
        guide: what an adapter that was applied says about this tensor; then nothing else is searched for.
        deepest: updates that a chain may have.
    """

    def price(estimate: tuple[int, Proposal]) -> float:
        return _price(*estimate, deepest)

    nbytes = target.dtype.nbytes(target.shape)
    dense = sampling.dense_bytes(target.tensor)
    if 0 < nbytes < _SMALL and guide is None and (near := alike(target, bases)):
        return Ranking((_unseen(near, deepest), Proposal("dense", ())), dense)
    target, kept = sampling.with_samples(target, bases)
    found = sorted(_nearest(target, alike(target, kept), dense, deepest), key=price)
    near = [proposal.bases[0] for _, proposal in found]
    if guide is not None and near:
        found += _estimates(lambda target, bases: guide.propose(target, bases[0]), target, near)
    else:
        enough = min(map(_bytes, found), default=dense) < _NEAR * nbytes
        ordered = near if enough else [*near, *(base for base in kept if base not in near)]
        for name in dict.fromkeys((*_CHEAPEST_FIRST, *registry.names())):
            if min(map(_bytes, found), default=dense) <= _EXACT * nbytes:
                break
            kind = registry.usable(name) if name not in ("dense", "delta") else None
            if kind is not None:
                found += _of_kind(kind, target, ordered)
    found = sorted((one for one in found if one[0] < _WORTH * dense), key=price)
    return Ranking((*(proposal for _, proposal in found), Proposal("dense", ())), dense)


def _price(size: int, proposal: Proposal, deepest: int) -> float:
    """What an update of this many bytes costs, in bytes of one on dense data.

    The more updates lie below, the fewer can follow; the last one that a chain has room for is the dearest.
    """
    depth = max((base.depth for base in proposal.bases), default=0)
    below = max((base.chain for base in proposal.bases), default=0)
    return (size + _BELOW * below) * deepest / max(1, deepest - depth)


def _unseen(bases: Sequence[Base], deepest: int) -> Proposal:
    """A delta from the newest base; where half of its chain is used up, from the one that it begins with."""
    newest = bases[0]
    low = newest if 2 * newest.depth < deepest else min(bases, key=lambda base: base.depth)
    return Proposal("delta", (low,))


def _nearest(target: Target, bases: Sequence[Base], dense: int, deepest: int) -> list[tuple[int, Proposal]]:
    """Deltas from the bases that are worth a look, with estimates."""
    nbytes, last = target.dtype.nbytes(target.shape), len(bases) - 1
    sizes: dict[int, int] = {}
    found: list[tuple[int, Proposal]] = []
    # The last one costs least to look at: those before are decoded from it.
    pending, looked = [last, 0, *range(1, last if last < _LOOKS else 2)], set[int]()
    while pending and len(looked) < _LOOKS:
        number = pending.pop(0)
        if 0 <= number <= last and number not in looked:
            looked.add(number)
            for size, proposal in _estimates(registry.by_name("delta").propose, target, [bases[number]]):
                sizes[number] = size
                found.append((size, proposal))
            if number == last and sizes.get(last, dense) < _NEAR * nbytes:
                looked |= _farther(bases, sizes[last])
        if not sizes:
            continue
        best = min(sizes.values())
        nearest = bases[min(sizes, key=lambda number: sizes[number])]
        near = best < _NEAR * nbytes and number != last and 2 * nearest.depth < deepest
        if near or (best > _WORTH * dense and not pending):
            break
        if not pending:
            pending = [number for number in _between(sizes) if number not in looked]
    return found


def _farther(bases: Sequence[Base], size: int) -> set[int]:
    """Versions that need no look, because the last one is nearer.

    They took much larger steps from there than the target does, or follow such versions.

    Args:
        size: estimated bytes of a delta from the last one.
    """
    far: dict[str, int] = {}
    for number in reversed(range(len(bases) - 1)):
        base = bases[number]
        step = base.of == (bases[-1].digest,) and base.stored > _LARGER * size
        if step or not far.keys().isdisjoint(base.of):
            far[base.digest] = number
    return set(far.values())


def _between(sizes: Mapping[int, int]) -> tuple[int, int]:
    """The versions half-way from the nearest one so far to those looked at before and after it."""
    best = min(sizes, key=lambda number: sizes[number])
    before = max((number for number in sizes if number < best), default=best)
    after = min((number for number in sizes if number > best), default=best)
    return (best + before) // 2, (best + after + 1) // 2


def _estimates(
    propose: Callable[[Target, Sequence[Base]], Iterable[Proposal]], target: Target, bases: Sequence[Base]
) -> list[tuple[int, Proposal]]:
    """Proposals with estimates; none from bases that cannot be read."""
    try:
        return [(sampling.estimate(proposal, target), proposal) for proposal in propose(target, bases)]
    except (DamagedObject, MissingObject):
        return []


def _of_kind(kind: Update, target: Target, bases: Sequence[Base]) -> list[tuple[int, Proposal]]:
    """What a kind proposes, with estimates; nothing where it is of a package that is broken."""
    try:
        with registry.calling(kind):
            return _estimates(kind.propose, target, bases)
    except NewerObject:
        return []


def _bytes(estimate: tuple[int, Proposal]) -> int:
    return estimate[0]
