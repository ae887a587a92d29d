"""Checkpoints that Git has as they are, under a pattern that git-theta tracks.

They were committed where git-theta was not installed, or before the pattern was tracked.
"""

from __future__ import annotations

import os

from git_theta.git.blobs import Blob, find_manifests, sizes
from git_theta.git.recorded import ATTRIBUTED
from git_theta.git.repository import Repository

_MODES = ("100644", "100755")


def raw_in_index(repository: Repository) -> list[Blob]:
    """Those in the index."""
    listed = repository.run("ls-files", "-s", "-z", "--full-name", "--", ATTRIBUTED).stdout
    found = []
    for row in listed.split(b"\0")[:-1]:
        head, _, path = row.partition(b"\t")
        mode, oid, _ = head.decode().split()
        if mode in _MODES:
            found.append((oid, os.fsdecode(path)))
    blobs = sizes(repository, found)
    stored = {blob for blob, _ in find_manifests(repository, blobs)}
    return [blob for blob in blobs if blob.size and blob not in stored]
