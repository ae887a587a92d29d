"""Keeps tensors: whatever is not stored yet is stored, in the way that takes the least."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

from git_theta.manifest import StorageLine
from git_theta.objects.writer import Bundle, Payload, TensorWriter
from git_theta.settings import Settings
from git_theta.storing.bases import Chain
from git_theta.storing.search_limit import Prospects
from git_theta.storing.stock import Stock
from git_theta.updates import chooser
from git_theta.updates.interface import Base, Proposal, Target
from git_theta.updates.sampling import dense_bytes


class Keeper:
    """Keeps the tensors of one checkpoint.

    Small tensors share objects. Those are written in the order in which `gather` is called, whichever
    thread has called `keep`, so that they are the same in every run.

    Attributes:
        stored_anew: whether something was not stored before.
    """

    def __init__(self, stock: Stock, writer: TensorWriter, settings: Settings) -> None:
        self.stored_anew = False
        self._ledger = stock.ledger
        self._bases = stock.bases
        self._writer = writer
        self._settings = settings
        self._claimed: set[str] = set()
        self._lock = Lock()
        self._bundle = Bundle()
        self._prospects = Prospects()

    def keep_in_turn(self, number: int, target: Target, digest: str) -> Payload | None:
        """As `keep`, for the tensors of a file, which are numbered; see Prospects.

        Whatever comes of it, `passed` is to be called then.
        """
        chains = self._chains(target)
        if not self._is_new(target, digest, chains):
            return None
        searched = self._prospects.good(number)
        bases = self._found(target, chains) if searched else []
        result = self._store(target, digest, self._ranked(target, digest, bases) if searched else ())
        update = result.member.update if isinstance(result, Payload) else result.update
        if bases and (update != "dense" or not isinstance(result, Payload)):
            self._prospects.note(number, update != "dense")
        return self._added(result)

    def passed(self, number: int) -> None:
        """Mark a numbered tensor as done though no update of it was looked for; others may wait for that."""
        self._prospects.note(number, None)

    def keep(self, target: Target, digest: str, first: Proposal | None = None) -> Payload | None:
        """Store a tensor, unless it is stored already. Thread-safe.

        Args:
            first: what to try before anything else.

        Returns:
            What is small, for `gather`.
        """
        chains = self._chains(target)
        if not self._is_new(target, digest, chains):
            return None
        return self._added(self._store(target, digest, self._proposals(target, digest, first, chains)))

    def _store(
        self, target: Target, digest: str, proposals: Iterable[tuple[Proposal, int]]
    ) -> StorageLine | Payload:
        result = self._writer.encode(target, digest, proposals)
        # Reading a chain of updates for a norm would cost far more; measured here, it adds a hundredth. To
        # storing large dense data it would add a tenth, and they are read as fast as anything.
        if isinstance(result, Payload) or result.update != "dense":
            self._ledger.measure(target, digest)
        return result

    def _added(self, result: StorageLine | Payload) -> Payload | None:
        if isinstance(result, Payload):
            return result
        self._note(result)
        return None

    def keep_computed(self, target: Target, digest: str, proposal: Proposal) -> Payload | None:
        """As `keep`, for a tensor that was computed by the very prediction that is proposed.

        It is stored by another update only where the chain would become too long.
        """
        dense = dense_bytes(target.tensor)
        if not self._bases.room(digest, proposal.bases, dense, self._settings):
            return self.keep(target, digest)
        if not self._is_new(target, digest, self._chains(target)):
            return None
        self._ledger.measure(target, digest)
        return self._writer.computed(digest, target.dtype, target.shape, proposal)

    def gather(self, payload: Payload | None) -> None:
        """Take what `keep` has returned; it is stored by the time that `finish` returns."""
        if payload is not None:
            self._bundle.add(payload)
            if self._bundle.full:
                self.finish()

    def finish(self) -> None:
        """Write what was gathered."""
        if self._bundle.payloads:
            for line in self._writer.write(self._bundle.payloads):
                self._note(line)
        self._bundle = Bundle()

    def _note(self, line: StorageLine) -> None:
        self._ledger.add(line, self._bases.lines(line.bases))

    def _chains(self, target: Target) -> list[Chain]:
        return self._bases.chains(target.name, target.dtype, target.shape)

    def _is_new(self, target: Target, digest: str, chains: Sequence[Chain]) -> bool:
        with self._lock:
            if digest in self._claimed:
                return False
            self._claimed.add(digest)
        if self._ledger.has(digest, target.tensor):
            return False
        earlier = self._bases.earlier(chains, digest)
        if earlier is not None and self._ledger.adopt(digest, earlier, target.tensor):
            return False
        self.stored_anew = True
        return True

    def _proposals(
        self, target: Target, digest: str, first: Proposal | None, chains: Sequence[Chain]
    ) -> Iterator[tuple[Proposal, int]]:
        """What to try, best first, and how many bytes each may take."""
        if first is not None:
            room = self._bases.room(digest, first.bases, dense_bytes(target.tensor), self._settings)
            if room:
                yield first, room
        yield from self._ranked(target, digest, self._found(target, chains))

    def _found(self, target: Target, chains: Sequence[Chain]) -> list[Base]:
        return list(self._bases.find(target.name, chains, self._settings.max_chain_depth))

    def _ranked(self, target: Target, digest: str, bases: list[Base]) -> Iterator[tuple[Proposal, int]]:
        ranking = chooser.rank(target, bases, deepest=self._settings.max_chain_depth)
        for proposal in ranking.proposals:
            room = self._bases.room(digest, proposal.bases, ranking.dense_bytes, self._settings)
            if room:
                yield proposal, room
