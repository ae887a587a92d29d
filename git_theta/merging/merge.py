"""A merge of commits: what it would do, decided before anything is written, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from git_theta.errors import ThetaError
from git_theta.git.favoured_side import Favoured
from git_theta.git.repository import Repository
from git_theta.merges.apply import Applied
from git_theta.merges.decisions import Plan
from git_theta.merges.device import check_name
from git_theta.merges.named_sides import numbered
from git_theta.merges.narrowing import device_of
from git_theta.merges.rule_sources import COMMAND_LINE, Layer
from git_theta.merges.rules import Rules, check_matches
from git_theta.merging import trailers
from git_theta.merging.checkpoint_merge import CheckpointMerge, fetch_changed
from git_theta.merging.chosen_base import NONE, Base
from git_theta.merging.conflicts import is_open
from git_theta.merging.entries import Contested, Head
from git_theta.merging.report import explain, summary
from git_theta.merging.settings import carried
from git_theta.merging.trailers import Recorded
from git_theta.merging.trees import MergedTrees, merge_trees, with_blobs
from git_theta.patterns import written
from git_theta.terminal.progress import Progress, aside
from git_theta.terminal.showing import Say, operand, printable, word
from git_theta.terminal.units import counted

RulesOf = Callable[[str], Rules | None]


@dataclass(frozen=True)
class Planned:
    """One contested checkpoint."""

    about: Contested
    rules: Rules
    merge: CheckpointMerge
    plan: Plan

    @property
    def open(self) -> bool:
        """Whether something is left to decide."""
        return self.plan.skeleton.action == "conflict" or bool(self.plan.conflicts())


class Merge:
    """A merge of commits, planned. Use it in a `with`.

    Args:
        rules_of: what is said about a checkpoint, by its path; None for one that is to be left aside.
        favoured: as in Request; for checkpoints `rules_of` says it.
        combines: whether checkpoints that one side alone has changed are merged where the rules combine; else
            only where a place says so for the whole file.
        layers_of: what the rules come from, for the merges of common ancestors; see merge_settings.carried.
        base: what the sides are compared with.

    Attributes:
        checkpoints: those that more than one side changed.

    Raises:
        ThetaError: there is no common ancestor, a checkpoint cannot be read, a setting makes no sense.
    """

    def __init__(
        self,
        repository: Repository,
        ours: Head,
        theirs: Sequence[Head],
        rules_of: RulesOf,
        device: str,
        favoured: Favoured = "",
        *,
        combines: bool,
        layers_of: Mapping[str, Layer],
        base: Base = Base(),  # noqa: B008  it never changes
    ) -> None:
        self.ours, self.theirs = ours, theirs
        self._base = base
        self._favoured = favoured
        self._repository = repository
        self._device = check_name(device)
        self._stack = ExitStack()
        with self._stack:
            self.scratch = Path(self._stack.enter_context(TemporaryDirectory(prefix="git-theta-")))
            compared = base.heads(repository, [ours, *theirs])
            self.trees: MergedTrees = merge_trees(
                repository.with_environment(carried(layers_of)),
                compared[0],
                compared[1:],
                self.scratch,
                favoured,
                lambda path: _combines(rules_of(path), combines),
            )
            self.checkpoints = [
                self._planned(one, rules)
                for one in self.trees.contested
                if (rules := rules_of(one.path)) is not None
            ]
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Merge:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def check_rules(self, typed: int) -> None:
        """Raises ThetaError where one of the rules that were typed, the last ones, is about no tensor."""
        if typed and self.checkpoints:
            names = {name for one in self.checkpoints for name in one.plan.names()}
            rules = self.checkpoints[0].rules.rules[-typed:]
            check_matches(rules, names, [one.about.path for one in self.checkpoints])

    def check(self) -> None:
        """Raises ThetaError where something is left to decide."""
        self.check_files()
        self.check_tensors()

    def check_files(self) -> None:
        """Raises ThetaError where Git has a conflict in other files."""
        lines = list(self.trees.conflicts)
        if not lines:
            return
        how = "merge the branches one after the other, with git merge"
        if len(self.theirs) == 1:
            option = f"-X{self._favoured} " if self._favoured else ""
            how = f"git merge {option}{self._names()}, mend them there, then git commit"
        if self.trees.removed:
            how += (
                f"; if {self.trees.removed[0]} was renamed there: git merge -Xfind-renames=15 {self._names()}"
            )
        count = counted(len(lines), "conflict that is", "conflicts that are")
        raise ThetaError("\n".join([f"{count} not of tensors; nothing was changed", *lines]), how)

    def check_tensors(self) -> None:
        """Raises ThetaError where a tensor is in conflict."""
        for one in self.checkpoints:
            if one.open:
                raise self._undecided(one)

    def fetch(self, checked_out: bool) -> None:
        """Bring here what computing the result and, unless that is not wanted, checking it out need.

        Raises MissingObject.
        """
        settings = self._repository.config.settings()
        whole = checked_out and not (settings.skip_smudge or settings.skip_missing)
        for one in self.checkpoints:
            one.merge.fetch(one.plan, whole)
        if whole:
            fetch_changed(self._repository, self.ours.commit, self.trees.tree)

    def carry_out(self, say: Say, checked_out: bool) -> dict[str, Applied]:
        """Merge the checkpoints; the results by path. Raises ThetaError as merges.apply does.

        Args:
            checked_out: whether the results are checked out next.
        """
        results = {}
        for one in self.checkpoints:
            applied = self._applied(one, say, checked_out)
            for line in summary(one.about.path, one.plan, applied):
                say(line)
            results[one.about.path] = applied
        return results

    def tree(self, results: Mapping[str, Applied]) -> str:
        """The tree with these results."""
        entries = {}
        for one in self.checkpoints:
            text = results[one.about.path].text
            oid = self._repository.write(text)
            entries[one.about.path] = one.about.mode, oid
        return with_blobs(self._repository, self.trees.tree, entries, self.scratch)

    def record(self) -> list[str]:
        """The trailers that say how this was merged."""
        device = device_of([one.plan for one in self.checkpoints], self._device)
        recorded = {one.about.path: Recorded(one.rules.settings()) for one in self.checkpoints}
        return trailers.trailers(recorded, device, self._base.commit)

    def _applied(self, one: Planned, say: Say, checked_out: bool) -> Applied:
        path = one.about.path
        with self._or_take_a_side(path), Progress(f"Merging {path}", sized=True) as progress:
            return one.merge.apply(
                one.plan, device=self._device, progress=progress, warn=aside(say), checked_out=checked_out
            )

    @contextmanager
    def _or_take_a_side(self, path: str) -> Iterator[None]:
        """Adds a remedy to errors over a file: in the conflict of `git merge`, a side can be taken whole."""
        try:
            yield
        except ThetaError as error:
            one_by_one = "" if len(self.theirs) == 1 else "one branch after the other: "
            error.remedy = error.remedy or (
                f"{one_by_one}git merge {word(self.theirs[0].name)}, "
                f"then git theta resolve {operand(path)} --ours, or --theirs"
            )
            raise

    def _planned(self, about: Contested, rules: Rules) -> Planned:
        labels = ["base", *(name for name, _ in about.versions)]
        rules = numbered(rules, labels)
        oids = [about.base, *(oid for _, oid in about.versions)]
        contents = [self._repository.blob(oid) if oid else None for oid in oids]
        with self._or_take_a_side(about.path):
            merge = CheckpointMerge(self._repository, about.path, contents, labels)
        self._stack.callback(merge.close)
        return Planned(about, rules, merge, merge.plan(rules))

    def _undecided(self, one: Planned) -> ThetaError:
        path, names = one.about.path, f"{self._base.typed}{self._names()}"
        reasons = explain(one.plan) if one.plan.conflicts() else [f"  {one.plan.skeleton.reason}"]
        left = is_open(one.plan.open_tensors(), one.plan.open_parts())
        lines = [f"{printable(path)}: {left} in conflict; nothing was changed", *reasons]
        ways = [_how_to_decide(one, names)]
        if len(self.theirs) == 1 and self._base.commit in ("", NONE):  # git merge takes no base
            ways.append(f"git merge {names}, then git theta mergetool {operand(path)}")
        return ThetaError("\n".join(lines), "; or ".join(ways))

    def _names(self) -> str:
        return " ".join(word(head.name) for head in self.theirs)


def _typed(rules: Rules) -> str:
    """The options of the command line that gave these rules, each after a space, to be shown in a remedy."""
    words: list[str] = []
    if rules.default is not None and rules.default.typed:
        words = ["--strategy", word(str(rules.default))]
    typed = (rule for rule in rules.rules if rule.choice.origin.startswith(COMMAND_LINE))
    return "".join(f" {word}" for word in (*words, *(f"--rule {word(str(rule))}" for rule in typed)))


def _combines(rules: Rules | None, typed: bool) -> bool:
    """Whether a file is merged though one side alone has changed it."""
    return rules is not None and rules.combines and (typed or rules.one_sided == "combine")


def _how_to_decide(one: Planned, names: str) -> str:
    """What to type for what a plan has left open; what was typed stays."""
    plan, also = one.plan, _typed(one.rules)
    parts = [f" --rule {word(f'{written(part.name)}: ours')}" for part in plan.open_parts()]
    if parts and not plan.open_tensors():
        return f"git theta merge {names}{also}" + "".join(parts)
    if plan.helps == "side":
        return f"git theta merge {names}{also} --rule 'GLOB: ours'"
    if plan.helps == "rows":
        return (
            f"git theta merge {names}{also} --rule 'GLOB: average rows=pad' (or rows=common, or 'GLOB: ours')"
        )
    if plan.helps == "rule":
        return f"git theta merge {names}{also} --rule 'GLOB: average' (or any strategy, or 'GLOB: ours')"
    return f"git theta merge {names} --strategy average (see git theta strategies), or --rule 'GLOB: ours'"
