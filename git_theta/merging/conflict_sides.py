"""The sides of a conflict, and taking one of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from git_theta import files
from git_theta import manifest as manifests
from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.expansion import Expansion
from git_theta.filters.smudge import Smudger
from git_theta.git.blobs import lost
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.merging import conflicts, marked
from git_theta.merging.conflicts import Conflict, Stages
from git_theta.remotes.advice import advice
from git_theta.remotes.fetching import fetch_missing
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import operand, printable
from git_theta.versions import mending, recovery
from git_theta.versions.places import SUBMODULE, SYMLINK

_EXECUTABLE, _PLAIN = 0o777, 0o666  # but for what the umask says
Side = Literal["base", "ours", "theirs"]
STAGES: dict[str, int] = {"base": 1, "ours": 2, "theirs": 3}


@dataclass(frozen=True)
class Open:
    """A path whose conflict is not resolved.

    Attributes:
        path: from the top of the work tree.
        stages: its versions.
        record: what the merge driver has left; None where it was not asked.
    """

    path: str
    stages: Stages
    record: Conflict | None

    @property
    def names(self) -> tuple[str, str, str]:
        """What base, ours and theirs are called."""
        if self.record is None:
            return "base", "ours", "theirs"
        return "base", self.record.ours_name, self.record.theirs_name


def find(repository: Repository, paths: Sequence[str]) -> list[Open]:
    """The open conflicts among paths, which are pathspecs as for git.

    A file that was staged as the merge driver had left it counts as well, and so does a text with conflict
    markers that stands in place of a checkpoint.

    Raises:
        ThetaError: there are none for one of the paths.
    """
    found: dict[str, Open] = {}
    for given in repository.pathspecs(paths):
        names = repository.paths(within=[given]) or repository.paths("-o", within=[given])
        some = [one for name in names if (one := _open(repository, name)) is not None]
        if not some:
            raise ThetaError(
                f"{printable(given)} has no conflict", "git status lists the files that have one"
            )
        found |= {one.path: one for one in some}
    return list(found.values())


def take_out(repository: Repository, path: str, side: Side, target: Path | None) -> Path:
    """Write one side of a conflict as a file: over the work tree's, unless a target is given.

    The conflict stays.

    Raises:
        ThetaError: there is no conflict, that side has no such file, or its data are not to be had.
    """
    [one] = find(repository, [path])
    version = one.stages.get(STAGES[side])
    if version is None:
        raise ThetaError(f"{printable(one.path)}: {side} has no such file", "git status")
    blob = repository.blob(version[1])
    if blob is None:
        raise lost(one.path, version[1])
    if target is None:
        target = repository.work_tree / one.path
    else:
        files.check_named(target, repository.work_tree)
    write_file(repository, one.path, blob, target)
    return target


def write_file(repository: Repository, path: str, text: bytes, target: Path) -> None:
    """Write what a blob stands for, whole or not at all.

    Raises:
        MissingObject: its data are not to be had.
        ThetaError: the file cannot be written.
    """
    if manifests.is_manifest(text) and stand_ins.recognise(text) is None:
        _expand(repository, path, text, target)
    else:
        files.replace(target, text, top=repository.work_tree, aside=repository.store.temporary)


def check_out(repository: Repository, path: str, mode: str, text: bytes) -> None:
    """Write the file of a manifest into the work tree, whole or not at all.

    As a checkout does, this leaves the manifest itself where the user wants that.

    Raises:
        MissingObject: its data are not to be had.
        ThetaError: the file cannot be written.
    """
    settings, top = repository.config.settings(), repository.work_tree
    allowed = _EXECUTABLE if mode.endswith("755") else _PLAIN
    if settings.skip_smudge or (settings.skip_missing and _lacks(repository, manifests.parse(text))):
        files.replace(top / path, text, allowed, top=top, aside=repository.store.temporary)
    else:
        _expand(repository, path, text, top / path, allowed)


def _open(repository: Repository, path: str) -> Open | None:
    record = conflicts.find(repository, path)
    stages = conflicts.stages(repository, path)
    _check_regular(path, stages)
    if stages:
        oids = [stages.get(stage, ("", ""))[1] for stage in (1, 2, 3)]
        same = record is not None and oids == [record.base, record.ours, record.theirs]
        return Open(path, stages, record if same else None)
    entry = conflicts.staged(repository, path)
    if record is None or entry is None or not conflicts.as_left(repository, record):
        made_of = marked.stages(repository, path, entry)
        return Open(path, made_of, None) if made_of else None
    oids = [record.base, record.ours, record.theirs]
    return Open(path, {stage: (entry.mode, oid) for stage, oid in enumerate(oids, 1) if oid}, record)


def _check_regular(path: str, stages: Stages) -> None:
    """Raises ThetaError where a version is no file: neither its blob nor its place is a checkpoint's."""
    modes = {mode for mode, _ in stages.values()}
    if SUBMODULE in modes:
        raise ThetaError(
            f"{printable(path)} is a submodule on one side, and no checkpoint",
            f"check out there what is wanted, then: git add {operand(path)}",
        )
    if SYMLINK in modes:
        side = f"git checkout --ours -- {operand(path)}"
        raise ThetaError(
            f"{printable(path)} is a symbolic link on one side, and no checkpoint",
            f"{side} (or --theirs), then: git add {operand(path)}",
        )


def _lacks(repository: Repository, manifest: Manifest) -> bool:
    return bool(fetch_missing(repository, manifest.oids()))


def _expand(
    repository: Repository, path: str, text: bytes, target: Path, permissions: int | None = None
) -> None:
    """Write the checkpoint of a manifest."""
    manifest = mending.whole(repository, path, text)[1]
    if reasons := fetch_missing(repository, manifest.oids()):
        lost = recovery.named(path, recovery.missing(manifest, sorted(reasons), reasons))
        lost.remedy = advice(repository).text()
        raise lost
    top, aside = repository.work_tree, repository.store.temporary
    Expansion(repository.config.settings().max_expansion, top).check(manifest)
    with (
        files.replacing(target, permissions, top=top, aside=aside) as file,
        Progress(f"Writing {path}", manifest.size, sized=True) as progress,
    ):
        Smudger(repository.objects).smudge(manifest, progress.counting(file.write))
