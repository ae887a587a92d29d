"""Repairs manifests that come back from a patch, without storage or mixed from several versions.

`git apply`, `git checkout -p` and their like work on lines of manifests, and hand over what comes of it when
the file itself is gone already. A manifest without storage is completed from what is known here. Lines of
several versions are a version of their own, if the tensors are known and fit into the rest of one of them:
so hunks are a way to take single tensors from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, MissingObject, UnstoredManifest
from git_theta.filters.stand_ins import parsed
from git_theta.git.repository import Repository
from git_theta.manifest import Lines, Manifest, TensorLine, View
from git_theta.manifest.chains import closure, merged
from git_theta.objects.index import Lines as Stored
from git_theta.remotes.fetching import fetch_missing
from git_theta.terminal.units import counted
from git_theta.versions import past_versions
from git_theta.versions.recorded import recorded

_LIMIT = 1000  # versions of a path that are looked at


def whole(repository: Repository, pathname: str, text: bytes, *others: Manifest) -> tuple[bytes, Manifest]:
    """The complete manifest that a text stands for, and its text; the same text if nothing is amiss.

    Args:
        others: versions that Git has nowhere, such as that of the work tree.

    Raises:
        DamagedManifest: it means no checkpoint, or one that was never stored.
        MissingObject: a mixed one cannot be made, because objects are not to be had.
    """
    try:
        manifest = manifests.parse(text)
    except DamagedManifest as error:
        lines = _lines(text)
        found = _mixed(repository, pathname, lines, others) if lines is not None else None
        if found is None:
            raise error from None
        return found, manifests.parse(found)
    if manifest.storage:
        return text, manifest
    for version in _versions(repository, pathname, others):
        if version.root == manifest.root and version.storage:
            return manifests.write(version), version
    stored = _Stored(repository, manifest.storage, _versions(repository, pathname, others))
    lines_of = {digest: stored.find(digest) for digest in manifest.digests()}
    if None in lines_of.values():
        raise UnstoredManifest("its data were never stored here")
    manifest = manifest.with_storage(_together(lines_of))
    return manifests.write(manifest), manifest


def _lines(text: bytes) -> Lines | None:
    """The lines of a text if each is right, and no two are about the same name."""
    try:
        lines = manifests.read_lines(text)
    except DamagedManifest:
        return None
    names = [line.name for line in _all(lines)]
    return lines if names and len(names) == len(set(names)) else None


def _all(lines: Lines) -> list[TensorLine | View]:
    return [*lines.tensors, *lines.views]


def _mixed(repository: Repository, pathname: str, lines: Lines, others: Iterable[Manifest]) -> bytes | None:
    """Make the manifest of a file with these tensors; None where no version has them, or has their layout."""
    frame = _frame(lines, _versions(repository, pathname, others))
    if frame is None:
        return None
    stored = _Stored(repository, lines.storage, _versions(repository, pathname, others))
    digests = dict.fromkeys([*(line.digest for line in lines.tensors), frame.skeleton])
    lines_of = {digest: stored.find(digest) for digest in digests}
    if None in lines_of.values():
        return None
    frame = frame.with_storage(_together(lines_of))
    if reasons := fetch_missing(repository, frame.oids()):
        oid, why = next(iter(reasons.items()))
        lost = counted(len(reasons), "object is", "objects are")
        raise MissingObject(f"{lost} missing, the first is {oid}: {why}", oids=(*reasons,))
    return _framed(repository, pathname, frame, lines)


def _frame(lines: Lines, versions: Iterable[Manifest]) -> Manifest | None:
    """The version whose file the tensors fit into, preferably the one with the skeleton that lines name."""
    kinds = _kinds(lines.tensors, lines.views)
    fitting = [one for one in versions if one.storage and _kinds(one.tensors, one.views) == kinds]
    skeletons = [digest for digest, _ in lines.skeletons]
    fitting.sort(key=lambda one: one.skeleton not in skeletons)
    return fitting[0] if fitting else None


def _kinds(tensors: Iterable[TensorLine], views: Iterable[View]) -> set[TensorLine | View]:
    """Tensors without their values, and views."""
    return {*(replace(line, digest="") for line in tensors), *views}


def _framed(repository: Repository, pathname: str, frame: Manifest, lines: Lines) -> bytes:
    """Make a manifest of one version's file with the tensors of these lines, its checksums corrected."""
    from git_theta.merges.apply import Means, apply
    from git_theta.merges.decisions import OURS, Decision, Plan, SkeletonDecision
    from git_theta.merges.sides import Sides
    from git_theta.versions.stock import stock

    decisions = [
        Decision(line.name, "take", "changed on one side", (None, line), OURS, of=getattr(line, "of", ""))
        for line in sorted(_all(lines), key=lambda line: line.name)
    ]
    plan = Plan(("base", "ours"), frame.format, tuple(decisions), SkeletonDecision("take", OURS))
    means = Means(repository.objects, stock(repository, [frame]), repository.config.settings())
    return apply(plan, Sides([None, frame], repository.objects), means, pathname).text


def _together(lines_of: Mapping[str, Stored | None]) -> Stored:
    """Merge storage lines of several places into one set without contradictions."""
    found = [(digest, lines) for digest, lines in lines_of.items() if lines is not None]
    return closure(lines_of, merged(found))


class _Stored:
    """Where digests are stored, as far as a text, the local index and versions of the file say."""

    def __init__(self, repository: Repository, own: Stored, versions: Iterator[Manifest]) -> None:
        self._repository = repository
        self._sources = [own]
        self._versions = versions

    def find(self, digest: str) -> Stored | None:
        """The lines of a digest and of its bases; None if nobody knows."""
        for lines in self._repository.index.find(digest):
            here = all(self._repository.store.has(line.oid, line.size) for line in lines.values())
            if here and self._repository.objects.describes(lines[digest]):
                return lines
        for storage in self._known():
            if digest in storage:
                with suppress(DamagedManifest):
                    return closure([digest], storage)
        return None

    def _known(self) -> Iterator[Stored]:
        yield from self._sources
        for version in self._versions:
            self._sources.append(version.storage)
            yield version.storage


def _versions(repository: Repository, pathname: str, others: Iterable[Manifest]) -> Iterator[Manifest]:
    """Versions of a path: these, then those at hand, then those of all its history, the latest first."""
    seen = set()
    for version in _all_versions(repository, pathname, others):
        if version.root not in seen:
            seen.add(version.root)
            yield version


def _all_versions(repository: Repository, pathname: str, others: Iterable[Manifest]) -> Iterator[Manifest]:
    yield from others
    for _, version in recorded(repository, pathname):
        yield version
    for oid in past_versions.blobs(repository, pathname, f"--max-count={_LIMIT}"):
        if found := parsed(repository.blob(oid)):
            yield found
