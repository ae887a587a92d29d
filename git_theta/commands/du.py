"""What `git theta du` counts: stored bytes by commit, by path and by update kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from git_theta.errors import DamagedObject, MissingObject
from git_theta.filters.stand_ins import parsed
from git_theta.git.repository import EMPTY, Repository
from git_theta.manifest import Manifest, StorageLine, is_manifest
from git_theta.versions.changes import regular_files
from git_theta.versions.recorded import problem


@dataclass
class Share:
    """A part of what is stored.

    Attributes:
        name: a commit, a path or an update kind.
        title: more about it: a commit's subject.
        count: versions of checkpoints, or tensors of an update kind.
        stored: bytes of objects that nothing before needed.
        whole: bytes that git-lfs would have stored: every new version, whole.
    """

    name: str
    title: str = ""
    count: int = 0
    stored: int = 0
    whole: int = 0

    def record(self) -> dict[str, object]:
        """For --json."""
        return {
            "name": self.name,
            "title": self.title,
            "count": self.count,
            "stored_bytes": self.stored,
            "git_lfs_bytes": self.whole,
        }


@dataclass
class Usage:
    """All of it. Each object counts once: for the commit, the path and the kind that needed it first.

    Attributes:
        problems: why versions do not count, of which the manifest cannot be read, by path.
    """

    commits: list[Share] = field(default_factory=list)
    paths: dict[str, Share] = field(default_factory=dict)
    updates: dict[str, Share] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Share:
        found = Share("total")
        for one in self.commits:
            found.count += one.count
            found.stored += one.stored
            found.whole += one.whole
        return found


def usage(repository: Repository, revisions: Sequence[str]) -> Usage:
    """Count what the checkpoints of these commits take.

    Args:
        revisions: as `git rev-list` takes them.

    Raises:
        ThetaError: git does not understand them.
    """
    listed = repository.git("log", "-z", "--topo-order", "--reverse", "--format=%H %s", *revisions, "--")
    counter = _Counter(repository)
    for row in listed.decode(errors="replace").split("\0"):
        if row:
            commit, _, subject = row.partition(" ")
            counter.add(commit, subject)
    return counter.usage


class _Counter:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._oids: set[str] = set()
        self._places: set[str] = set()
        self._roots: set[str] = set()
        self.usage = Usage()

    def add(self, commit: str, subject: str) -> None:
        """Count what this commit needs and none before it did."""
        share = Share(commit, subject)
        options = ("--root", "-r", "-m", "--first-parent", "--no-commit-id")
        for changed in regular_files(self._repository.raw_changes("diff-tree", *options, commit)):
            if changed.after in ("", EMPTY):
                continue
            blob = self._repository.blob(changed.after)
            manifest = parsed(blob)
            if manifest is None and blob is not None and is_manifest(blob):
                self.usage.problems[changed.path] = problem(blob)
            if manifest is not None and manifest.root not in self._roots:
                self._roots.add(manifest.root)
                self._count(manifest, share, self.usage.paths.setdefault(changed.path, Share(changed.path)))
        if share.count:
            self.usage.commits.append(share)

    def _count(self, manifest: Manifest, *shares: Share) -> None:
        new = {oid: size for oid, size in manifest.oids().items() if oid not in self._oids}
        self._oids |= new.keys()
        for share in shares:
            share.count += 1
            share.stored += sum(new.values())
            share.whole += manifest.size
        sizes = {line.digest: line.nbytes for line in manifest.tensors}
        for line in manifest.storage.values():
            if line.place not in self._places:
                self._places.add(line.place)
                update, stored = self._stored(line)
                kind = self.usage.updates.setdefault(update, Share(update))
                kind.count += 1
                kind.stored += stored
                kind.whole += sizes.get(line.digest, 0)

    def _stored(self, line: StorageLine) -> tuple[str, int]:
        """The kind of update, and the tensor's own bytes in its object; none where the object is not here."""
        try:
            data = self._repository.objects.member(line)
            return data.member.update, data.stored_bytes()
        except (MissingObject, DamagedObject):
            return line.update or "unknown", 0
