"""Compare two checkpoints: from two manifests, and what opens their tensors, to a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from git_theta.checkpoints.registry import OPAQUE
from git_theta.diffs import classify, report
from git_theta.diffs.change import Change, comparable
from git_theta.diffs.entries import Entry, Open, entries, open_entry
from git_theta.diffs.matching import Match, Matching, match
from git_theta.diffs.report import Report, Row, Side
from git_theta.diffs.similarity import SimilarValues
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest

if TYPE_CHECKING:
    from git_theta.diffs.cache import Memory
    from git_theta.diffs.metrics import Pair, Question

Progress = Callable[[int, int], None]
"""Told how many items of how many were compared."""


@dataclass(frozen=True)
class Version:
    """A checkpoint as one side of a comparison.

    Attributes:
        manifest: None where the file is not there.
        open: opens its tensors.
        label: what the user calls it.
    """

    manifest: Manifest | None
    open: Open
    label: str = ""


def compare_checkpoints(
    old: Version,
    new: Version,
    *,
    path: str = "",
    only: str | None = None,
    values: bool = True,
    binned: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    memory: Memory | None = None,
    there: Container[str] = (),
) -> Report:
    """Compare two versions of a checkpoint, or two checkpoints.

    Only tensors that differ are read, and no error of reading one keeps the others from being compared: its
    row says what is wrong.

    Args:
        only: glob of tensors' names to restrict the comparison to.
        values: whether to measure what changed; otherwise it is decided only.
        binned: whether to count differences by sign and exponent, for a histogram.
        memory: answers of earlier comparisons; what it has is not read, what it lacks is recorded.
        there: oids of objects that were not stored for the newer version, besides those of the older one.
    """
    similar = SimilarValues(old.open, new.open)
    matching = match(old.manifest, new.manifest, only=only, similar=similar)
    rows = list(_rows(matching, old.manifest, new.manifest, there))
    if values:
        from git_theta.diffs.metrics import compare_all

        questions = list(_questions(matching.matches, old, new))
        if memory is not None:
            known = _remembered(matching.matches, questions, memory)
            rows = [_answered(row, known[n]) if n in known else row for n, row in enumerate(rows)]
            questions = [question for question in questions if question.key not in known]
        told = counted(sum(question.items for question in questions), progress)
        for number, answer in compare_all(questions, binned=binned, threads=threads, progress=told):
            rows[number] = _answered(rows[number], answer)
        if memory is not None:
            memory.record(_measured(matching.matches, questions, rows))
    unchanged = [*matching.unchanged, *(row.name for row in rows if _is_unchanged(row))]
    rows = [row for row in rows if not _is_unchanged(row)]
    made = Report(
        path,
        _side(old),
        _side(new),
        tuple(rows),
        tuple(sorted(unchanged)),
        report.total(rows),
        following=matching.following,
        stored=_stored(old.manifest, new.manifest, there),
        only=only or "",
        valued=values,
    )
    return made.with_kinds(classify.kinds(made))


def counted(everything: int, progress: Progress | None) -> Callable[[int], None] | None:
    """A callback that adds up finished items and reports the sum to `progress`; None without one."""
    if progress is None:
        return None
    done = 0

    def more(items: int) -> None:
        nonlocal done
        done += items
        progress(done, everything)

    return more


def reason(error: ThetaError | OSError) -> str:
    """Why a tensor could not be read, and what to do about it, in a line."""
    if isinstance(error, ThetaError):
        return "; ".join(filter(None, (error.message, error.remedy)))
    return str(error)


def _rows(
    matching: Matching, old: Manifest | None, new: Manifest | None, there: Container[str]
) -> Iterator[Row]:
    known = {line.place for line in old.storage.values()} if old else set()
    storage = new.storage if new else {}
    users = Counter(line.oid for line in storage.values())
    for found in matching.matches:
        a, b = found.old, found.new
        line = storage.get(b.line.digest) if b and not b.of else None
        alone = line is not None and line.place not in known and users[line.oid] == 1
        yield Row(
            found.name,
            found.status,
            a.name if a else None,
            a.dtype.name if a else None,
            b.dtype.name if b else None,
            a.shape if a else None,
            b.shape if b else None,
            tied=matching.shares.get(found.name, ()),
            view_of=b.of if b else a.of if a else "",
            change=_no_change(b) if b and found.same_data else None,
            compared=_compared(a, b) if a and b else "",
            update=line.update if line else "",
            stored=(0 if line.oid in there else line.size) if line and alone else None,
        )


def _no_change(entry: Entry) -> Change:
    return Change(entry.elements, 0, norm=0.0, max_abs=0.0, cosine=1.0)


def _compared(old: Entry, new: Entry) -> str:
    if not comparable(old.dtype, new.dtype):
        return f"nothing: {old.dtype.name} and {new.dtype.name} do not compare"
    if old.elements == new.elements:
        return ""
    if old.shape[1:] == new.shape[1:] and old.shape and new.shape:
        return f"the first {min(old.shape[0], new.shape[0])} rows"
    return "nothing: the shapes do not fit"


def _questions(matches: Sequence[Match], old: Version, new: Version) -> Iterator[Question[int]]:
    from git_theta.diffs.metrics import Question

    for number, found in enumerate(matches):
        a, b = found.old, found.new
        if a is None or b is None or found.same_data or not comparable(a.dtype, b.dtype):
            continue
        if a.elements != b.elements and a.shape[1:] != b.shape[1:]:
            continue
        shape = a.shape if a.elements < b.elements else b.shape
        items = min(a.items, b.items)
        yield Question(number, a.dtype, b.dtype, shape, items, _opener(a, b, old, new))


def _remembered(
    matches: Sequence[Match], questions: Iterable[Question[int]], memory: Memory
) -> dict[int, Change]:
    """The changes that the cache knows already, by the numbers of the questions that ask for them."""
    known = {}
    for question in questions:
        old, new = matches[question.key].old, matches[question.key].new
        if old and new and (change := memory.find(old, new)) is not None:
            known[question.key] = change
    return known


def _measured(
    matches: Sequence[Match], questions: Iterable[Question[int]], rows: Sequence[Row]
) -> Iterator[tuple[Entry, Entry, Change]]:
    """The answers to these questions, but for those that were errors."""
    for question in questions:
        old, new, change = matches[question.key].old, matches[question.key].new, rows[question.key].change
        if old and new and change is not None:
            yield old, new, change


def _opener(a: Entry, b: Entry, old: Version, new: Version) -> Callable[[], Pair]:
    from git_theta.diffs.metrics import TwoTensors

    return lambda: TwoTensors(open_entry(a, old.open), open_entry(b, new.open))


def _answered(row: Row, answer: Change | ThetaError | OSError) -> Row:
    if isinstance(answer, Change):
        return replace(row, change=answer)
    return replace(row, unknown=reason(answer))


def _is_unchanged(row: Row) -> bool:
    """Whether a row turned out to be about nothing: a view of data of which another part changed."""
    return row.status == "modified" and row.change is not None and row.change.changed == 0


def _side(version: Version) -> Side | None:
    manifest = version.manifest
    if manifest is None:
        return None
    tensors = () if manifest.format == OPAQUE else manifest.tensors  # tied ones once
    parameters = sum(line.nbytes * 8 // line.dtype.bits for line in tensors)
    return Side(
        version.label, manifest.format, manifest.size, manifest.root, len(entries(manifest)), parameters
    )


def _stored(old: Manifest | None, new: Manifest | None, there: Container[str]) -> int | None:
    if new is None:
        return 0
    if not new.storage:
        return None
    known: Iterable[str] = old.oids() if old else ()
    return sum(size for oid, size in new.oids().items() if oid not in known and oid not in there)
