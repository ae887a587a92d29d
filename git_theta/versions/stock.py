"""What a repository has for the tensors of a file that are to be stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.remotes.fetching import on_remotes
from git_theta.storing.bases import Bases
from git_theta.storing.ledger import Ledger
from git_theta.storing.stock import Stock
from git_theta.tensors import Tensor


def stock(
    repository: Repository,
    recorded: Sequence[Manifest],
    related: Callable[[], Sequence[Manifest]] = tuple,
    doubts: bool = True,
) -> Stock:
    """What is stored of a file, and what to predict it from; see Ledger and Bases."""
    ledger = Ledger(
        recorded,
        repository.index,
        repository.objects,
        doubts=doubts,
        elsewhere=lambda objects: on_remotes(repository, objects),
        norm=_norm,
    )
    return Stock(ledger, Bases(recorded, related, repository.objects))


def _norm(tensor: Tensor) -> float:
    from git_theta.diffs.blocks import norm_of  # only where something new is stored

    return norm_of(tensor)
