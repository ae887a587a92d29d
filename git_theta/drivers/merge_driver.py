"""The merge driver: what Git runs for a file with `merge=theta` (gitattributes(5), "Defining a custom merge
driver").

It is given three manifests in files and writes the result over ours. Git takes every failure for a conflict
and goes on, so whatever happens, ours stays as it was until a result is complete, and a record says that the
file is not merged.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from git_theta import files
from git_theta.errors import MissingObject, ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git import attributes, callers, operation
from git_theta.git.operation import Operation
from git_theta.git.repository import Repository
from git_theta.merges import rule_sources
from git_theta.merges.apply import Applied
from git_theta.merges.decisions import BASE, Plan
from git_theta.merges.device import MissingTorch
from git_theta.merges.narrowing import device_of, without_torch
from git_theta.merges.options import NoOptions
from git_theta.merges.registry import by_name
from git_theta.merges.rules import Choice, Rule, Rules
from git_theta.merging import applied as applied_changes
from git_theta.merging import conflicts, provenance
from git_theta.merging.checkpoint_merge import CheckpointMerge, manifest_text
from git_theta.merging.conflicts import Conflict
from git_theta.merging.report import summary
from git_theta.merging.settings import rules_for, rules_for_ancestors
from git_theta.terminal.progress import Progress, make_way
from git_theta.terminal.showing import printable

_MARKER_SIZE = 7  # unless the attribute conflict-marker-size says otherwise


@dataclass(frozen=True)
class Call:
    """What git gives: files with the three versions, the length of markers, and the path from the top."""

    base: Path
    ours: Path
    theirs: Path
    marker_size: int
    path: str

    @property
    def versions(self) -> list[Path | None]:
        """What each side has, base first; an empty base is none: both sides have added the file."""
        return [self.base if self.base.stat().st_size else None, self.ours, self.theirs]


def run(call: Call) -> int:
    """Merge one file: 0 if there is a result, 1 if there is a conflict."""
    with closing(Repository.here()) as repository:
        if _is_of_ancestors(repository, call):
            return _merge_ancestors(repository, call)
        return _merge_versions(repository, call)


def _merge_versions(repository: Repository, call: Call) -> int:
    command = callers.merging_command()
    doing = _doing(repository, call.path, command)
    record = _record(repository, call, doing, operation.head_after(repository, command))
    conflicts.write(repository, record)  # already here: a driver that is killed has left a conflict, too
    try:
        rules = _rules(repository, call, doing)
        record = replace(record, settings=tuple(rules.settings()))
        plan, applied = _merge(repository, call, doing, rules)
    except ThetaError as error:
        _say(
            f"{error.message}"
            if printable(call.path) in error.message
            else f"{printable(call.path)}: {error.message}"
        )
        if error.remedy:
            _say(f"hint: {error.remedy}")
        if not isinstance(error, MissingObject):
            record = replace(record, helps="side")
        conflicts.write(repository, record)
        _say_how(record, doing)
        return 1
    if applied is None:
        conflicts.write(repository, replace(record, helps="side"))
        _say(f"{printable(call.path)}: {plan.skeleton.reason}")
        _say_how(record, doing)
        return 1
    settled, write = not plan.conflicts(), partial(_write, repository, call.ours, applied.text)
    if settled:
        write()
    else:
        merged = repository.write(applied.text)
        left = conflicts.still_open(record, plan, applied.manifest.root, merged)
        conflicts.leave(repository, record, left, write)
    for line in summary(call.path, plan, applied):
        _say(line)
    if call.versions[BASE] is None and repository.shallow:
        _say(
            f"hint: {printable(call.path)}: this clone is shallow, and lacks the common ancestor: "
            "git fetch --deepen=100"
        )
    if settled:
        provenance.note(repository, record, applied.manifest.root, device_of([plan], "auto"))
        conflicts.clear(repository, call.path)
        return 0
    _say_how(left, doing)
    return 1


def _doing(repository: Repository, path: str, command: Sequence[str]) -> Operation:
    doing = operation.from_command(repository, command)
    has_conflict = conflicts.stages(repository, path) or conflicts.resolved_stages(repository, path)
    if command[:1] in (["checkout"], ["restore"]) and has_conflict:  # which is made again
        return replace(doing, applies=conflicts.applies(repository, path))
    return doing


def _is_of_ancestors(repository: Repository, call: Call) -> bool:
    """Whether git merges several common ancestors into one, for which it asks for longer markers."""
    usual = attributes.values(repository, "conflict-marker-size", [call.path])[0][1]
    return call.marker_size > (int(usual) if usual.isdigit() else _MARKER_SIZE)


def _merge_ancestors(repository: Repository, call: Call) -> int:
    """Merge two common ancestors of a criss-cross history; what they have a conflict in stays as before them.

    Nobody sees the result: it is the base of the merge that was asked for.
    """
    try:
        rules = rules_for_ancestors(repository, call.path)
        merge = CheckpointMerge(repository, call.path, call.versions, ("base", "ours", "theirs"))
        with closing(merge):
            names = [decision.name for decision in merge.plan(rules).conflicts()]
            base = Choice(by_name("base"), NoOptions(), None, True, "")
            plan = merge.plan(
                replace(rules, rules=(*rules.rules, *(Rule(name, base, True) for name in names)))
            )
            if plan.skeleton.action != "conflict" and not plan.conflicts():
                merge.fetch(plan, whole=False)
                _write(repository, call.ours, merge.apply(plan).text)
                return 0
    except ThetaError:
        pass  # the merge that was asked for says what is wrong
    _write(repository, call.ours, call.base.read_bytes())
    return 1


def _rules(repository: Repository, call: Call, doing: Operation) -> Rules:
    typed = [rule_sources.favoured(doing.favoured)] if doing.favoured else []
    rules_of = applied_changes.rules_for if doing.applies else rules_for
    return rules_of(repository, call.path, *typed)


def _merge(repository: Repository, call: Call, doing: Operation, rules: Rules) -> tuple[Plan, Applied | None]:
    """The plan and its result; None where the file as a whole is a conflict."""
    settings = repository.config.settings()
    merge = CheckpointMerge(repository, call.path, call.versions, ("base", doing.ours, doing.theirs))
    with closing(merge):
        plan = merge.plan(rules)
        if plan.skeleton.action == "conflict":
            return plan, None
        # Else the work tree's file could not be written, which would stop git half-way.
        whole = not (repository.bare or settings.skip_smudge or settings.skip_missing)
        merge.fetch(plan, whole)
        with Progress(f"Merging {call.path}", sized=True) as progress:
            try:
                applied = merge.apply(plan, progress=progress, warn=_say, checked_out=True)
            except MissingTorch as error:
                _say(f"{printable(call.path)}: {error.message}")
                _say(f"hint: {error.remedy}")
                plan = without_torch(plan, "torch is not installed")
                applied = merge.apply(plan, progress=progress, warn=_say, checked_out=True)
            return plan, applied


def _record(repository: Repository, call: Call, doing: Operation, head: str) -> Conflict:
    """The record of a file of which nothing has been merged."""
    base, ours_oid, theirs_oid = (
        _oid(repository, version) if version is not None else "" for version in call.versions
    )
    ours = parsed(manifest_text(call.ours) or b"")
    return Conflict(
        head,
        call.path,
        base,
        ours_oid,
        theirs_oid,
        doing.ours,
        doing.theirs,
        ours.root if ours is not None else "",
        applies=doing.applies,
    )


def _oid(repository: Repository, file: Path) -> str:
    return repository.git("hash-object", "-w", "--no-filters", "--", str(file)).decode().strip()


def _write(repository: Repository, file: Path, text: bytes) -> None:
    """Replace a file's contents by complete ones."""
    files.replace(file, text, aside=repository.store.temporary)


def _say_how(record: Conflict, doing: Operation) -> None:
    _say(f"to finish: {conflicts.how_to_resolve(record)}, then: {doing.finish}")


def _say(line: str) -> None:
    make_way()
    print(f"git-theta: {line}" if not line.startswith(" ") else line, file=sys.stderr, flush=True)
