"""Texts in place of checkpoints, and manifests where git-theta does not track: in Git, with the way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import StandIn
from git_theta.git import attributes
from git_theta.git.blobs import Blob
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST, is_manifest
from git_theta.terminal.showing import fill, operand, pathspec, printable
from git_theta.versions import past_versions

ADD_AGAIN = "git add --renormalize "
"""What to type before a path whose file is to be read: git add leaves out what looks unchanged."""


def blobs(repository: Repository, path: str) -> list[bytes]:
    """What Git has for a path, manifest or not: in the index and in HEAD."""
    listed = [] if repository.bare else repository.index_entries(literally(path))
    found = repository.blobs([*(entry.oid for entry in listed), f"HEAD:{path}"], LARGEST)
    return [blob for blob in found if blob is not None]


def find(
    repository: Repository, listed: Iterable[Blob], cached: bool = False
) -> Iterator[tuple[Blob, StandIn]]:
    """Those of the blobs under tracked paths that stand in place of a checkpoint.

    Args:
        cached: ask the attributes in the index, not those in the work tree.
    """
    read = [blob for blob in listed if blob.size <= LARGEST]
    tracked = attributes.filtered(repository, (blob.path for blob in read), cached)
    for blob in read:
        text = repository.blob(blob.oid) if blob.path in tracked else None
        if text is not None and (kind := stand_ins.in_git(text)):
            yield blob, kind


def error(repository: Repository, path: str, kind: StandIn) -> ThetaError:
    """What is wrong with a path for which Git has such a text, and what to type."""
    return ThetaError(
        f"{printable(path)}: this is {kind.what}, not the checkpoint", remedy(repository, path, kind)
    )


def remedy(repository: Repository, path: str, kind: StandIn) -> str:
    """The command that brings the checkpoint to a path for which Git has such a text."""
    quoted = pathspec(path)
    if kind is not stand_ins.CRLF and _has_checkpoint(repository, path):
        return ADD_AGAIN + quoted
    if kind.remedy == stand_ins.RESTORE and (commit := past_versions.last_commit(repository, path)):
        return f"git restore --source={commit[:12]} --staged --worktree {quoted}"
    return fill(kind.remedy, path)


def strays(repository: Repository, manifests: Iterable[str], cached: bool = False) -> list[str]:
    """Those of the paths of manifests that git-theta does not track: a checkout writes the text there."""
    paths = sorted(set(manifests))
    tracked = attributes.filtered(repository, paths, cached)
    return [path for path in paths if path not in tracked]


def stray_error(repository: Repository, path: str, cached: bool = False) -> ThetaError:
    """What is wrong with such a path, and what to type for either of what can be meant."""
    files = " ".join(pathspec(name) for name in _attribute_files(repository, path))
    if cached and path in attributes.filtered(repository, [path]):
        return ThetaError(
            f"{printable(path)}: {_STRAY}, because what tracks it is not staged", f"git add {files}"
        )
    convert = "" if _has_checkpoint(repository, path) else fill(_SMUDGE, path)
    return ThetaError(
        f"{printable(path)}: {_STRAY}",
        f"to track it: git theta track {operand(attributes.pattern_of(path))} && git add {files}\n"
        f"  to store the file as it is: {convert}git add --renormalize {pathspec(path)}",
    )


def _has_checkpoint(repository: Repository, path: str) -> bool:
    """Whether the work tree has a file there that is no text in place of one."""
    file = repository.work_tree / path
    try:
        with file.open("rb") as opened:
            head = opened.read(stand_ins.PROBE)
    except OSError:
        return False
    return bool(head) and not is_manifest(stand_ins.plain(head)) and stand_ins.recognise(head) is None


def _attribute_files(repository: Repository, path: str) -> list[str]:
    """The attributes files that can have a say about a path, that of the top first."""
    folders = [str(folder) for folder in PurePosixPath(path).parents][::-1]
    names = [attributes.FILE if folder == "." else f"{folder}/{attributes.FILE}" for folder in folders]
    return [name for name in names if name == attributes.FILE or (repository.work_tree / name).is_file()]


_STRAY = "a manifest, but its attribute filter is not theta: others would get this text as the model"
_SMUDGE = "git theta smudge PATH < PATH > PATH.new && mv PATH.new PATH && "
