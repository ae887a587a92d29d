"""What to type when a smudge fails: git stops half-way, and each command leaves another mess."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from git_theta.errors import MissingObject, ThetaError
from git_theta.manifest import Manifest

_REBUILD = {
    "clone": "git theta fetch; git reset --hard",
    "checkout": "git theta fetch; git reset --hard; then the same command again",
    "merge": "git theta fetch; remove the new files that git status lists; git reset --hard; merge again",
    "rebase": "git theta fetch; git rebase --abort, or as after a merge; rebase again",
    "stash": "git theta fetch; git restore PATH; git stash pop",
}
_LIKE = {
    "switch": "checkout",
    "restore": "checkout",
    "pull": "merge",
    "cherry-pick": "rebase",
    "revert": "rebase",
}


def missing(manifest: Manifest, lacking: Sequence[str], reasons: Mapping[str, str]) -> MissingObject:
    """The error for objects that are not to be had: names the tensors that need them."""
    lost = {digest for digest, line in manifest.storage.items() if line.oid in lacking}
    while more := {d for d, line in manifest.storage.items() if set(line.bases) & lost} - lost:
        lost |= more
    names = [line.name for line in manifest.tensors if line.digest in lost] or ["the skeleton"]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return MissingObject(
        f"{len(lacking)} objects are missing ({reasons[lacking[0]]}), the first is {lacking[0]}; "
        f"tensors that need them: {shown}",
        oids=tuple(lacking),
    )


def named(pathname: str, error: ThetaError) -> ThetaError:
    """The same error, with the file's name in the message and, as a shell wants it, in the remedy."""
    if not error.message.startswith(f"{pathname}: "):
        error.message = f"{pathname}: {error.message}"
    error.remedy = error.remedy.replace("PATH", shlex.quote(pathname))
    return error


def advised(pathname: str, error: ThetaError, command: Sequence[str]) -> ThetaError:
    """The error with the file's name, and the way back for the git command that was interrupted."""
    name = command[0] if command else ""
    remedy = _REBUILD.get(
        _LIKE.get(name, name), error.remedy or "git theta fetch, then the same command again"
    )
    return named(pathname, ThetaError(error.message, remedy))
