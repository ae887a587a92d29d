"""`git theta mergetool`: asks about each tensor that a merge has left open, and resolves it as answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from git_theta.commands.resolve import Wanted, resolve
from git_theta.diffs import layers, text
from git_theta.diffs.three_way import TaskRow
from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.merges import companions
from git_theta.merges.rules import parse_rule
from git_theta.merging import conflict_sides, conflicts
from git_theta.merging.conflict_sides import STAGES, Open
from git_theta.patterns import Pattern, read, written
from git_theta.terminal.showing import Say, printable
from git_theta.versions.comparison import compare_three
from git_theta.versions.places import Place

Ask = Callable[[str], str | None]
"""Shows a prompt and returns a line; None when there are no more."""

HELP = """\
Answer with what to do:  ours, theirs, base, or a strategy with its options: ties density=0.3
                         (o, t, b for short; git theta strategies lists all), or skip (s): leave it open
and, after an @, for which tensors:  @layer, @all that are left, @GLOB, @"NAME"; without it, for this one
                         for example: theirs @layer    ours @*.bias    ties @all
Codes and their scales are one tensor: what is answered for one of them counts for all.
done: carry out what was answered, leave the rest open.   quit: change nothing.   ?: this text"""

_FOR_PARTS = ("ours", "theirs", "base", "skip")
_SHORT = {"o": "ours", "t": "theirs", "b": "base", "s": "skip"}


class Given(Exception):
    """The user's answer cannot be carried out; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What to do, and for which tensors: "" for this one, layer, all, or a pattern."""

    choice: str
    scope: str


def run(
    repository: Repository, paths: Sequence[str], ask: Ask, say: Say, *, patient: bool, device: str = "auto"
) -> bool:
    """Go through the conflicts of paths.

    Args:
        paths: pathspecs; all conflicts of checkpoints, unless any are given.
        ask: where answers come from.
        patient: whether to ask again after an answer that makes no sense.

    Returns:
        Whether nothing is open any more in these files.

    Raises:
        ThetaError: there is no conflict, an answer makes no sense, or as `resolve` does.
    """
    done = [
        _walk(repository, one, ask, say, patient, device)
        for one in conflict_sides.find(repository, paths or _all(repository))
    ]
    return all(done)


def _all(repository: Repository) -> list[str]:
    found = [literally(one.path) for one in conflicts.everything(repository)]
    if not found:
        raise ThetaError("no checkpoint has a conflict", "git status lists the files that have one")
    return found


def _walk(repository: Repository, one: Open, ask: Ask, say: Say, patient: bool, device: str) -> bool:
    say(f"{printable(one.path)}:")
    for line in _context(repository, one):
        say(f"  {line}")
    removed = [side for side in ("ours", "theirs") if STAGES[side] not in one.stages]
    if removed:
        say(f"  {removed[0]} has removed the file, the other side has changed it")
        answer = _asked(ask, say, patient, "take ours or theirs? ", ("ours", "theirs"))
        wanted = Wanted(answer.choice if answer is not None else "")
    else:
        rows = _open_rows(repository, one)
        choices = _choices(rows, ask, say, patient)
        wanted = Wanted(
            rules=tuple(f"{written(name)}: {choice}" for name, choice in choices.items()), device=device
        )
    if not wanted.strategy and not wanted.rules:
        say(f"{printable(one.path)}: nothing was decided, nothing is changed")
        return False
    return resolve(repository, [literally(one.path)], wanted, say)


@dataclass(frozen=True)
class PartRow:
    """What is open and no tensor: only a side can be taken."""

    name: str
    layer: str = "no tensors"


Row = TaskRow | PartRow


def _choices(rows: Sequence[Row], ask: Ask, say: Say, patient: bool) -> dict[str, str]:
    """What is to be done with each tensor, by name; none for those that stay open."""
    decided: dict[str, str] = {}
    skipped: set[str] = set()
    dtypes = {row.name: [dtype(row.dtype)] for row in rows if not isinstance(row, PartRow)}
    together = [set(names) for names in companions.groups(dtypes)]
    for layer, group in groupby(rows, key=lambda row: row.layer):
        members = list(group)
        if all(row.name in decided or row.name in skipped for row in members):
            continue
        for line in _table(layer, members):
            say(line)
        for row in members:
            while row.name not in decided and row.name not in skipped:
                answer = _asked(ask, say, patient, f"{text.printable(row.name)}? ")
                if answer is None or answer.choice == "done":
                    return decided
                if answer.choice == "quit":
                    return {}
                left = [other for other in rows if other.name not in decided and other.name not in skipped]
                pattern = read(answer.scope).among([other.name for other in rows])
                meant = [other.name for other in left if _means(answer, pattern, row, other)]
                meant += [name for group in together if not group.isdisjoint(meant) for name in group]
                if answer.choice not in _FOR_PARTS and isinstance(row, PartRow) and row.name in meant:
                    say(f"{text.printable(row.name)} is no tensor: answer ours, theirs, base or skip")
                elif not meant:
                    say(f"no tensor that is left matches {answer.scope}")
                elif answer.choice == "skip":
                    skipped |= set(meant)
                else:
                    decided |= dict.fromkeys(meant, answer.choice)
    return decided


