"""Manifests with conflict markers, as a Git without git-theta merges them and people commit them.

The text names the versions that it was made of by their roots, and Git has them: in what it remembers of the
conflict, or in history.
"""

from __future__ import annotations

import json
import re

from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git.plumbing import IndexEntry
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST, is_manifest
from git_theta.merging.conflicts import Stages, resolved_stages
from git_theta.terminal.showing import pathspec, printable
from git_theta.versions import past_versions
from git_theta.versions.recorded import root_of

_MARKER = re.compile(rb"([<|=>])\1{6,}( |\n|\Z)")
_PART = {b"<": "ours", b"|": "base", b"=": "theirs", b">": ""}
_STAGE = {"base": 1, "ours": 2, "theirs": 3}


def stages(repository: Repository, path: str, entry: IndexEntry | None) -> Stages:
    """The versions that a path was merged from, if it is such a text, in the work tree or in the index.

    Args:
        entry: the path's in the index, if it has one.

    Raises:
        ThetaError: it is, but a side is in Git no more.
    """
    text = _text(repository, path, entry)
    if text is None:
        return {}
    remembered = {stage: oid for stage, (_, oid) in resolved_stages(repository, path).items()}
    mode, found = entry.mode if entry is not None else "100644", {}
    for side, part in sides(text).items():
        if oid := _version(repository, path, part, remembered.get(_STAGE[side], "")):
            found[_STAGE[side]] = mode, oid
    for side in ("ours", "theirs"):
        if _STAGE[side] not in found:
            raise ThetaError(
                f"{printable(path)}: {side} of these conflict markers is in no commit here",
                f"git fetch --all, or in a clone that has it: git log --all -- {pathspec(path)}",
            )
    if 1 not in found and (oid := _base(repository, path, entry, remembered)):
        found[1] = mode, oid
    return found


def sides(text: bytes) -> dict[str, bytes]:
    """Split a text with conflict markers into its sides; the base only where the markers show it."""
    parts: dict[str, list[bytes]] = {"base": [], "ours": [], "theirs": []}
    current, has_base = "", False
    for line in stand_ins.plain(text).splitlines(keepends=True):
        if marker := _MARKER.match(line):
            current = _PART[marker.group(1)]
            has_base |= current == "base"
            continue
        for side in [current] if current else parts:
            parts[side].append(line)
    return {side: b"".join(lines) for side, lines in parts.items() if has_base or side != "base"}


def _text(repository: Repository, path: str, entry: IndexEntry | None) -> bytes | None:
    """The text with markers, if the path is one."""
    file = repository.work_tree / path
    texts = repository.blobs([entry.oid], LARGEST) if entry is not None else []
    if file.is_file() and file.stat().st_size <= LARGEST:
        texts.insert(0, file.read_bytes())
    return next((text for text in texts if text and stand_ins.recognise(text) is stand_ins.MARKED), None)


def _version(repository: Repository, path: str, part: bytes, remembered: str) -> str:
    """The blob of a side: the text's own part where that is whole, else the version that has its root."""
    if parsed(part) is not None or (not is_manifest(part) and stand_ins.recognise(part)):
        return repository.write(part)
    root = _root(part)
    if not root:
        return ""
    if remembered and root_of(repository, remembered) == root:
        return remembered
    return past_versions.with_root(repository, path, root)


def _root(part: bytes) -> str:
    try:
        return str(json.loads(part.partition(b"\n")[0])["root"])
    except (ValueError, KeyError, TypeError):
        return ""


def _base(repository: Repository, path: str, entry: IndexEntry | None, remembered: dict[int, str]) -> str:
    """The common ancestor's blob, where the markers do not show it."""
    if 1 in remembered:
        return remembered[1]
    oid = entry.oid if entry is not None else ""
    merges = [past.commit for past in past_versions.of(repository, path) if oid and past.after == oid]
    names = [f"{merges[-1]}^1", f"{merges[-1]}^2"] if merges else ["HEAD", "MERGE_HEAD"]
    bases = repository.merge_bases(*names)
    return repository.oid(f"{bases[0]}:{path}") if bases else ""
