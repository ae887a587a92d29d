"""`git theta resolve`: decides on tensors that a merge has left open, until none is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, ThetaError
from git_theta.filters import stand_ins
from git_theta.filters.stand_ins import parsed
from git_theta.git.blobs import lost
from git_theta.git.operation import how_to_finish
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.merges.decisions import Plan
from git_theta.merges.narrowing import continued, device_of
from git_theta.merges.options import parse_pairs
from git_theta.merges.registry import parse
from git_theta.merges.resolutions import of_conflicts
from git_theta.merges.rules import Choice, Rule, Rules, check_matches, parse_rows, parse_rule, parse_strategy
from git_theta.merges.skeletons import is_named_for
from git_theta.merging import applied, conflict_sides, conflicts, provenance
from git_theta.merging.checkpoint_merge import CheckpointMerge
from git_theta.merging.conflict_sides import STAGES, Open
from git_theta.merging.conflicts import Conflict
from git_theta.merging.report import about_factors, about_ranks, explain
from git_theta.merging.settings import rules_for
from git_theta.patterns import read
from git_theta.terminal.interrupts import held_back
from git_theta.terminal.progress import Progress, aside
from git_theta.terminal.showing import Say, operand, pathspec, printable
from git_theta.versions import checkpoint

_PLACE = "the command line"


@dataclass(frozen=True)
class Wanted:
    """What the user has said.

    Attributes:
        strategy: with options; "" for none.
        options: key=value each.
        tensors: patterns; the strategy is for those that match one, for all if there are none.
        rules: further ones, which go before the strategy.
        device: where to compute.
    """

    strategy: str = ""
    options: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    device: str = "auto"

    @property
    def whole_side(self) -> str:
        """The side, where the user has asked for nothing but to take that side whole; otherwise ""."""
        simple = not (self.options or self.tensors or self.rules)
        return self.strategy if simple and self.strategy in STAGES else ""


def resolve(repository: Repository, paths: Sequence[str], wanted: Wanted, say: Say) -> bool:
    """Resolve the conflicts of paths, as far as what is wanted does.

    Args:
        paths: pathspecs, as for git.

    Returns:
        Whether nothing is open any more in these files.

    Raises:
        ThetaError: a path has no conflict, what is wanted makes no sense, or a file cannot be merged like
            this. Files before that one are resolved.
    """
    done = [_resolve(repository, one, wanted, say) for one in conflict_sides.find(repository, paths)]
    if all(done):
        say(f"To finish: {how_to_finish(repository)}")
    return all(done)


def settle(repository: Repository, path: str, mode: str, text: bytes) -> None:
    """Write the file of a manifest, stage it as the resolution of a conflict, and forget the record.

    The file comes first: `git commit -a` takes what is there. The record comes last: until then, the same
    command can be typed again.

    Raises:
        ThetaError: git could not do that.
    """
    oid = repository.write(text)
    top = str(repository.work_tree.absolute())
    with held_back():
        repository = repository.out_of_reach()
        conflict_sides.check_out(repository, path, mode, text)
        repository.git("-C", top, "update-index", "--add", "--cacheinfo", f"{mode},{oid},{path}")
        repository.git("-C", top, "--literal-pathspecs", "add", "--refresh", "--", path)
        conflicts.clear(repository, path)


def _resolve(repository: Repository, one: Open, wanted: Wanted, say: Say) -> bool:
    removed = [side for side in ("ours", "theirs") if STAGES[side] not in one.stages]
    if removed and not wanted.whole_side:
        raise ThetaError(
            f"{printable(one.path)} was removed on one side ({removed[0]}), and changed on the other",
            f"{_take_a_side(one)}; if it was renamed there, abort, and repeat with -Xfind-renames=15",
        )
    _check_untouched(repository, one)
    try:
        merge, alone = _opened(repository, one), bool(removed)
    except DamagedManifest as error:
        error.remedy = error.remedy or _take_a_side(one)
        if not wanted.whole_side:
            raise
        merge, alone = _opened_alone(repository, one, wanted.whole_side), True
    try:
        if alone:
            _take_whole(repository, one, merge, wanted.whole_side, say)
            return True
        return _merge(repository, one, merge, wanted, say)
    finally:
        merge.close()


def _merge(repository: Repository, one: Open, merge: CheckpointMerge, wanted: Wanted, say: Say) -> bool:
    configured, typed = _rules(repository, one, wanted)
    plan = merge.plan(replace(configured, rules=(*configured.rules, *typed)))
    if globs := len(wanted.tensors) + len(wanted.rules):
        check_matches(typed[-globs:], plan.names(), [one.path])
    record = one.record or _new_record(repository, one)
    if not record.merged:
        record = replace(record, settings=tuple(configured.settings()))
    if record.merged:
        *sides, merged = merge.manifests
        remainder = merge.remainders[-1]
        assert merged is not None
        assert remainder is not None
        plan = continued(plan, sides, merged, remainder, record.tensors, record.parts)
    try:
        if plan.skeleton.action == "conflict":
            raise ThetaError(f"{printable(one.path)}: {plan.skeleton.reason}", _take_a_side(one))
        merge.fetch(plan, whole=True)
        with Progress(f"Merging {one.path}", sized=True) as progress:
            applied = merge.apply(
                plan, device=wanted.device, progress=progress, warn=aside(say), checked_out=True
            )
    except ThetaError as error:
        if not wanted.whole_side:
            error.remedy = error.remedy or _take_a_side(one)
            raise
        say(f"The tensors of {printable(one.path)} cannot be merged: {error.message}")
        _take_whole(repository, one, merge, wanted.whole_side, say)
        return True
    for line in about_factors(one.path, plan) + about_ranks(one.path, applied):
        say(line)
    still_open = plan.conflicts()
    record = replace(record, settings=(*record.settings, *_resolutions(typed, bool(still_open))))
    if still_open:
        record = _leave_open(repository, record, plan, applied.text)
        left = conflicts.is_open(plan.open_tensors(), plan.open_parts())
        said = [f"{printable(one.path)}: {left} still open:", *explain(plan)]
        say("\n".join([*said, f"To go on: {conflicts.how_to_resolve(record)}"]))
        return False
    provenance.note(repository, record, applied.manifest.root, device_of([plan], wanted.device))
    settle(repository, one.path, one.stages[STAGES["ours"]][0], applied.text)
    say(f"{printable(one.path)}: everything is merged, and the file is staged.")
    return True


def _new_record(repository: Repository, one: Open) -> Conflict:
    """The record of a conflict that another program than our driver has left."""
    base, ours, theirs = (one.stages.get(stage, ("", ""))[1] for stage in (1, 2, 3))
    return Conflict(
        repository.head,
        one.path,
        base,
        ours,
        theirs,
        *one.names[1:],
        root="",
        applies=conflicts.applies(repository, one.path),
    )


def _resolutions(typed: Sequence[Rule], some_open: bool) -> list[tuple[str, str]]:
    """What was typed, the rule that goes before the others first, for the record of the merge."""
    choices = {str(rule.choice) for rule in typed}
    if len(choices) == 1 and not some_open:
        return [("resolution", f"*: {choices.pop()}")]
    return [("resolution", str(rule)) for rule in reversed(typed)]


def _leave_open(repository: Repository, record: Conflict, plan: Plan, text: bytes) -> Conflict:
    """Write what has been merged by now into the work tree, and down for the next time."""
    merged = repository.write(text)
    left = conflicts.still_open(record, plan, manifests.parse(text).root, merged)
    file = repository.work_tree / record.path
    with held_back():
        conflicts.leave(
            repository, record, left, lambda: conflict_sides.write_file(repository, record.path, text, file)
        )
    return left


def _take_whole(repository: Repository, one: Open, merge: CheckpointMerge, side: str, say: Say) -> None:
    """Take a side's file as it is; where it has none, remove the file."""
    manifest = merge.manifests[STAGES[side] - 1]
    if manifest is None:
        top = str(repository.work_tree.absolute())
        repository.git("-C", top, "rm", "-q", "-f", "--", literally(one.path))
        conflicts.clear(repository, one.path)
        say(f"{printable(one.path)}: removed, as in {side}.")
        return
    formats = {other: found.format for other in STAGES if (found := merge.manifests[STAGES[other] - 1])}
    fitting = [other for other, name in formats.items() if is_named_for(name, one.path)]
    if fitting and side not in fitting:
        raise ThetaError(
            f"{printable(one.path)}: {side} is a {manifest.format} file, and would be one of another name",
            f"git theta resolve {operand(one.path)} --{fitting[-1]}",
        )
    settle(repository, one.path, one.stages[STAGES[side]][0], manifests.write(manifest))
    say(f"{printable(one.path)}: as {side} has it, and the file is staged.")


