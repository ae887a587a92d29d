"""What there is for a tensor that is to be stored: what is stored already, and what to predict from."""

from __future__ import annotations

from dataclasses import dataclass

from git_theta.storing.bases import Bases
from git_theta.storing.ledger import Ledger


@dataclass(frozen=True)
class Stock:
    """What there is for the tensors of a path; `versions.stock` makes it, for everything that stores.

    Attributes:
        ledger: what is stored.
        bases: what to predict from.
    """

    ledger: Ledger
    bases: Bases
