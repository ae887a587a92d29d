"""A difference as a patch of manifests, for `git apply`: what Git would have written without us.

Our tables are for people. Where the output of `git diff` does not go to a terminal, somebody may keep it, and
take the work tree back for what is in it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from git_theta import manifest as manifests
from git_theta.errors import ThetaError
from git_theta.filters.content import Content
from git_theta.git.callers import Caller
from git_theta.git.places import SUBMODULE, SYMLINK, Place, link_target
from git_theta.git.repository import Repository

_DIFF = (
    *("git", "diff", "--no-index", "--no-prefix", "--full-index"),
    *("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
)
_EXECUTABLE = "100755"
_MOVED = ("similarity ", "dissimilarity ", "rename ", "copy ")


def patch(repository: Repository, old: Place, new: Place, header: Sequence[str], caller: Caller) -> bytes:
    """The patch from one place to another. What the work tree has is stored.

    Args:
        header: lines that git says about the two, of renames for one.

    Raises:
        ThetaError: what the work tree has cannot be stored.
    """
    sides = [(side, _bytes(repository, side, caller)) for side in (old, new)]
    texts = [data for side, data in sides if data is not None and side.mode != SYMLINK]
    options = ["--text"] if all(map(manifests.is_manifest, texts)) else ["--binary"]
    with TemporaryDirectory(prefix="git-theta-") as folder:
        names = [_laid(Path(folder), letter, *side) for letter, side in zip("ab", sides, strict=True)]
        done = subprocess.run(
            [*_DIFF, *options, "--", *names],
            cwd=folder,
            env={**os.environ, "GIT_DIR": os.devnull},
            capture_output=True,
        )
    lines = done.stdout.splitlines(keepends=True)
    moved = [os.fsencode(f"{line}\n") for line in header if line.startswith(_MOVED)]
    if not lines and moved:
        lines = [os.fsencode(f"diff --git a/{old.path} b/{new.path}\n")]
    return b"".join([*lines[:1], *moved, *lines[1:]])


def _bytes(repository: Repository, place: Place, caller: Caller) -> bytes | None:
    """What Git has, or would have, at a place; None for nothing."""
    if place.mode in ("", SUBMODULE):
        return None
    if place.mode == SYMLINK:
        return os.fsencode(link_target(repository, place))
    if place.oid and (blob := repository.blob(place.oid)) is not None:
        return blob
    if place.file is None:
        raise ThetaError(f"{place.path}: git has no blob {place.oid[:12]}", "git fsck")
    return cleaned(repository, place.file, place.path, caller)


def cleaned(repository: Repository, path: Path, pathname: str, caller: Caller) -> bytes:
    """What Git would store of a file of the work tree; its data are stored.

    Raises:
        ThetaError: it cannot be stored.
    """
    from git_theta.git.filters import Filters  # needs NumPy

    settings = repository.config.settings()
    with path.open("rb") as file:
        return Filters(repository, settings, caller, _say_nothing).clean(Content.of(file), pathname)


def _laid(folder: Path, letter: str, place: Place, data: bytes | None) -> str:
    """Lay what is at a place into a folder, and say how git is to name it."""
    if data is None:
        return os.devnull
    path = folder / letter / place.path
    path.parent.mkdir(parents=True)
    if place.mode == SYMLINK:
        path.symlink_to(os.fsdecode(data))
    else:
        path.write_bytes(data)
        path.chmod(0o755 if place.mode == _EXECUTABLE else 0o644)
    return f"{letter}/{place.path}"


def _say_nothing(line: str) -> None:
    """Git's own clean of the same file has said it."""