def _take_a_side(one: Open) -> str:
    return conflicts.take_a_side(one.path)


def _opened(repository: Repository, one: Open) -> CheckpointMerge:
    """Open the versions of a file in conflict, and what its merge had settled before."""
    oids = [one.stages.get(stage, ("", ""))[1] for stage in (1, 2, 3)]
    if one.record is not None and one.record.merged:
        oids.append(one.record.merged)
    return CheckpointMerge(repository, one.path, [_blob(repository, one, oid) for oid in oids], one.names)


def _opened_alone(repository: Repository, one: Open, side: str) -> CheckpointMerge:
    """Open one side of a conflict whose other versions cannot be opened."""
    oids = [one.stages.get(stage, ("", ""))[1] if stage == STAGES[side] else "" for stage in (1, 2, 3)]
    try:
        return CheckpointMerge(repository, one.path, [_blob(repository, one, oid) for oid in oids], one.names)
    except DamagedManifest as error:
        error.remedy = error.remedy or _take_a_side(one)
        raise


def _blob(repository: Repository, one: Open, oid: str) -> bytes | None:
    if not oid:
        return None
    blob = repository.blob(oid)
    if blob is None:
        raise lost(one.path, oid)
    return blob


def _rules(repository: Repository, one: Open, wanted: Wanted) -> tuple[Rules, tuple[Rule, ...]]:
    """What is configured; and what was typed, as rules that go before: they decide on additions, too."""
    rules_of = applied.rules_for if conflicts.applies(repository, one.path) else rules_for
    configured = rules_of(repository, one.path)
    given = (parse_rule(text, _PLACE) for text in wanted.rules)
    decided = tuple(replace(rule, choice=of_conflicts(rule.choice)) for rule in given)
    if not wanted.strategy:
        if wanted.options or wanted.tensors:
            what = "options are given with -o" if wanted.options else "tensors are given with --tensor"
            raise ThetaError(f"{what}, but no merge strategy", "add --strategy NAME, --ours or --theirs")
        return configured, decided
    strategy, values, rows = parse_strategy(wanted.strategy, _PLACE)
    values |= parse_pairs(wanted.options, "-o")
    rows = values.pop("rows", rows)
    choice = of_conflicts(
        Choice(strategy, parse(strategy, values, _PLACE), parse_rows(rows, _PLACE), True, _PLACE)
    )
    typed = tuple(Rule(meant.text, choice, meant.literal) for meant in map(read, wanted.tensors or ("*",)))
    return configured, (*typed, *decided)


def _check_untouched(repository: Repository, one: Open) -> None:
    """Refuse to overwrite a file that somebody has changed since the merge."""
    file = repository.work_tree / one.path
    if not file.is_file() or stand_ins.of_file(file):
        return
    try:
        opened = checkpoint.from_file(repository, file, one.path)
    except DamagedManifest:
        return  # a text merge of manifests
    opened.close()
    roots = {provenance.root(repository, one.path)}  # where we were stopped between file and index
    roots |= one.record.left if one.record is not None else set()
    for _, oid in one.stages.values():
        blob = repository.blob(oid)
        manifest = parsed(blob) if blob else None
        roots.add(manifest.root if manifest is not None else "")
    if opened.manifest.root not in roots and "" not in roots:
        path = pathspec(one.path)
        raise ThetaError(
            f"{printable(one.path)} was changed since the merge; what is in it would be lost",
            f"to keep it: git add {path}; to do without it: git checkout -m -- {path}, then this again",
        )
