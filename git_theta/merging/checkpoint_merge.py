"""Merging the versions of one checkpoint: opened, what is missing fetched, then a plan carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO

from git_theta import manifest as manifests
from git_theta.checkpoints.remainder import Remainder, undivided
from git_theta.diffs.matching import renames_of_sides
from git_theta.diffs.similarity import SimilarValues
from git_theta.errors import DamagedManifest, ThetaError
from git_theta.filters.clean import Cleaner, Request
from git_theta.filters.source import Content
from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import find_manifests, sizes
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.manifest.chains import closure
from git_theta.merges import plan as planning
from git_theta.merges.apply import Applied, Means, apply
from git_theta.merges.decisions import Plan
from git_theta.merges.remainders import read_remainder
from git_theta.merges.resolutions import planned
from git_theta.merges.rules import Rules
from git_theta.merges.sides import Sides, inputs_of
from git_theta.merges.workers import Progress as MergeProgress
from git_theta.remotes.advice import advice
from git_theta.remotes.fetching import fetch_missing, missing
from git_theta.tensors import Tensor
from git_theta.terminal.progress import Progress
from git_theta.versions import checkpoint, mending
from git_theta.versions.changes import regular_files, stored_tensors
from git_theta.versions.checkpoint import Checkpoint
from git_theta.versions.recovery import missing as missing_error
from git_theta.versions.recovery import named
from git_theta.versions.stock import stock

_HEAD = 64  # bytes that tell a manifest


class CheckpointMerge:
    """One checkpoint that is to be merged.

    A side that is no manifest (a checkpoint committed without git-theta) is stored first. Close it after use.

    Args:
        path: of the checkpoint, from the top of the repository.
        versions: what each side has, base first: a blob's contents or a file with them; None for nothing.
            There may be further ones, which are in no plan but can be taken from.
        labels: what the sides are called in messages, base first.

    Attributes:
        manifests: of the versions.
        sides: their tensors.

    Raises:
        ThetaError: a side cannot be read; the message names it.
    """

    def __init__(
        self,
        repository: Repository,
        path: str,
        versions: Sequence[bytes | Path | None],
        labels: Sequence[str],
    ) -> None:
        self._repository = repository
        self._path = path
        self._labels = labels
        self._settings = repository.config.settings()
        self._statistics: dict[str, Checkpoint] = {}
        self._stack = ExitStack()
        names = [*labels, *("what was merged before" for _ in versions[len(labels) :])]
        self.manifests = self._open(versions, names)
        self.sides = Sides(self.manifests, repository.objects)

    def plan(self, rules: Rules) -> Plan:
        """The plan by these rules. Raises ThetaError as merges.plan does."""
        count = len(self._labels)
        base, *others = self.manifests[:count]
        sides = [one for one in others if one is not None]
        around = self.remainders[:count]
        return planned(
            lambda rules: planning.plan(base, sides, rules, self._labels, around, self._path, self._renamed),
            rules,
        )

    @cached_property
    def _renamed(self) -> list[dict[str, str]]:
        base, *others = self.manifests[: len(self._labels)]
        opened = partial(stored_tensors, self._repository)
        sides = [
            (side, SimilarValues(opened(base), opened(side)) if base is not None else None)
            for side in others
            if side is not None
        ]
        return [{}, *renames_of_sides(base, sides)]

    @cached_property
    def remainders(self) -> list[Remainder | None]:
        """What each version holds besides tensors; where that is the same in all, it is not looked into.

        Raises MissingObject where it cannot be had.
        """
        known = {one.skeleton for one in self.sides.known}
        if len(known) == 1:
            return [undivided(one.skeleton) if one is not None else None for one in self.manifests]
        sources = [(self._path, one) for one in self.sides.known]
        _fetch(self._repository, self.sides.oids(known), sources)
        objects = self._repository.objects
        return [read_remainder(one, objects) if one is not None else None for one in self.manifests]

    def fetch(self, plan: Plan, whole: bool) -> None:
        """Bring here, in one batch, what a plan needs.

        Args:
            whole: all of the result's data, not only what is computed with.

        Raises:
            MissingObject: some cannot be had.
            ThetaError: a checkpoint of statistics is not there, or has other tensors.
        """
        taken = [decision.line for decision in plan.decisions] if whole else []
        lines = [line for line in taken if isinstance(line, TensorLine)] + self.sides.inputs(plan)
        digests = {line.digest for line in lines}
        if plan.skeleton.action != "conflict":
            around = self.manifests[plan.skeleton.side]
            assert around is not None
            digests.add(around.skeleton)
        wanted = self.sides.oids(digests) | self._statistics_oids(plan)
        sources = [*self.sides.known, *(one.manifest for one in self._statistics.values())]
        _fetch(self._repository, wanted, [(self._path, source) for source in sources])

    def apply(
        self,
        plan: Plan,
        *,
        device: str = "auto",
        progress: MergeProgress | None = None,
        warn: Callable[[str], None] | None = None,
        checked_out: bool = False,
    ) -> Applied:
        """Carry out a plan of these sides. Arguments and errors are those of merges.apply and its Means."""
        try:
            return apply(
                plan,
                self.sides,
                Means(
                    self._repository.objects,
                    stock(self._repository, self.sides.known),
                    self._settings,
                    device=device,
                    progress=progress,
                    warn=warn,
                    open_statistics=self._open_statistics,
                    checked_out=checked_out and not (self._repository.bare or self._settings.skip_smudge),
                ),
                self._path,
            )
        except ThetaError as error:
            raise named(self._path, error) from None

    def close(self) -> None:
        """Close files."""
        self._stack.close()

    def _open(self, versions: Sequence[bytes | Path | None], names: Sequence[str]) -> list[Manifest | None]:
        """The manifests; what is none is stored with those as its earlier versions."""
        found: list[Manifest | None] = []
        for version, name in zip(versions, names, strict=True):
            text = manifest_text(version)
            found.append(self._parsed(text, name) if text is not None else None)
        recorded = [(manifests.write(one), one) for one in found if one is not None]
        for place, (version, name) in enumerate(zip(versions, names, strict=True)):
            if found[place] is None and version is not None:
                text = self._stored(version, recorded)
                recorded.append((text, self._parsed(text, name)))
                found[place] = recorded[-1][1]
        return found

    def _parsed(self, text: bytes, name: str) -> Manifest:
        """The manifest of a side; of a stash of hunks, the one that these make."""
        try:
            return mending.whole(self._repository, self._path, text)[1]
        except DamagedManifest as error:
            error.message = f"the version of {name}: {error.message}"
            raise named(self._path, error) from None

    def _stored(self, version: bytes | Path, recorded: Sequence[tuple[bytes, Manifest]]) -> bytes:
        cleaner = Cleaner(
            self._repository.objects,
            lambda request: stock(self._repository, [manifest for _, manifest in request.recorded]),
            replace(self._settings, allow_damaged=True),  # as it is in Git already, it must be storable
            lambda line: None,
        )
        with self._file(version) as file:
            return cleaner.clean(Content.of(file), Request(self._path, recorded, tuple, looks_only=False))

    @contextmanager
    def _file(self, version: bytes | Path) -> Iterator[IO[bytes]]:
        if isinstance(version, Path):
            with version.open("rb") as file:
                yield file
            return
        with self._repository.store.spool() as spool:
            spool.write(version)
            spool.flush()
            yield spool

    def _open_statistics(self, source: str, name: str) -> Tensor:
        opened = self._statistics_of(source)
        line = opened.manifest.tensor(name)
        if line is None:
            raise ThetaError(
                f"{source} has no tensor {name!r}",
                f"give statistics of the same model, or merge {name} with another strategy",
            )
        return opened.tensor(line)

    def _statistics_of(self, source: str) -> Checkpoint:
        if source not in self._statistics:
            opened = checkpoint.from_blob(self._repository, source)
            if opened is None:
                raise ThetaError(f"there is no {source}", "name a checkpoint as REV:PATH")
            self._stack.callback(opened.close)
            self._statistics[source] = opened
        return self._statistics[source]

    def _statistics_oids(self, plan: Plan) -> dict[str, int]:
        lines: list[StorageLine] = []
        for decision in plan.decisions:
            combination = decision.combination
            if combination is None or decision.same_as or not combination.strategy.statistics:
                continue
            sources = getattr(combination.options, combination.strategy.statistics)
            models = inputs_of(decision)[-len(combination.sides) :]
            for source, model in zip(sources, models, strict=True):
                manifest = self._statistics_of(source).manifest
                line = manifest.tensor(model.name)
                if line is not None and line.digest in manifest.storage:
                    lines += closure([line.digest], manifest.storage).values()
        return {line.oid: line.size for line in lines}


def fetch_changed(repository: Repository, before: str, after: str) -> None:
    """Bring here what going from one commit or tree to another one writes. Raises MissingObject."""
    listed = regular_files(repository.raw_changes("diff-tree", "-r", before, after))
    changed = sizes(repository, [(entry.after, entry.path) for entry in listed if entry.after])
    found = [(blob.path, parsed(text)) for blob, text in find_manifests(repository, changed)]
    sources = [(path, manifest) for path, manifest in found if manifest is not None]
    _fetch(repository, {oid: size for _, one in sources for oid, size in one.oids().items()}, sources)


def _fetch(
    repository: Repository, objects: Mapping[str, int], sources: Sequence[tuple[str, Manifest]]
) -> None:
    """Bring objects here, which the manifests of these paths name."""
    lacking = missing(repository, objects)
    if not lacking:
        return
    with Progress("Fetching objects", sum(lacking.values()), sized=True) as progress:
        reasons = fetch_missing(repository, lacking, advance=progress.advance)
    for path, manifest in sources:
        if lost := sorted(reasons.keys() & manifest.oids()):
            error = named(path, missing_error(manifest, lost, reasons))
            error.remedy = advice(repository).text()
            raise error


def manifest_text(version: bytes | Path | None) -> bytes | None:
    """A version (see CheckpointMerge), if it is a manifest."""
    if isinstance(version, Path):
        with version.open("rb") as file:
            head = file.read(_HEAD)
            return head + file.read() if manifests.is_manifest(head) else None
    return version if version is not None and manifests.is_manifest(version) else None
