"""`git theta show`: the tensors of one checkpoint, or one of them, with their statistics."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta.diffs import show, text
from git_theta.diffs.compare import counted, reason
from git_theta.diffs.entries import Entry, entries, open_entry
from git_theta.diffs.show import Shown
from git_theta.errors import MissingObject, ThetaError
from git_theta.git.repository import Repository
from git_theta.merging import conflicts
from git_theta.terminal import screen
from git_theta.terminal.progress import Progress
from git_theta.terminal.showing import operand, printable, word
from git_theta.terminal.units import human_size
from git_theta.versions import diff_changes, diff_sides
from git_theta.versions.checkpoint import Checkpoint, provide
from git_theta.versions.diff_sides import INDEX
from git_theta.versions.places import Place, open_place

if TYPE_CHECKING:
    from git_theta.diffs.statistics import Statistics
    from git_theta.manifest import TensorLine
    from git_theta.tensors import Tensor
    from git_theta.terminal.style import Style


def run(name: str, tensor: str | None) -> None:
    """Show a checkpoint.

    Args:
        name: REV:PATH, or a path: of the work tree, else of the index.
        tensor: the name of the one to show.

    Raises:
        ThetaError: there is no such checkpoint or tensor, or it cannot be read.
    """
    repository = Repository.here()
    place = _find(repository, name)
    opened = open_place(repository, place)
    if opened is None:
        raise ThetaError(f"{printable(name)} is no checkpoint", "git theta ls-files")
    style = screen.style()
    with closing(opened), screen.Output(paged=True) as output:
        if tensor is None:
            output.write(_all(repository, opened, name, style))
        else:
            output.write(_one(repository, opened, name, tensor, style))
    repository.close()


def _find(repository: Repository, name: str) -> Place:
    file = Path(name)
    if file.is_file():
        return Place(name, "100644", file=file)
    side = diff_sides.find_revision(repository, name)
    if side is not None and side.place is not None:
        return side.place
    source = diff_sides.revision(repository, "HEAD") if repository.bare else INDEX
    for path in diff_changes.named_paths(repository, [name]):
        place = diff_changes.place_in(repository, source, path)
        if place.there:
            return place
        if conflicts.stages(repository, path):
            sides = f"git theta show {word(f':2:{path}')} shows ours, {word(f':3:{path}')} theirs"
            raise ThetaError(f"{printable(name)} has a conflict, and no file in the work tree", sides)
    raise ThetaError(f"there is no file {printable(name)}", "git theta ls-files; git theta show REV:PATH")


def _all(repository: Repository, opened: Checkpoint, name: str, style: Style) -> str:
    from git_theta.diffs.statistics import statistics_of_all

    found = entries(opened.manifest)
    reasons = provide(repository, opened, opened.manifest.tensors)
    asked = [entry for entry in found.values() if not (entry.of and entry.view is None)]
    with Progress(f"Reading {name}") as bar:
        answers = dict(
            statistics_of_all(
                ((e.name, e.dtype, e.items, partial(_open, opened, reasons, e)) for e in asked),
                progress=counted(sum(entry.items for entry in asked), bar),
            )
        )
    rows = [_shown(entry, answers.get(entry.name)) for entry in found.values()]
    size = human_size(opened.manifest.size)
    heading = style.paint(f"{text.printable(name)}  {opened.manifest.format}, {size}", "1")
    notes = [style.paint(f"! {note}", "33") for note in opened.notes]
    return "".join(f"{line}\n" for line in [heading, *notes]) + show.table(rows, style)


def _one(repository: Repository, opened: Checkpoint, file: str, name: str, style: Style) -> str:
    from git_theta.diffs.statistics import Histogram, corner, histogram, statistics

    entry = entries(opened.manifest).get(name)
    if entry is None:
        raise ThetaError(f"{printable(file)} has no tensor {printable(name)}", _similar(opened, file, name))
    reasons = provide(repository, opened, [entry.line])
    answer: Statistics | ThetaError | OSError
    bars: Histogram | None = None
    values: list[list[float]] = []
    try:
        held = _open(opened, reasons, entry)
        answer = statistics(held)
        bars, values = histogram(held, answer), corner(held)
    except (ThetaError, OSError) as error:
        answer = error
    return show.tensor(_shown(entry, answer), style, histogram=bars, corner=values)


def _open(opened: Checkpoint, reasons: dict[str, MissingObject], entry: Entry) -> Tensor:
    def opener(line: TensorLine) -> Tensor:
        if line.name in reasons:
            raise reasons[line.name]
        return opened.tensor(line)

    return open_entry(entry, opener)


def _shown(entry: Entry, answer: Statistics | ThetaError | OSError | None) -> Shown:
    note = f"{'part' if entry.view else 'another name'} of {text.printable(entry.of)}" if entry.of else ""
    if isinstance(answer, (ThetaError, OSError)):
        return Shown(entry.name, entry.dtype.name, entry.shape, None, reason(answer), note)
    return Shown(entry.name, entry.dtype.name, entry.shape, answer, "", note)


def _similar(opened: Checkpoint, file: str, name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, entries(opened.manifest), 3)
    return (
        f"did you mean {' or '.join(map(printable, near))}?"
        if near
        else f"git theta show {operand(file)} lists them"
    )
