"""How many tensors of a checkpoint changed, in the words that every command has for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from git_theta.diffs.matching import STATUSES, Matching, Status
from git_theta.terminal.units import counted


@dataclass(frozen=True)
class Amount:
    """How many tensors have changed in which way.

    Attributes:
        counts: tensors by status, none of which is 0.
        everything: tensors of both sides, those that did not change too.
        only: the pattern that all of these match, or "".
    """

    counts: dict[Status, int]
    everything: int
    only: str = ""

    @property
    def changed(self) -> int:
        return sum(self.counts.values())

    def text(self) -> str:
        """ "48 of 290 tensors changed"; with more than new values, "(46 modified, 2 added)" too."""
        some = f" like {self.only}" if self.only else ""
        words = f"{self.changed} of {counted(self.everything, 'tensor')}{some} changed"
        parts = [f"{self.counts[status]} {status}" for status in STATUSES if status in self.counts]
        return f"{words} ({', '.join(parts)})" if self.counts.keys() - {"modified"} else words

    def record(self) -> dict[str, object]:
        """For --json."""
        return {"changed": self.changed, **{status: self.counts.get(status, 0) for status in STATUSES}}


def amount(statuses: Iterable[Status], everything: int, only: str = "") -> Amount:
    """Count tensors that differ."""
    return Amount(dict(Counter(statuses)), everything, only)


def amount_of(matching: Matching) -> Amount:
    return amount((found.status for found in matching.matches), matching.everything)
