"""How large files may become when they are written back: kilobytes of objects can describe terabytes."""

from __future__ import annotations

import shutil
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.manifest import Manifest
from git_theta.units import human_size

FREE = 256 << 20
"""Bytes that a file may have whatever its objects take."""

_AGAIN = "then the same again (after a clone: git restore --source=HEAD --staged --worktree :/)"


def check(manifest: Manifest, most: float, folder: Path | None) -> None:
    """Check a file before anything of it is written.

    Args:
        most: times what its objects take; 0 for no limit.
        folder: where it is written; None where it is not.

    Raises:
        ThetaError: it is larger than that, or than what is free there.
    """
    size, stored = manifest.size, sum(manifest.oids().values())
    if most and size > max(FREE, most * stored):
        raise ThetaError(
            f"it would become {human_size(size)}, and its objects take {human_size(stored)}: "
            f"more than {most:g} times as much (theta.maxExpansion)",
            f"if you trust who has made it: git config theta.maxExpansion 0, {_AGAIN}",
        )
    if folder is not None and size > FREE and size > (free := shutil.disk_usage(folder).free):
        raise ThetaError(
            f"it takes {human_size(size)}, and {folder} has room for {human_size(free)}",
            f"make room there, {_AGAIN}",
        )
