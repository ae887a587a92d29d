"""The merge driver: what Git runs for a file with `merge=theta` (gitattributes(5), "Defining a custom merge
driver").

It is given three manifests in files and writes the result over ours. Git takes every failure for a conflict
and goes on, so whatever happens, ours stays as it was until a result is complete, and a record says that the
file is not merged.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from git_theta import files
from git_theta.checkpoints.remainder import TYPE
from git_theta.diffs.text import counted
from git_theta.errors import MissingObject, ThetaError
from git_theta.git import attributes, callers, operation
from git_theta.git.operation import Operation
from git_theta.git.repository import Repository
from git_theta.merges import factors, places
from git_theta.merges.apply import Applied
from git_theta.merges.decisions import BASE, PartDecision, Plan, is_one_sided
from git_theta.merges.device import MissingTorch
from git_theta.merges.narrowing import device_of, without_torch
from git_theta.merges.options import NoOptions
from git_theta.merges.registry import by_name
from git_theta.merges.rules import Choice, Rule, Rules
from git_theta.merging import applied as applied_changes
from git_theta.merging import conflicts, provenance
from git_theta.merging.checkpoint_merge import CheckpointMerge, manifest_text
from git_theta.merging.conflicts import Conflict
from git_theta.merging.settings import rules_for, rules_for_ancestors
from git_theta.terminal.progress_bar import ProgressBar
from git_theta.terminal.showing import printable
from git_theta.versions.recorded import parsed

_SHOWN = 5  # reasons
_TAKEN, _OPEN = "taken from one side", "in conflict"
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
        merged = _stored(repository, applied.text)
        left = conflicts.still_open(record, plan, applied.manifest.root, merged)
        conflicts.leave(repository, record, left, write)
    for line in summary(call.path, plan, applied):
        _say(line)
    if call.versions[BASE] is None and _is_shallow(repository):
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


def explain(plan: Plan) -> list[str]:
    """Why there are conflicts, in lines: the commonest reasons, with tensors that they are about."""
    names: dict[str, list[str]] = {}
    for decision in plan.conflicts():
        names.setdefault(decision.reason, []).append(decision.name)
    lines = []
    for reason, found in sorted(names.items(), key=lambda item: -len(item[1]))[:_SHOWN]:
        more = f" and {len(found) - 2} more" if len(found) > 3 else ""
        shown = found[: 2 if more else 3]
        lines.append(f"  {', '.join(map(printable, shown))}{more}: {reason}")
    if len(names) > _SHOWN:
        lines.append(f"  ... and {len(names) - _SHOWN} more reasons")
    return lines


def _rules(repository: Repository, call: Call, doing: Operation) -> Rules:
    typed = [places.favoured(doing.favoured)] if doing.favoured else []
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
        with ProgressBar(f"Merging {call.path}") as progress:
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


def _is_shallow(repository: Repository) -> bool:
    return repository.git("rev-parse", "--is-shallow-repository").strip() == b"true"


def _oid(repository: Repository, file: Path) -> str:
    return repository.git("hash-object", "-w", "--no-filters", "--", str(file)).decode().strip()


def _stored(repository: Repository, text: bytes) -> str:
    return repository.git("hash-object", "-w", "--stdin", stdin=text).decode().strip()


def _write(repository: Repository, file: Path, text: bytes) -> None:
    """Replace a file's contents by complete ones."""
    files.replace(file, text, aside=repository.store.temporary)


def summary(path: str, plan: Plan, applied: Applied) -> list[str]:
    """What was merged, in lines."""
    counts = Counter(decision.action for decision in plan.decisions if not decision.counter)
    taken = sum(
        one.action == "take" and one.state != "unchanged" and not one.counter for one in plan.decisions
    )
    counters = sum(one.counter for one in plan.decisions) + sum(one.counter for one in plan.parts)
    strategies = Counter(
        (is_one_sided(decision), decision.combination.strategy.name)
        for decision in plan.decisions
        if decision.combination
    )
    parts = [
        f"{count} {'changed on some sides only, combined' if one_sided else 'merged'} ({name})"
        for (one_sided, name), count in strategies.most_common()
    ]
    numbers = (
        ("taken from one side", taken),
        ("added", counts["add"]),
        ("removed", counts["remove"]),
        ("in conflict", counts["conflict"]),
    )
    parts += [f"{count} {word}" for word, count in numbers if count]
    parts += [f"{counted(counters, 'note')} of the training kept as ours"] if counters else []
    others = Counter(_what_became_of(part) for part in plan.parts)
    parts += [f"{counted(others[word], 'other value')} {word}" for word in (_TAKEN, _OPEN) if others[word]]
    lines = [
        f"{printable(path)}: {counted(len(plan.decisions), 'tensor')}: {', '.join(parts) or 'none changed'}"
    ]
    for name, count in applied.not_finite.items():
        lines.append(f"warning: {printable(path)}: {count} entries of {name} are not finite in the result")
    return lines + about_factors(path, plan) + about_ranks(path, applied) + explain(plan)


def _what_became_of(part: PartDecision) -> str:
    if part.action == "conflict":
        return _OPEN
    one_sided = part.state.endswith("on one side") and not part.counter
    return _TAKEN if one_sided and not part.name.endswith(TYPE) else ""


def about_factors(path: str, plan: Plan) -> list[str]:
    """Warnings where factors are merged apart, and what would be right."""
    lines = []
    if found := factors.apart(plan):
        lines.append(
            f"warning: {printable(path)}: {counted(len(found), 'pair')} of LoRA factors "
            f"({printable(found[0].first)}, ...) merged apart: "
            "what comes out is not the merged product; average and linear merge that with lora=product"
        )
    if names := factors.others_apart(plan):
        lines.append(
            f"warning: {printable(path)}: factors of {counted(len(names), 'update')} "
            f"({printable(names[0])}, ...) merged apart: "
            "what comes out is not the merged update; ours and theirs take one as it is"
        )
    return lines


def about_ranks(path: str, applied: Applied) -> list[str]:
    """A warning where our rank cannot hold merged products."""
    if not applied.lost:
        return []
    name = max(applied.lost, key=lambda name: applied.lost[name])
    return [
        f"warning: {printable(path)}: {len(applied.lost)} merged LoRA products do not fit our rank: up to "
        f"{100 * applied.lost[name]:.2g} % of them is lost ({printable(name)})"
    ]


def open_words(plan: Plan) -> str:
    """How much a plan leaves open."""
    tensors, parts = len(plan.open_tensors()), len(plan.open_parts())
    words = [f"{tensors} tensors"] if tensors or not parts else []
    words += [counted(parts, "other value")] if parts else []
    return f"{' and '.join(words)} {'is' if (tensors, parts) == (0, 1) else 'are'}"


def _say_how(record: Conflict, doing: Operation) -> None:
    _say(f"to finish: {conflicts.how_to_resolve(record)}, then: {doing.finish}")


def _say(line: str) -> None:
    print(f"git-theta: {line}" if not line.startswith(" ") else line, file=sys.stderr, flush=True)
