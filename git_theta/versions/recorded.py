"""The manifests that Git already has for a path, and for other checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git.operation import OTHERS, merged_heads
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest

_STAGES = (0, 2, 3, 1)  # while there is a conflict: ours, theirs, base
_LARGEST = 256 << 20  # bytes; a larger blob is a checkpoint that was committed without git-theta
ATTRIBUTED = ":(top,attr:filter=theta)"
"""Pathspec of the files that git-theta tracks."""


def recorded(repository: Repository, pathname: str) -> list[tuple[bytes, Manifest]]:
    """The manifests of a path: the index's, looked up anew, then those of HEAD and what is being merged.

    Tools that do not say which file they hand over (dulwich's clean) leave it empty: it can be any.
    """
    if not pathname:
        return _read(repository, _tracked(repository))
    listed = [] if repository.bare else repository.index_entries(literally(pathname))
    entries = {entry.stage: entry.oid for entry in listed}
    staged = _read(repository, [entries[stage] for stage in _STAGES if stage in entries])
    return list({**dict(staged), **dict(beside_index(repository, pathname))}.items())


def beside_index(repository: Repository, pathname: str) -> list[tuple[bytes, Manifest]]:
    """The manifests of a path in HEAD and in what is being merged, picked or reverted."""
    found = _read(repository, _beside(pathname))
    return [(stand_ins.plain(blob), manifest) for blob, manifest in found]


def _beside(pathname: str) -> list[str]:
    """Where to look for other versions of a path: HEAD, and whatever is being merged or picked."""
    return [f"{side}:{pathname}" for side in ("HEAD", *OTHERS, *merged_heads())]


def _read(repository: Repository, names: Sequence[str]) -> list[tuple[bytes, Manifest]]:
    """Those of the named blobs that are manifests, each once."""
    found: dict[bytes, Manifest] = {}
    for blob in repository.blobs(names, _LARGEST):
        if blob is not None and blob not in found and (manifest := parsed(blob)):
            found[blob] = manifest
    return list(found.items())


class Related:
    """The manifests of all checkpoints in the index, and of `theta.base` (REV:PATH), which comes first.

    They are looked up anew whenever they are asked for; what is still there is not read again.
    """

    def __init__(self, repository: Repository, base: str) -> None:
        self._repository = repository
        self._base = [base] if base else []
        self._known: dict[str, Manifest | None] = {}

    def __call__(self) -> list[Manifest]:
        names = [*self._base, *_tracked(self._repository)]
        new = [name for name in names if name not in self._known or name in self._base]
        read = dict(zip(new, map(parsed, self._repository.blobs(new, _LARGEST)), strict=True))
        self._known = {name: read[name] if name in read else self._known[name] for name in names}
        return [found for name in names if (found := self._known[name])]


def _tracked(repository: Repository) -> list[str]:
    """The blobs of all checkpoints in the index."""
    return list(dict.fromkeys(entry.oid for entry in repository.index_entries(ATTRIBUTED)))


def root_of(repository: Repository, name: str) -> str | None:
    """The root of the manifest in a blob; None where that is none."""
    manifest = parsed(repository.blob(name))
    return manifest.root if manifest is not None else None


def problem(text: bytes) -> str:
    """Why a text that begins like a manifest is none that can be read; "" where it can."""
    try:
        manifests.parse(text)
    except DamagedManifest as error:
        return error.message
    return ""
