"""Finds texts in Git where checkpoints should be, and manifests where nothing is tracked; says what helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from git_theta.errors import UPGRADE, ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import StandIn
from git_theta.git import attributes
from git_theta.git.blobs import Blob
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST, VERSION, is_manifest, version_of
from git_theta.terminal.showing import fill, operand, pathspec, printable
from git_theta.versions import past_versions
from git_theta.versions.recorded import problem

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
    if kind is not stand_ins.CRLF and _has_checkpoint(repository, path):
        return ADD_AGAIN + pathspec(path)
    return (kind.remedy == stand_ins.RESTORE and restored(repository, path)) or fill(kind.remedy, path)


def damage(repository: Repository, path: str, text: bytes) -> ThetaError:
    """The error for a manifest in the index that cannot be read: what is wrong with it, and what to type."""
    newer = version_of(text) > VERSION
    return ThetaError(
        f"{printable(path)}: the manifest in the index: {problem(text)}",
        UPGRADE if newer else remedy_of_damage(repository, path, text),
    )


def restored(repository: Repository, path: str, tip: str = "HEAD") -> str:
    """The command that brings back the newest version of a file that is a whole manifest; "" if none is.

    Args:
        tip: the commit from which on older ones are searched, before those of all branches and tags.
    """
    commit = past_versions.last_commit(repository, path, tip)
    return f"git restore --source={commit[:12]} --staged --worktree {pathspec(path)}" if commit else ""


def remedy_of_damage(repository: Repository, path: str, text: bytes) -> str:
    """What to type where this version of a file is a damaged manifest.

    In the index or the work tree another version takes its place. In a commit of the past it stays: what
    helps is to know which commits have it, and to take the version of another one.
    """
    if not repository.bare and text in blobs(repository, path):
        quoted = pathspec(path)
        if _has_checkpoint(repository, path):
            return ADD_AGAIN + quoted
        return restored(repository, path) or f"git rm -f {quoted}"
    oid = repository.oid_of(text)
    if repository.run("cat-file", "-e", oid).returncode:
        return fill(stand_ins.RESTORE, path)  # of the work tree alone
    return f"git log --all --oneline --find-object={oid}"


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
