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

from git_theta import files
from git_theta import manifest as manifests
from git_theta.filters.source import Content
from git_theta.git import blobs
from git_theta.git.callers import Caller
from git_theta.git.repository import Repository
from git_theta.versions.places import SUBMODULE, SYMLINK, Place, link_target

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
    return b"".join(_with_prefixes([*lines[:1], *moved, *lines[1:]], _prefixes(repository, caller.command)))


def _prefixes(repository: Repository, command: Sequence[str]) -> tuple[bytes, bytes]:
    """What git puts before the names of both sides, by its options or else by its configuration."""
    config = repository.config
    found = config.get("diff.srcPrefix") or "a/", config.get("diff.dstPrefix") or "b/"
    if config.get("diff.noprefix").lower() in ("true", "yes", "on", "1"):
        found = "", ""
    for option in command:
        name, _, value = option.partition("=")
        if name == "--no-prefix":
            found = "", ""
        elif name == "--default-prefix":
            found = "a/", "b/"
        elif name == "--src-prefix":
            found = value, found[1]
        elif name == "--dst-prefix":
            found = found[0], value
        elif name == "--":
            break
    return os.fsencode(found[0]), os.fsencode(found[1])


def _with_prefixes(lines: Sequence[bytes], prefixes: tuple[bytes, bytes]) -> list[bytes]:
    """A patch whose names are a/NAME and b/NAME, with other prefixes in its header."""
    source, target = prefixes
    end = next((n for n, line in enumerate(lines) if line.startswith((b"@@", b"GIT "))), len(lines))
    found = []
    for line in lines[:end]:
        if line.startswith(b"diff --git "):
            first, second = _names(line[11:-1])
            line = (
                b"diff --git "
                + _renamed(first, source, target)
                + b" "
                + _renamed(second, source, target)
                + b"\n"
            )
        elif line.startswith((b"--- ", b"+++ ")):
            line = line[:4] + _renamed(line[4:], source, target)
        found.append(line)
    return [*found, *lines[end:]]


def _names(both: bytes) -> tuple[bytes, bytes]:
    """The two names of a patch's first line: alike but for the prefix, or else apart at the last one."""
    middle = len(both) // 2
    if both[middle : middle + 1] == b" " and len(both) % 2:
        return both[:middle], both[middle + 1 :]
    start = max(both.rfind(b" b/"), both.rfind(b' "b/'))
    return both[:start], both[start + 1 :]


def _renamed(name: bytes, source: bytes, target: bytes) -> bytes:
    """A name, as git quotes it, with another prefix; /dev/null has none."""
    quote = name[:1] if name[:1] == b'"' else b""
    bare = name[len(quote) :]
    prefix = {b"a/": source, b"b/": target}.get(bare[:2])
    return name if prefix is None else quote + prefix + bare[2:]


def _bytes(repository: Repository, place: Place, caller: Caller) -> bytes | None:
    """What Git has, or would have, at a place; None for nothing."""
    if place.mode in ("", SUBMODULE):
        return None
    if place.mode == SYMLINK:
        return os.fsencode(link_target(repository, place))
    if place.oid and (blob := repository.blob(place.oid)) is not None:
        return blob
    if place.file is None:
        raise blobs.lost(place.path, place.oid)
    return cleaned(repository, place.file, place.path, caller)


def cleaned(repository: Repository, path: Path, pathname: str, caller: Caller) -> bytes:
    """What Git would store of a file of the work tree; its data are stored.

    Raises:
        ThetaError: it cannot be stored.
    """
    from git_theta.drivers.filters import Filters  # needs NumPy

    settings = repository.config.settings()
    with path.open("rb") as file:
        return Filters(repository, settings, caller, _say_nothing).clean(Content.of(file), pathname)


def _laid(folder: Path, letter: str, place: Place, data: bytes | None) -> str:
    """Put one side of a difference into a temporary folder, and return the path to give to git."""
    if data is None:
        return os.devnull
    name = place.path.lstrip("/")
    if ".." in Path(name).parts:  # of a file elsewhere: git diff --no-index
        name = Path(name).name
    path = folder / letter / name
    files.make_folder(path.parent)
    if place.mode == SYMLINK:
        files.make_link(path, os.fsdecode(data))
    else:
        files.replace(path, data)
        files.permit(path, 0o755 if place.mode == _EXECUTABLE else 0o644)
    return f"{letter}/{name}"


def _say_nothing(line: str) -> None:
    """Drop a warning about a file: Git's own clean of it has printed the same one."""
