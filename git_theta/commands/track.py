"""`git theta track` and its inverse: attributes, hooks, and what else the user should know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.git import attribute_files, attributes, overridden
from git_theta.git.blobs import find_manifests, in_index
from git_theta.git.overrides import files, overrides
from git_theta.git.repository import Repository
from git_theta.setup import hook_files
from git_theta.terminal.showing import pathspec, printable
from git_theta.versions import misplaced
from git_theta.versions.raw import raw_in_index

_SHOWN = 5


def track(repository: Repository, folder: Path, patterns: Sequence[str], dry_run: bool) -> list[str]:
    """Track patterns in a folder, install hooks, and return what to tell the user in lines.

    Raises:
        ThetaError: the repository is bare; see attributes.track and hook_files.install too.
    """
    if repository.bare:
        raise ThetaError("a bare repository has no files to track", "the same in a clone of it")
    known = attribute_files.macros(attribute_files.attribute_files(repository))
    new = attributes.track(folder, patterns, dry_run, known)
    if dry_run:
        return [f'Would track "{printable(pattern)}"' for pattern in new]
    said = [f'Tracking "{printable(pattern)}"' for pattern in new]
    mended = list(overridden.mend(repository, folder, patterns))
    if len(new) < len(set(patterns)) and not mended:
        said.append("The other patterns are tracked already." if new else "All of that is tracked already.")
    if not repository.config.get("filter.theta.process"):
        said.append("git-theta is not set up on this machine yet; type: git theta install")
    said += mended
    for override in overrides(repository, files(repository)):
        said += [override.text(), f"  to track it all the same: {override.remedy()}"]
    said += hook_files.install(repository).advice()
    raw = [blob.path for blob in raw_in_index(repository)]
    if raw:
        shown = " ".join(map(pathspec, raw[:_SHOWN])) + (" ..." if len(raw) > _SHOWN else "")
        said.append(
            f"Git has {len(raw)} of these files as they are; to convert them: git add --renormalize {shown}"
        )
    return said


def untrack(repository: Repository, folder: Path, patterns: Sequence[str], dry_run: bool) -> list[str]:
    """Undo `track` in a folder.

    Raises:
        ThetaError: none of the patterns is tracked there.
    """
    known = attribute_files.macros(attribute_files.attribute_files(repository))
    found = attributes.untrack(folder, patterns, dry_run, known)
    lost = [pattern for pattern in patterns if pattern not in found]
    if not found:
        places = {name for pattern, name in attribute_files.tracked_patterns(repository) if pattern in lost}
        raise ThetaError(
            f"{', '.join(map(printable, lost))} is not tracked in {folder.absolute() / attributes.FILE}",
            f"it is in {', '.join(sorted(places))}" if places else "git theta track lists what is",
        )
    said = [f'{"Would untrack" if dry_run else "Not tracking"} "{printable(pattern)}"' for pattern in found]
    stored = (blob.path for blob, _ in find_manifests(repository, in_index(repository, merged=True)))
    left = [] if dry_run else misplaced.strays(repository, stored)
    if left:
        shown = " ".join(map(pathspec, left[:_SHOWN])) + (" ..." if len(left) > _SHOWN else "")
        said.append(
            f"Git has manifests of {len(left)} of these files; to store them as they are: "
            f"git add --renormalize {shown}"
        )
    return said
