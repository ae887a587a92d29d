"""Chains of updates: which storage lines a tensor needs, and what reading it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from git_theta.errors import DamagedManifest

if TYPE_CHECKING:
    from git_theta.manifest.lines import StorageLine

DEEPEST = 64
"""Updates between a tensor and dense data, at most. Configuration asks for far fewer."""
MOST_READS = 1024
"""Stored tensors that are decoded to read one, at most: where an update has several bases, and they have
several again, this grows much faster than the depth."""


class Cost(NamedTuple):
    """What reading a tensor costs.

    Attributes:
        depth: updates between the tensor and dense data; 0 for a dense one.
        reads: stored tensors that are decoded, itself included; a base needed twice counts twice.
    """

    depth: int
    reads: int


_DENSE = Cost(0, 1)


def cost_of(bases: Iterable[Cost]) -> Cost:
    """The cost of a tensor with these bases."""
    depth, reads = 0, 1
    for below, more in bases:
        reads += more
        if below >= depth:
            depth = below + 1
    return Cost(depth, reads)


def closure(digests: Iterable[str], storage: Mapping[str, StorageLine]) -> dict[str, StorageLine]:
    """The storage lines of these digests and of all their bases.

    Raises:
        DamagedManifest: a line is missing, or a chain of bases is too long or runs in a circle.
    """
    return {digest: storage[digest] for digest in costs(digests, storage)}


def costs(digests: Iterable[str], storage: Mapping[str, StorageLine]) -> dict[str, Cost]:
    """The costs of these digests and of all their bases, bases first.

    Raises:
        DamagedManifest: as for `closure`.
    """
    found: dict[str, Cost] = {}
    wanted = list(digests)
    if all(digest in storage and not storage[digest].bases for digest in wanted):
        return dict.fromkeys(wanted, _DENSE)
    path: set[str] = set()
    stack = [(digest, False) for digest in wanted]
    while stack:
        digest, leaving = stack.pop()
        if digest in found:
            continue
        line = storage.get(digest)
        if line is None:
            raise DamagedManifest(f"no storage line for {digest[:12]}")
        if leaving:
            path.discard(digest)
            found[digest] = _checked(digest, cost_of([found[base] for base in line.bases]))
            continue
        if digest in path:
            raise DamagedManifest(f"the updates of {digest[:12]} lead back to itself")
        path.add(digest)
        stack.append((digest, True))
        stack.extend((base, False) for base in line.bases)
    return found


def room(
    bases: Sequence[str],
    storage: Mapping[str, StorageLine],
    stored: Callable[[StorageLine], int],
    dense_bytes: int,
    ratio: float,
) -> int:
    """Bytes that an update may take, for its chain to take no more than `ratio` dense copies.

    The chain's bytes are those along its heaviest path: a mean of two fine-tunes is no longer a chain than
    either; how much has to be decoded in all is bounded by the number of reads. A dense copy is the tensor's
    own or the dense data that the chain begins with, whichever is more: a bfloat16 release of float32 weights
    takes less than what it is predicted from.

    Args:
        bases: what the update would predict from.
        stored: bytes that a storage line's data take.
        dense_bytes: what the tensor would take as dense data; the update may take no more.

    Raises:
        DamagedManifest: as for `closure`.
    """
    weights: dict[str, int] = {}
    copy = dense_bytes
    for digest in costs(bases, storage):
        line = storage[digest]
        own = stored(line)
        weights[digest] = own + max((weights[base] for base in line.bases), default=0)
        if not line.bases:
            copy = max(copy, own)
    heaviest = max((weights[base] for base in bases), default=0)
    return max(0, min(dense_bytes, int(ratio * copy) - heaviest))


def merged(sources: Iterable[tuple[str, Mapping[str, StorageLine]]]) -> dict[str, StorageLine]:
    """The lines of these digests and of their bases, each pair's from its own source.

    Where sources differ, the line that costs the fewest reads in its source is taken. Reads fall with every
    step along a chain, whichever sources the steps come from: so there are no circles, and no tensor costs
    more than it did in its source.
    """
    found: dict[str, tuple[int, StorageLine]] = {}
    for digest, lines in sources:
        for key, cost in costs([digest], lines).items():
            if key not in found or cost.reads < found[key][0]:
                found[key] = cost.reads, lines[key]
    return {digest: line for digest, (_, line) in found.items()}


def met_again(wanted: Iterable[tuple[Iterable[str], Mapping[str, StorageLine]]]) -> set[str]:
    """The places (StorageLine.place) that reading all these decodes more than once, bases' among them.

    Args:
        wanted: digests, and storage lines for them and all their bases.

    Raises:
        DamagedManifest: as for `closure`.
    """
    bases: dict[str, list[str]] = {}
    uses: Counter[str] = Counter()
    for digests, storage in wanted:
        needed = closure(set(digests), storage)
        uses.update(needed[digest].place for digest in set(digests))
        bases |= {line.place: [needed[base].place for base in line.bases] for line in needed.values()}
    for places in bases.values():
        uses.update(places)
    return {place for place, times in uses.items() if times > 1}


def _checked(digest: str, cost: Cost) -> Cost:
    if cost.depth > DEEPEST or cost.reads > MOST_READS:
        raise DamagedManifest(
            f"the chain of {digest[:12]} has {cost.depth} updates and reads {cost.reads} tensors; "
            f"{DEEPEST} and {MOST_READS} at most are allowed"
        )
    return cost
