"""`git theta blame`: for each tensor of a checkpoint, the commit that changed it last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_theta.diffs import layers, text
from git_theta.diffs.change import METRICS
from git_theta.diffs.entries import Entry, entries
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.terminal import screen
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import pathspec, printable
from git_theta.versions.comparison import Question, compare
from git_theta.versions.history import Step, Version, place_of, steps
from git_theta.versions.places import open_place

if TYPE_CHECKING:
    from git_theta.diffs.report import Row
    from git_theta.terminal.style import Style

_COMMIT = 10
_AUTHOR = 16
_NUMBER = 10


@dataclass(frozen=True)
class Line:
    """A tensor, the commit that changed it last, and how far.

    Attributes:
        row: the change; None where the commit brought the tensor.
    """

    entry: Entry
    step: Step
    row: Row | None


def run(name: str, start: str) -> None:
    """Show who changed each tensor last.

    Args:
        name: path of the checkpoint.
        start: the revision to look at.

    Raises:
        ThetaError: there is no such checkpoint, or it cannot be read.
    """
    repository = Repository.here()
    style = screen.style()
    with screen.Output(paged=True) as output:
        output.write(_render(list(blame(repository, name, start)), style))
    repository.close()


def blame(repository: Repository, name: str, start: str) -> Iterator[Line]:
    """The lines, in the order of the tensors' names.

    Raises:
        ThetaError: as for `run`.
    """
    history = steps(repository, start, name)
    newest = next(history)
    tensors = _entries(repository, newest.version)
    if not tensors:
        raise ThetaError(
            f"there is no {printable(name)} in {start}, or no tensor in it",
            f"git log --all -- {pathspec(name)}",
        )
    found: dict[str, Line] = {}
    for step, names in _culprits(repository, newest, history, tensors):
        rows = _changes(repository, step, names)
        found.update({name: Line(tensors[name], step, rows.get(name)) for name in names})
    for name in sorted(found, key=layers.natural):
        yield found[name]


def _culprits(
    repository: Repository, newest: Step, history: Iterator[Step], tensors: Mapping[str, Entry]
) -> Iterator[tuple[Step, list[str]]]:
    """The commits that changed tensors last, and which.

    A tensor goes on to the first parent that has it already. Children come before their parents, so what
    several of them hand on has come together when a parent's turn is.
    """
    asked: dict[Version, set[str]] = {newest.version: set(tensors)}
    step: Step | None = newest
    with Progress("Reading history") as bar:
        while step is not None and asked:
            names = asked.pop(step.version, set())
            for parent in step.parents if names else ():
                before = _entries(repository, parent)
                same = {name for name in names if _equal(before.get(name), tensors[name])}
                if same:
                    asked.setdefault(parent, set()).update(same)
                    names -= same
            if names:
                yield step, sorted(names)
            left = sum(map(len, asked.values()))
            bar(len(tensors) - left, len(tensors))
            step = next(history, None)


def _equal(old: Entry | None, new: Entry) -> bool:
    return old is not None and old.shape == new.shape and old.data == new.data


def _entries(repository: Repository, version: Version) -> Mapping[str, Entry]:
    opened = open_place(repository, place_of(repository, version, version.path))
    if opened is None:
        return {}
    with closing(opened):
        return entries(opened.manifest)


def _changes(repository: Repository, step: Step, names: list[str]) -> dict[str, Row]:
    """What a commit did to these tensors."""
    if not step.parents:
        return {}
    old, new = (place_of(repository, version, version.path) for version in (step.parents[0], step.version))
    report = compare(repository, old, new, Question(names=frozenset(names), history=True))
    return {row.name: row for row in report.rows if row.status != "added"}


def _render(lines: list[Line], style: Style) -> str:
    relative = METRICS["relative"]
    title = style.sign(relative.title, relative.plain)
    authors = {text.printable(line.step.author) for line in lines}
    width = min(_AUTHOR, max(map(text.width, ["author", *authors])))
    head = f"{'commit':{_COMMIT}}  {text.fit('author', width)}  {'date':10}  {title:>{_NUMBER}}  tensor"
    rows = [style.paint(head, "2")]
    for line in lines:
        commit = style.paint(line.step.version.commit[:_COMMIT], "33")
        author = text.fit(text.printable(line.step.author), width, style.ellipsis)
        kind = f"{line.entry.dtype.name} {text.shape(line.entry.shape, style.sign('×', 'x'))}"
        number = f"{_number(line):>{_NUMBER}}"
        name = text.printable(line.entry.name)
        rows.append(f"{commit}  {author}  {line.step.date[:10]}  {number}  {name}  {style.paint(kind, '2')}")
    return "".join(row + "\n" for row in rows)


def _number(line: Line) -> str:
    if line.row is None:
        return "new"
    if line.row.unknown:
        return "unknown"
    return METRICS["relative"].show(line.row.change) or line.row.status
