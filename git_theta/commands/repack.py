"""Finds better updates for what nobody else has yet, and rewrites the commits that name them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest
from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import find_manifests, in_tree, reachable
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.manifest.chains import closure, costs
from git_theta.objects.writer import Payload, TensorWriter
from git_theta.remotes.fetching import missing
from git_theta.settings import Grouping
from git_theta.storing.bases import Bases
from git_theta.updates import chooser
from git_theta.updates.interface import Base, Target
from git_theta.versions.fixed import naming, pins
from git_theta.versions.rewriting import Rewriter, boundary, free, require_clean
from git_theta.versions.stock import stock

_WORTH = 0.97
"""A new update must take less than this part of what is stored."""
_BASES = 12
"""So many of the versions before a tensor are tried as its bases; all of them with `aggressive`."""


@dataclass(frozen=True)
class Repacked:
    """What a repack did.

    Attributes:
        tensors: how many are stored in another way now.
        before, after: bytes that they take.
        moved: refs that were moved, and where they are kept as they were.
        kept: how many commits of these revisions stay as they are, because they are not ours alone.
        reasons: what names some of them.
    """

    tensors: int
    before: int
    after: int
    moved: list[tuple[str, str]]
    kept: int
    reasons: list[str]


def repack(
    repository: Repository, revisions: Sequence[str], aggressive: bool, progress: Callable[[int, int], None]
) -> Repacked:
    """Store the tensors of commits that nobody else has in less space, where that is possible.

    Args:
        revisions: as `git rev-list` takes them; commits that must stay are left out (see fixed).
        aggressive: try all earlier versions, and every tensor of the same kind, and encode every proposal.
        progress: told how many commits are done, and of how many.

    Raises:
        ThetaError: something is staged or under way; a tensor cannot be read. Nothing was changed then.
    """
    require_clean(repository)
    repository.store.clean_up()
    repository = repository.unaltered
    pinned = pins(repository)
    fixed = list(dict.fromkeys(pin.oid for pin in pinned))
    commits = free(repository, revisions, fixed)
    blobs: dict[str, str] = {}
    rewriter = Rewriter(repository, blobs, set(fixed))
    packer = _Packer(repository, aggressive, _objects_of(repository, fixed))
    for commit in boundary(repository, revisions, fixed):
        for _, text in find_manifests(repository, in_tree(repository, commit)):
            if manifest := parsed(text):
                packer.see(manifest)
    for number, commit in enumerate(commits):
        progress(number, len(commits))
        for blob, text in find_manifests(repository, in_tree(repository, commit)):
            manifest = parsed(text)
            if manifest is None or blob.oid in blobs or blob.oid in fixed or not manifest.storage:
                continue
            better = manifests.write(packer.repack(manifest))
            if better != text:
                blobs[blob.oid] = repository.write(better)
        rewriter.rewrite(commit)
    progress(len(commits), len(commits))
    packer.close()
    moved: list[tuple[str, str]] = []
    if rewriter.commits:
        moved = rewriter.move_refs("git theta repack")
        rewriter.update_index()
    kept = set(free(repository, revisions, ())) - set(commits)
    return Repacked(
        len(packer.lines), packer.before, packer.after, moved, len(kept), naming(repository, pinned, kept)
    )


class _Packer:
    """Stores tensors anew, version after version."""

    def __init__(self, repository: Repository, aggressive: bool, fixed: set[str]) -> None:
        self._repository = repository
        self._settings = repository.config.settings()
        self._aggressive = aggressive
        self._executor = ThreadPoolExecutor(os.cpu_count() or 2)
        grouping: Grouping = "on" if aggressive else self._settings.grouping
        self._writer = TensorWriter(repository.store, self._executor, grouping)
        self._fixed = fixed
        self._seen: list[tuple[TensorLine, Mapping[str, StorageLine]]] = []
        self._tried: set[str] = set()
        self._chains: dict[str, dict[str, StorageLine]] = {}
        self._moved: dict[str, str] = {}
        self.lines: dict[str, StorageLine] = {}
        self.before = self.after = 0

    def close(self) -> None:
        self._executor.shutdown()

    def see(self, manifest: Manifest) -> None:
        """Let a version that stays as it is provide bases for later ones, if all of its objects are here."""
        if manifest.storage and not missing(self._repository, manifest.oids()):
            self._remember(manifest, manifest.storage)

    def _remember(self, manifest: Manifest, storage: Mapping[str, StorageLine]) -> None:
        self._seen += [(line, storage) for line in (*manifest.tensors, manifest.skeleton_line)]

    def repack(self, manifest: Manifest) -> Manifest:
        """The manifest with the lines of what is stored better now."""
        storage = dict(manifest.storage)
        for key, stored in manifest.storage.items():
            digest = self._moved.get(stored.place, key)
            if digest in self._chains:
                storage.update(self._chains[digest])
                storage[key] = replace(self._chains[digest][digest], digest=key)
        for line in (*manifest.tensors, manifest.skeleton_line):
            self._improve(line, storage)
        try:
            storage = closure(manifest.digests(), storage)
        except DamagedManifest:
            return manifest  # lines of several versions lead in a circle: leave this one as it is
        self._remember(manifest, storage)
        return manifest.with_storage(storage)

    def _improve(self, line: TensorLine, storage: dict[str, StorageLine]) -> None:
        old = storage[line.digest]
        if line.digest in self._tried or old.oid in self._fixed:
            return
        self._tried.add(line.digest)
        before = self._stored_bytes(old)
        tensor = self._repository.objects.tensor(line.digest, storage, line.dtype, line.shape)
        bases = stock(self._repository, ()).bases
        ranking = chooser.rank(
            Target(line.name, tensor),
            self._earlier(line, old.place, bases),
            deepest=self._settings.max_chain_depth,
        )
        best: tuple[int, StorageLine] | None = None
        for proposal in ranking.proposals:
            if proposal.update == "dense":
                continue
            limit = int(_WORTH * (best[0] if best else before))
            room = bases.room(line.digest, proposal.bases, ranking.dense_bytes, self._settings)
            limit = min(limit, room)
            made = (
                self._writer.attempt(Target(line.name, tensor), line.digest, proposal, limit)
                if limit > 0
                else None
            )
            if made is not None:
                best = self._stored(made)
                self._chains[line.digest] = {**bases.lines(best[1].bases), line.digest: best[1]}
                self._moved[old.place] = line.digest
            if best and not self._aggressive:
                break
        if best is not None:
            self.before, self.after = self.before + before, self.after + best[0]
            self.lines[line.digest] = best[1]
            storage.update(self._chains[line.digest])

    def _stored(self, made: StorageLine | Payload) -> tuple[int, StorageLine]:
        line = self._writer.write([made])[0] if isinstance(made, Payload) else made
        return self._stored_bytes(line), line

    def _stored_bytes(self, line: StorageLine) -> int:
        return self._repository.objects.member(line).stored_bytes()

    def _earlier(self, line: TensorLine, place: str, bases: Bases) -> list[Base]:
        """Earlier tensors to predict from, newest first, but those that are predicted from this one."""
        kind = line.dtype, line.shape
        alike = [
            (one, storage)
            for one, storage in reversed(self._seen)
            if one.name == line.name or (self._aggressive and (one.dtype, one.shape) == kind)
        ]
        found: dict[str, Base] = {}
        for one, storage in alike:
            if len(found) >= _BASES and not self._aggressive:
                break
            if one.digest in found or one.digest == line.digest:
                continue
            lines = closure([one.digest], storage)
            full = costs([one.digest], lines)[one.digest].depth >= self._settings.max_chain_depth
            if line.digest in lines or place in {below.place for below in lines.values()} or full:
                continue
            tensor = self._repository.objects.tensor(one.digest, lines, one.dtype, one.shape)
            found[one.digest] = bases.opened(one.name, one.digest, lines, tensor)
        return list(found.values())


def _objects_of(repository: Repository, fixed: Sequence[str]) -> set[str]:
    """The objects that manifests of fixed commits name: they are kept in any case."""
    found: set[str] = set()
    for _, text in find_manifests(repository, reachable(repository, fixed)):
        found |= manifests.find_objects(text).keys()
    return found