def _means(answer: Answer, pattern: Pattern, asked: Row, other: Row) -> bool:
    if answer.scope == "":
        return other is asked
    if isinstance(other, PartRow) and answer.choice not in _FOR_PARTS:
        return False
    if answer.scope == "layer":
        return other.layer == asked.layer
    return answer.scope == "all" or pattern.matches(other.name)


def _asked(ask: Ask, say: Say, patient: bool, prompt: str, allowed: Sequence[str] = ()) -> Answer | None:
    """An answer that makes sense; None where there are no more."""
    while (line := ask(prompt)) is not None:
        if line.strip() in ("?", "help"):
            say(HELP)
            continue
        try:
            return _parsed(line, allowed)
        except Given as error:
            if not patient:
                raise ThetaError(
                    f"the answer {line.strip()!r}: {error}", "git theta mergetool --help"
                ) from None
            say(f"{error}; ? explains what to answer")
    return None


def _parsed(line: str, allowed: Sequence[str]) -> Answer:
    """Raises Given."""
    choice, at, scope = (part.strip() for part in line.partition("@"))
    choice = _SHORT.get(choice, choice)
    if at and not scope:
        raise Given("after the @ comes layer, all, a glob or a name in quotes")
    if not choice:
        raise Given("nothing is chosen")
    if allowed and choice not in allowed:
        raise Given(f"choose one of {', '.join(allowed)}")
    if choice not in ("skip", "done", "quit"):
        try:
            parse_rule(f"*: {choice}", "an answer")
        except ThetaError as error:
            raise Given(error.message) from None
    return Answer(choice, scope)


def _open_rows(repository: Repository, one: Open) -> list[Row]:
    """The open tensors, by layer, then what else is open."""
    if one.record is not None and one.record.names and not one.record.tensors:
        return [PartRow(name) for name in one.record.parts]
    base, ours, theirs = (
        Place(one.path, *one.stages.get(stage, ("", "")), label=name)
        for stage, name in enumerate(one.names, 1)
    )
    rows = compare_three(repository, (base, ours, theirs)).rows
    still_open = set(one.record.tensors) if one.record is not None and one.record.tensors else None
    parts = one.record.parts if one.record is not None else ()
    found = [row for row in rows if (row.both if still_open is None else row.name in still_open)]
    found.sort(key=lambda row: (layers.natural(row.layer), layers.natural(row.name)))
    return [*found, *(PartRow(name) for name in parts)]


def _table(layer: str, members: Sequence[Row]) -> Iterator[str]:
    rows = [row for row in members if not isinstance(row, PartRow)]
    if not rows:
        yield "what is no tensor:"
        return
    width = max(10, *(text.width(text.printable(row.name)) for row in rows))
    title = text.fit(text.printable(layer) or "of no layer", width + 2)
    yield f"{title} {'shape':>14} {'|ours|':>9} {'|theirs|':>9} {'cosine':>7} {'conflicts':>9}"
    for row in rows:
        found = row.agreement
        start = f"  {text.fit(text.printable(row.name), width)} {text.shape(row.shape):>14}"
        if found is None:
            yield f"{start} ours {row.ours}, theirs {row.theirs}"
            continue
        cosine = "-" if found.cosine is None else f"{found.cosine:+.3f}"
        yield (
            f"{start} {text.number(found.ours_norm):>9} {text.number(found.theirs_norm):>9} "
            f"{cosine:>7} {text.fraction(found.conflict_fraction):>9}"
        )


def _context(repository: Repository, one: Open) -> Iterator[str]:
    """Who changed the file last on each side."""
    theirs = operation.other_head(repository)
    for name, head in zip(one.names[1:], ("HEAD", theirs), strict=True):
        told = ["log", "-1", "--format=%h %an, %ar: %s", head, "--", literally(one.path)]
        line = repository.run(*told).stdout.decode(errors="replace").strip() if head else ""
        yield f"{name}: {line}" if line else name
