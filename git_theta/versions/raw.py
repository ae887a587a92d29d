"""Checkpoints that Git has as they are, under a pattern that git-theta tracks.

They were committed where git-theta was not installed, or before the pattern was tracked.
"""

from __future__ import annotations

from git_theta.git.blobs import Blob, find_manifests, in_index
from git_theta.git.repository import Repository
from git_theta.versions import misplaced
from git_theta.versions.recorded import ATTRIBUTED


def raw_in_index(repository: Repository) -> list[Blob]:
    """Those in the index."""
    blobs = in_index(repository, ATTRIBUTED)
    known = {blob for blob, _ in find_manifests(repository, blobs)}
    known |= {blob for blob, _ in misplaced.find(repository, (blob for blob in blobs if blob not in known))}
    return [blob for blob in blobs if blob.size and blob not in known]
