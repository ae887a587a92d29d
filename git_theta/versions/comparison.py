"""Compares versions of a checkpoint, fetches what is missing, decodes what is shared once."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from git_theta.diffs.cache import Memory
from git_theta.diffs.compare import Version, compare_checkpoints
from git_theta.diffs.entries import Entry, entries
from git_theta.diffs.matching import match
from git_theta.errors import MissingObject, ThetaError
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, TensorLine
from git_theta.manifest.chains import met_again
from git_theta.patterns import read
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import printable
from git_theta.versions.checkpoint import Checkpoint, provide_all
from git_theta.versions.norms import norms
from git_theta.versions.places import SUBMODULE, SYMLINK, Place, link_target, open_place

if TYPE_CHECKING:
    from git_theta.diffs.report import Report
    from git_theta.diffs.three_way import ThreeWay
    from git_theta.tensors import Tensor


@dataclass(frozen=True)
class Question:
    """What to find out about each checkpoint.

    Attributes:
        only: pattern of tensors' names to restrict the comparison to, or None.
        names: the names to restrict it to, or None.
        values: whether to read tensors at all.
        binned: whether to count differences by size, for a histogram.
        history: whether this is about what a commit changed, of which the answers are kept.
    """

    only: str | None = None
    names: frozenset[str] | None = None
    values: bool = True
    binned: bool = False
    history: bool = False


def compare(
    repository: Repository | None,
    old: Place,
    new: Place,
    question: Question,
    *,
    header: Sequence[str] = (),
    visible: bool = True,
    there: Container[str] = (),
) -> Report:
    """Compare what is at two places.

    Args:
        header: see Report.
        visible: whether a progress bar may be shown.
        there: oids of objects that were not stored for the newer version, besides those of the older one.

    Raises:
        ThetaError: what is at one of the places cannot be opened.
    """
    with ExitStack() as stack:
        opened = _open(repository, (old, new), stack)
        manifests = [_restricted(checkpoint, question.names) for checkpoint in opened]
        memory = Memory(repository.index) if repository is not None and question.history else None
        lines = _differing(manifests[0], manifests[1], question.only, memory) if question.values else [[], []]
        versions = [
            replace(version, manifest=manifest)
            for version, manifest in zip(
                _versions(repository, (old, new), opened, lines, visible), manifests, strict=True
            )
        ]
        bar = stack.enter_context(Progress(f"Comparing {new.path or old.path}"))
        report = compare_checkpoints(
            *versions,
            path=new.path or old.path,
            only=question.only,
            values=question.values,
            binned=question.binned,
            progress=bar if visible else None,
            memory=memory,
            there=there,
        )
        notes = [note for checkpoint in opened if checkpoint for note in checkpoint.notes]
        notes += [*_no_file(repository, old, "was"), *_no_file(repository, new, "now")]
        notes += _tracking((old, new), opened)
        moved = old.path if old.path not in ("", new.path) else ""
        return replace(report, old_path=moved, header=tuple(header), notes=tuple(notes))


def compare_three(
    repository: Repository,
    places: tuple[Place, Place, Place],
    only: str | None = None,
    *,
    visible: bool = True,
) -> ThreeWay:
    """Compare two versions with their common base.

    Args:
        places: of base, ours and theirs.

    Raises:
        ThetaError: what is at one of the places cannot be opened.
    """
    from git_theta.diffs import three_way

    with ExitStack() as stack:
        opened = _open(repository, places, stack)
        manifests = [checkpoint.manifest if checkpoint else None for checkpoint in opened]
        versions = _versions(repository, places, opened, _changed_by_any(manifests, only), visible)
        path = places[1].path
        bar = stack.enter_context(Progress(f"Comparing {path}"))
        base = opened[0]
        return three_way.compare_three(
            *versions,
            path=path,
            only=only,
            norms=partial(norms, repository, base) if base is not None else None,
            progress=bar if visible else None,
        )


def _open(
    repository: Repository | None, places: Sequence[Place], stack: ExitStack
) -> list[Checkpoint | None]:
    """What is at the places; a place that is named twice is opened once."""
    found: dict[Place, Checkpoint | None] = {}
    for place in places:
        if place not in found:
            found[place] = open_place(repository, place)
            if (checkpoint := found[place]) is not None:
                stack.callback(checkpoint.close)
    return [found[place] for place in places]


def _versions(
    repository: Repository | None,
    places: Sequence[Place],
    opened: Sequence[Checkpoint | None],
    lines: Sequence[Sequence[TensorLine]],
    visible: bool,
) -> list[Version]:
    """The sides of a comparison that will read these lines."""
    missing: list[dict[str, MissingObject]] = [{} for _ in opened]
    there = [number for number, checkpoint in enumerate(opened) if checkpoint is not None]
    wanted = [(checkpoint, lines[n]) for n, checkpoint in enumerate(opened) if checkpoint is not None]
    if repository is not None and any(some for _, some in wanted):
        for number, reasons in zip(there, _provide(repository, wanted, visible), strict=True):
            missing[number] = reasons
    shared = met_again(
        ({line.digest for line in some} & checkpoint.manifest.storage.keys(), checkpoint.manifest.storage)
        for checkpoint, some in wanted
    )
    return [
        _version(place, checkpoint, reasons, shared)
        for place, checkpoint, reasons in zip(places, opened, missing, strict=True)
    ]


def _version(
    place: Place,
    checkpoint: Checkpoint | None,
    missing: dict[str, MissingObject],
    shared: Collection[str],
) -> Version:
    def opener(line: TensorLine) -> Tensor:
        if line.name in missing:
            raise missing[line.name]
        if checkpoint is None:
            raise ThetaError(f"{printable(place.path)} is not there")
        return checkpoint.tensor(line, shared)

    return Version(checkpoint.manifest if checkpoint else None, opener, place.label)


def _restricted(checkpoint: Checkpoint | None, names: Collection[str] | None) -> Manifest | None:
    """A manifest with these tensors only, and with those that they are views of."""
    if checkpoint is None or names is None:
        return checkpoint.manifest if checkpoint else None
    manifest = checkpoint.manifest
    views = tuple(view for view in manifest.views if view.name in names)
    kept = {*names, *(view.of for view in views)}
    tensors = tuple(line for line in manifest.tensors if line.name in kept)
    return replace(manifest, tensors=tensors, views=views)


def _provide(
    repository: Repository, wanted: Sequence[tuple[Checkpoint, Sequence[TensorLine]]], visible: bool
) -> list[dict[str, MissingObject]]:
    everything = sum(size for checkpoint, _ in wanted for size in checkpoint.manifest.oids().values())
    with Progress("Fetching objects", everything, sized=True, quiet=not visible) as progress:
        return provide_all(repository, wanted, progress.advance)


def _differing(
    old: Manifest | None, new: Manifest | None, only: str | None, memory: Memory | None
) -> list[list[TensorLine]]:
    """The stored tensors that a comparison will read."""
    if old is None or new is None:
        return [[], []]
    every = match(old, new).matches
    some = match(old, new, only=only).matches if only is not None else every
    asked: list[tuple[Entry | None, Entry | None]] = [
        (found.old, found.new)
        for found in some
        if found.old
        and found.new
        and not found.same_data
        and (memory is None or memory.find(found.old, found.new) is None)
    ]
    apart = [(found.old, found.new) for found in every if found.old is None or found.new is None]
    if (
        len({old is None for old, _ in apart}) == 2
    ):  # some went and some came: their values tell if they moved
        asked += apart
    return [_lines(pair[side] for pair in asked) for side in (0, 1)]


def _lines(found: Iterable[Entry | None]) -> list[TensorLine]:
    """What to open for these tensors, each stored one once."""
    return list({entry.line.name: entry.line for entry in found if entry is not None}.values())


def _changed_by_any(manifests: Sequence[Manifest | None], only: str | None) -> list[list[TensorLine]]:
    """The stored tensors of three versions that are not the same in all of them."""
    every = [{line.digest for line in manifest.tensors} if manifest else set() for manifest in manifests]
    common = every[0] & every[1] & every[2]
    found = [entries(manifest) if manifest else {} for manifest in manifests]
    pattern = read(only).among({name for side in found for name in side}) if only is not None else None
    return [
        _lines(
            entry
            for entry in side.values()
            if entry.line.digest not in common and (pattern is None or pattern.matches(entry.name))
        )
        for side in found
    ]


def _tracking(places: Sequence[Place], opened: Sequence[Checkpoint | None]) -> list[str]:
    """The remark on a checkpoint of which only one of two versions is stored by git-theta."""
    whole = [
        bool(place.oid) and checkpoint is not None and checkpoint.text is None
        for place, checkpoint in zip(places, opened, strict=True)
    ]
    if None in opened or whole[0] == whole[1]:
        return []
    return [
        "now in Git as a whole file, not tracked" if whole[1] else "was in Git as a whole file, not tracked"
    ]


def _no_file(repository: Repository | None, place: Place, when: str) -> list[str]:
    """What to say about a place where there is something else than a file."""
    if place.mode == SYMLINK:
        return [f"{when} a symbolic link to {link_target(repository, place)}"]
    return [f"{when} a submodule at {place.oid[:12]}"] if place.mode == SUBMODULE else []
