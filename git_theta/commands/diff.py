"""`git theta diff`: compares checkpoints, and shows the answer as a table, JSON, a picture or a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta import files
from git_theta.diffs.text import printable
from git_theta.errors import ThetaError
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.terminal import screen
from git_theta.terminal.showing import pathspec, word
from git_theta.versions import diff_changes, diff_sides
from git_theta.versions.comparison import Question, compare, compare_three
from git_theta.versions.diff_changes import Change
from git_theta.versions.diff_sides import Side, Sides

if TYPE_CHECKING:
    from git_theta.diffs.report import Report
    from git_theta.diffs.three_way import ThreeWay
    from git_theta.terminal.style import Style

_DIFFERENT = 1
_TROUBLE = 2


@dataclass(frozen=True)
class Options:
    """What the user asks for; see the command's help.

    Attributes:
        words, paths: what stands before and after `--`; paths is None where there is none.
    """

    words: tuple[str, ...] = ()
    paths: tuple[str, ...] | None = None
    cached: bool = False
    no_index: bool = False
    base: str = ""
    tensor: str | None = None
    stat: bool = False
    json: bool = False
    sort: str | None = None
    top: int | None = None
    everything: bool = False
    metrics: tuple[str, ...] = ()
    plot: Path | None = None
    exit_code: bool = False

    def shown(self, folded: int | None) -> int | None:
        """How many rows to show, None for all."""
        return None if self.everything else self.top if self.top is not None else folded


def run(options: Options) -> int:
    """Compare, print, and return the exit code.

    Raises:
        ThetaError: the arguments make no sense, or (with --json) something cannot be compared.
    """
    try:
        return _Run(options).run()
    except ThetaError as error:
        if options.exit_code:
            error.exit_code = _TROUBLE  # 1 says that there are differences
        raise


class _Run:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._different = self._trouble = False
        self._repository = Repository.here_if_any() if options.no_index else Repository.here()
        self._sides = self._parsed()

    def run(self) -> int:
        options = self._options
        style = screen.style()
        with screen.Output(paged=True) as output:
            self._output = output
            for text in self._three_ways(style) if options.base else self._texts(style):
                output.write(text)
        if self._repository is not None:
            self._repository.close()
        if self._trouble:
            return _TROUBLE if options.exit_code else 1
        return _DIFFERENT if options.exit_code and self._different else 0

    def _parsed(self) -> Sides:
        options = self._options
        if self._repository is None or options.no_index:
            return diff_sides.files((*options.words, *(options.paths or ())))
        return diff_sides.parse(self._repository, options.words, options.paths, options.cached)

    def _texts(self, style: Style) -> Iterator[str]:
        """The answer for one checkpoint after the other."""
        changes = self._changes()
        if self._options.plot and len(changes) != 1:
            raise self._not_one_picture(changes)
        for change in changes:
            try:
                yield from self._unmerged(change, style) if change.unmerged else self._compared(change, style)
            except ThetaError as error:
                if self._options.json or self._options.plot:
                    raise
                self._trouble = True
                yield screen.failed(change.path, error, style)

    def _not_one_picture(self, changes: Sequence[Change]) -> ThetaError:
        if not changes:
            command = f"git theta diff --plot {word(str(self._options.plot))} OLD NEW"
            return ThetaError(
                "a picture shows a difference, and there is none", f"name versions that differ: {command}"
            )
        options = self._options
        inside = len(self._sides.paths) if options.paths is None else 0
        words = (["--cached"] if options.cached else []) + [*options.words[: len(options.words) - inside]]
        sides = "".join(f" {word(one)}" for one in words)
        names = ", ".join(printable(change.path) for change in changes)
        plot, first = word(str(options.plot)), changes[0].path
        only = f":/{word(first)}" if pathspec(first) == word(first) else word(literally(first))
        return ThetaError(
            f"a picture shows one checkpoint; these differ: {names}",
            f"name one: git theta diff --plot {plot}{sides} -- {only}",
        )

    def _changes(self) -> list[Change]:
        if self._repository is None:
            old, new = self._sides.old.place, self._sides.new.place
            assert old is not None
            assert new is not None
            return [Change(new.path, old, new)]
        found = list(diff_changes.changes(self._repository, self._sides))
        if not found and self._options.json:  # programs want an answer about a file that they name
            named = diff_changes.named_paths(self._repository, self._sides.paths)
            if len(named) == 1:
                return [self._at(self._repository, named.pop())]
        return found

    def _at(self, repository: Repository, path: str) -> Change:
        sides = (self._sides.old, self._sides.new)
        old, new = (diff_changes.place_in(repository, side, path) for side in sides)
        if not old.there and not new.there:
            raise ThetaError(f"{path} is on neither side", "git theta ls-files")
        return Change(path, old, new)

    def _compared(self, change: Change, style: Style) -> Iterator[str]:
        options = self._options
        question = Question(options.tensor, values=not options.stat, binned=options.plot is not None)
        report = compare(
            self._repository,
            change.old,
            change.new,
            question,
            header=change.header,
            visible=not self._output.started,
        )
        about_file = bool(change.header or report.notes)
        if report.identical and not about_file and not options.json:
            return
        self._different |= not report.identical or about_file
        if options.plot is not None:
            plot(report, options.plot, self._top())
        yield self._rendered(report, style)

    def _top(self) -> Path | None:
        repository = self._repository
        return None if repository is None or repository.bare else repository.work_tree

    def _rendered(self, report: Report, style: Style) -> str:
        options = self._options
        if options.json:
            from git_theta.diffs import schema

            return schema.dump(report, sort=options.sort or "name", top=options.shown(None))
        if options.stat:
            from git_theta.diffs import stat

            rows = stat.render(report, style, sort=options.sort or "name", top=options.shown(None))
            paths = filter(None, (report.old_path, report.path))
            return style.paint(f" {style.arrow} ".join(map(printable, paths)), "1") + "\n" + rows
        from git_theta.diffs import table

        return table.render(
            report,
            style,
            sort=options.sort or "relative",
            top=options.shown(table.FOLDED),
            metrics=options.metrics or None,
            hint="the same command with --all",
        )

    def _unmerged(self, change: Change, style: Style) -> Iterator[str]:
        assert self._repository is not None
        if self._options.plot is not None:
            base, ours, theirs = (word(f":{stage}:{change.path}") for stage in (1, 2, 3))
            plot = word(str(self._options.plot))
            commands = [f"git theta diff --plot {plot} {base} {side}" for side in (ours, theirs)]
            raise ThetaError(
                f"{printable(change.path)} has a conflict; a picture shows two versions",
                f"what ours changed: {commands[0]}; theirs: {commands[1]}",
            )
        self._different = True
        from git_theta.merging import conflict_view

        visible = not self._output.started
        found = conflict_view.three_way(self._repository, change.path, self._options.tensor, visible=visible)
        yield self._three_way_rendered(found, style)

    def _three_ways(self, style: Style) -> Iterator[str]:
        """Both sides against a base: every checkpoint that either changed."""
        repository, options = self._repository, self._options
        if repository is None:
            raise ThetaError("--base needs a repository", "type the command in one")
        base = diff_sides.revision(repository, options.base)
        sides = (base, self._sides.old, self._sides.new)
        for path in self._changed_from(repository, base):
            places = [diff_changes.place_in(repository, side, path) for side in sides]
            found = compare_three(
                repository,
                (places[0], places[1], places[2]),
                options.tensor,
                visible=not self._output.started,
            )
            self._different |= bool(found.rows)
            yield self._three_way_rendered(found, style)

    def _changed_from(self, repository: Repository, base: Side) -> list[str]:
        if (base.place is None) != (self._sides.new.place is None):
            raise ThetaError(
                "a file of a revision is compared with other files only",
                "git theta diff --base BASE:model.pt A:model.pt B:model.pt",
            )
        found = []
        for side in (self._sides.old, self._sides.new):
            both = Sides(base, side, self._sides.paths)
            found += [change.path for change in diff_changes.changes(repository, both)]
        return found[-1:] if base.place is not None else sorted(set(found))

    def _three_way_rendered(self, found: ThreeWay, style: Style) -> str:
        if self._options.json:
            from git_theta.diffs import schema

            return schema.dump_three_way(found)
        from git_theta.diffs import three_way_table

        return three_way_table.render(found, style, tensors=self._options.everything)


def plot(report: Report, file: Path, top: Path | None) -> None:
    """Draw a comparison into a file: a picture or a page, by its suffix.

    Args:
        top: of the work tree, if there is one.

    Raises:
        ThetaError: matplotlib is missing, or the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix == ".html":
        from git_theta.diffs import page

        content = page.render(report).encode()
    else:
        from git_theta.diffs import picture

        content = picture.render(report, "svg" if suffix == ".svg" else "png")
    files.check_named(file, top)
    files.replace(file, content)
