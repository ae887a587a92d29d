"""The 2-norms of tensors: from the local index, else computed once where the data are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from git_theta.errors import DamagedManifest
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, TensorLine
from git_theta.manifest.chains import costs
from git_theta.versions.checkpoint import Checkpoint

if TYPE_CHECKING:
    from git_theta.objects.store import LocalStore


_MOST_READS = 4
"""Stored tensors that are decoded for a norm, at most. Longer chains were measured when they were stored; a
clone does without. The rule is for each tensor alone, so that both sides of a difference get the same."""


def norms(repository: Repository | None, checkpoint: Checkpoint) -> dict[str, float]:
    """The norms of a checkpoint's stored tensors, by digest; some may be missing.

    Nothing is fetched for them.
    """
    manifest = checkpoint.manifest
    keys = {(line.digest, line.dtype.name): line for line in manifest.tensors if line.dtype.kind != "raw"}
    found = repository.index.norms(keys) if repository else {}
    lacking = [line for key, line in keys.items() if key not in found]
    if checkpoint.text is not None:
        lacking = _here(repository.store, manifest, lacking) if repository else []
    if lacking:
        new = _computed(checkpoint, lacking)
        found |= new
        if repository:
            repository.index.record_norms(new)
    return {digest: norm for (digest, _), norm in found.items()}


def _computed(checkpoint: Checkpoint, lines: Sequence[TensorLine]) -> dict[tuple[str, str], float]:
    from git_theta.diffs.norms import norms_of  # needs NumPy

    asked = (
        (line, line.dtype, line.nbytes // line.dtype.itemsize, partial(checkpoint.tensor, line))
        for line in lines
    )
    return {(line.digest, line.dtype.name): norm for line, norm in norms_of(asked) if isinstance(norm, float)}


def _here(store: LocalStore, manifest: Manifest, lines: Sequence[TensorLine]) -> list[TensorLine]:
    """Those tensors whose objects are here, and that take few objects to read."""
    found = []
    for line in lines:
        try:
            needs = costs([line.digest], manifest.storage)
        except DamagedManifest:
            continue  # it has no storage: the manifest of a file that was only looked at
        few = needs[line.digest].reads <= _MOST_READS
        if few and all(store.has(manifest.storage[digest].oid) for digest in needs):
            found.append(line)
    return found
