"""`git theta log`: what each commit changed in a checkpoint."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from git_theta.diffs import text
from git_theta.diffs.change import METRICS
from git_theta.diffs.entries import entries
from git_theta.diffs.report import Report, Row, ordered
from git_theta.diffs.summary import stored
from git_theta.errors import ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git.repository import Repository
from git_theta.patterns import read
from git_theta.terminal import screen
from git_theta.terminal.style import Style
from git_theta.terminal.units import and_more, human_size
from git_theta.versions.changes import tracked
from git_theta.versions.comparison import Question, compare
from git_theta.versions.history import Step, Version, place_of, steps
from git_theta.versions.places import Place

_MOST = 20  # tensors listed of one commit


def run(name: str, tensor: str | None) -> None:
    """Show the commits that changed a checkpoint, newest first; each as soon as it is compared.

    Args:
        name: path of the checkpoint.
        tensor: glob; only commits that changed tensors with such names, and these tensors one by one.

    Raises:
        ThetaError: no commit has changed that path.
    """
    repository = Repository.here()
    style = screen.style()
    with screen.Output(paged=True) as output:
        for number, step in enumerate(steps(repository, "HEAD", name)):
            if tensor is not None and number == 0:
                tensor = _meant(repository, step.version, tensor)
            lines = list(_lines(repository, step, tensor, style, visible=not output.started))
            if lines:
                output.write("".join(f"{line}\n" for line in [*_heading(step, style), *lines, ""]))
    repository.close()


def _meant(repository: Repository, newest: Version, tensor: str) -> str:
    """The pattern to select tensors by: a name in quotes if the newest version has a tensor of that name."""
    manifest = parsed(repository.blob(f"{newest.commit}:{newest.path}"))
    return str(read(tensor).among(entries(manifest) if manifest is not None else ()))


def _heading(step: Step, style: Style) -> list[str]:
    merge = f"  (merge of {len(step.parents)})" if len(step.parents) > 1 else ""
    who = f"{text.printable(step.author)}  {step.date[:10]}{merge}"
    return [
        f"{style.paint(f'commit {step.version.commit[:10]}', '33')}  {who}",
        f"    {text.printable(step.subject)}",
    ]


def _lines(
    repository: Repository, step: Step, tensor: str | None, style: Style, *, visible: bool
) -> Iterator[str]:
    """What a commit changed against its first parent; nothing where none of the tensors asked for."""
    old = place_of(repository, step.parents[0] if step.parents else None, step.version.path)
    new = place_of(repository, step.version, step.version.path)
    try:
        there = _there(repository, step, old)
        report = compare(repository, old, new, Question(tensor, history=True), visible=visible, there=there)
    except ThetaError as error:
        yield "    " + style.paint(f"! {error.message}", "33")
        return
    if tensor is not None and not report.rows:
        return
    if report.old_path:
        yield f"    {text.printable(report.old_path)} {style.arrow} {text.printable(report.path)}"
    for note in report.notes:
        yield "    " + style.paint(f"! {note}", "33")
    kinds = [] if tensor else [kind.text.replace("->", style.arrow) for kind in report.kinds]
    for words in [*kinds, _amount(report, style)]:
        for line in textwrap.wrap(words, max(20, style.width - 4)):
            yield f"    {line}"
    if tensor is not None:
        yield from _tensors(report, style)


def _there(repository: Repository, step: Step, old: Place) -> set[str]:
    """The objects that a merge commit got from its parents, which it therefore did not store itself."""
    if len(step.parents) < 2 and old.there:
        return set()
    parents = repository.parents_of(step.version.commit)
    return {
        oid for parent in parents for _, manifest in tracked(repository, parent) for oid in manifest.oids()
    }


def _amount(report: Report, style: Style) -> str:
    """48 of 290 tensors changed, ‖Δ‖/‖w‖ 0.01, 5.6 MB stored (48 low-rank)."""
    relative = METRICS["relative"]
    parts = [report.amount.text()]
    if cell := relative.show(report.totals.change):
        parts.append(f"{style.sign(relative.title, relative.plain)} {cell}")
    if report.totals.unknown:
        parts.append(f"{report.totals.unknown} unknown")
    kinds = Counter(row.update for row in report.rows if row.update)
    updates = ", ".join(f"{number} {update}" for update, number in kinds.most_common())
    kept = stored(report)
    parts.append(f"{kept} ({updates})" if updates else kept)
    return ", ".join(filter(None, parts))


def _tensors(report: Report, style: Style) -> Iterator[str]:
    rows = ordered(report.rows, "name")
    names = [text.printable(row.name) for row in rows[:_MOST]]
    width = min(max(map(text.width, names)), style.width // 2)
    for row, name in zip(rows, names, strict=False):
        yield f"      {text.fit(name, width, style.ellipsis)}  {_what(row, style)}"
    for more in and_more(len(rows) - _MOST, "tensor", style.ellipsis):
        yield "      " + style.paint(more, "2")


def _what(row: Row, style: Style) -> str:
    relative = METRICS["relative"]
    cell = relative.show(row.change)
    number = f"{style.sign(relative.title, relative.plain)} {cell}" if cell else ""
    size = "" if row.stored is None else human_size(row.stored)
    return ", ".join(filter(None, (row.status, number, row.update, size, "unknown" if row.unknown else "")))
