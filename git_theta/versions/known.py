"""Builds what storing needs to know in a repository about a file; see storing.known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.remotes.fetching import on_remotes
from git_theta.storing.known import Known
from git_theta.tensors import Tensor


def known(
    repository: Repository,
    recorded: Sequence[Manifest],
    related: Callable[[], Sequence[Manifest]] = tuple,
    doubts: bool = True,
) -> Known:
    """The `Known` of a file: what is stored of these manifests, here and on remotes."""
    return Known(
        recorded,
        related,
        repository.index,
        repository.objects,
        doubts=doubts,
        elsewhere=lambda objects: on_remotes(repository, objects),
        norm=_norm,
    )


def _norm(tensor: Tensor) -> float:
    from git_theta.diffs.blocks import norm_of  # only where something new is stored

    return norm_of(tensor)
