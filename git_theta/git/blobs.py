"""Finding the manifests among the blobs of a repository: by their first bytes, wherever they are.

Attributes would not do: those of an old commit can be others, and in a bare repository there are none.
"""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from git_theta.errors import ThetaError
from git_theta.git.attributes import filtered
from git_theta.git.partial import allowances
from git_theta.git.repository import Repository
from git_theta.manifest import LARGEST, is_manifest
from git_theta.terminal.showing import printable

SMALLEST = 200  # bytes; no manifest is as small
UNREADABLE = -1
"""The size of a blob that git cannot read."""
_USUAL = 4 << 20
_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Blob:
    """A blob, and a path under which it was found (empty where git did not say)."""

    oid: str
    size: int
    path: str = ""


def lost(path: str, oid: str) -> ThetaError:
    """The error for a blob that git names, but has not."""
    return ThetaError(f"{printable(path)}: git has no blob {oid[:12]}", "git fetch --refetch")


def reachable(repository: Repository, revisions: Sequence[str], *options: str) -> Iterator[Blob]:
    """The blobs that `git rev-list --objects` lists, one by one, but for those that a partial clone lacks.

    What is damaged is listed too, with a size of UNREADABLE.

    Args:
        revisions: where to start; those with ^ in front are excluded, with all that they contain.
        options: more of rev-list's own, like --all.

    Raises:
        ThetaError: git does not understand them.
    """
    with (
        repository.popen(
            ["rev-list", "--objects", "--stdin", *allowances(repository), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as lister,
        repository.popen(
            ["cat-file", "--batch-check=%(objecttype) %(objectname) %(objectsize) %(rest)", "--buffer"],
            stdin=lister.stdout,
            stdout=subprocess.PIPE,
        ) as checker,
    ):
        assert lister.stdin
        assert lister.stdout
        assert lister.stderr
        assert checker.stdout
        lister.stdout.close()
        lister.stdin.write("".join(f"{revision}\n" for revision in revisions).encode())
        lister.stdin.close()
        for line in checker.stdout:
            kind, _, rest = line.rstrip(b"\n").partition(b" ")
            if kind == b"blob":
                oid, size, path = rest.split(b" ", 2)
                yield Blob(oid.decode(), int(size), os.fsdecode(path))
            elif rest == b"missing":
                yield Blob(kind.decode(), UNREADABLE)
        said = lister.stderr.read()
        if lister.wait():
            raise ThetaError(f"git rev-list failed: {said.decode(errors='replace').strip()}", "git fsck")


def in_tree(repository: Repository, revision: str) -> list[Blob]:
    """The blobs of a tree, with their paths; symbolic links are none.

    Raises:
        ThetaError: there is no such tree.
    """
    entries = repository.tree_entries(revision, sizes=True)
    return [Blob(one.oid, one.size or 0, one.path) for one in entries if one.mode in _REGULAR]


def in_index(repository: Repository, *pathspecs: str, merged: bool = False) -> list[Blob]:
    """The blobs of the index with their paths; symbolic links are none.

    Args:
        merged: leave out the paths that have a conflict; else all their stages are listed.
    """
    entries = repository.index_entries(*pathspecs)
    wanted = (one for one in entries if one.mode in _REGULAR and (one.stage == 0 or not merged))
    return sizes(repository, [(one.oid, one.path) for one in wanted])


def sizes(repository: Repository, named: Sequence[tuple[str, str]]) -> list[Blob]:
    """Blobs of these (oid, path) pairs; those that are not here are left out."""
    asked = "".join(f"{oid}\n" for oid, _ in named).encode()
    if not asked:
        return []
    answer = repository.git("cat-file", "--batch-check=%(objecttype) %(objectsize)", "--buffer", stdin=asked)
    found = []
    for (oid, path), line in zip(named, answer.splitlines(), strict=True):
        kind, _, size = line.partition(b" ")
        if kind == b"blob":
            found.append(Blob(oid, int(size), path))
    return found


def find_manifests(repository: Repository, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, bytes]]:
    """Those of the blobs that begin like a manifest, with their text. It need not parse."""
    return ((blob, text) for blob, text in contents(repository, blobs) if is_manifest(text))


def contents(repository: Repository, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, bytes]]:
    """The blobs that by their size can be manifests, and what is in them, asked for all at once.

    Those that git cannot read are left out.
    """
    listed = [blob for blob in blobs if SMALLEST <= blob.size <= LARGEST]
    if not listed:
        return
    pending = deque(listed)
    from tempfile import TemporaryFile  # slow to import, and a filter seldom comes here

    with TemporaryFile() as asked:
        asked.write("".join(f"{blob.oid}\n" for blob in listed).encode())
        asked.seek(0)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with repository.popen(["cat-file", "--batch", "--buffer"], stdin=asked, **pipes) as reader:
            assert reader.stdout
            for blob in listed:
                header = reader.stdout.readline()
                if header.endswith(b" missing\n"):
                    pending.popleft()
                    continue
                text = reader.stdout.read(blob.size + 1)[:-1]
                if len(text) < blob.size:
                    break  # git has died, over this blob or one of the next few
                pending.popleft()
                yield blob, text
    for blob in pending:
        if (found := repository.blob(blob.oid)) is not None:
            yield blob, found


def staged_manifests(repository: Repository, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, bytes]]:
    """As `find_manifests`, for hooks: of unusual size only where the index's attributes say so.

    Not every large file that someone commits beside checkpoints is read for it.
    """
    listed = list(blobs)
    tracked = filtered(repository, (blob.path for blob in listed if blob.size > _USUAL), cached=True)
    return find_manifests(repository, (b for b in listed if b.size <= _USUAL or b.path in tracked))
