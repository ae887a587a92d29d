"""Rules for merging tensors, given before a merge starts, and the grammar that they are written in.

GLOB: STRATEGY key=value ...        a rule; "NAME" in quotes, as JSON writes it, is one tensor and no glob
OLD -> NEW                          tensors that were renamed on one side
common | pad | ours                 what becomes of different numbers of rows
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from git_theta.errors import ThetaError
from git_theta.merges import registry
from git_theta.merges.interface import Strategy
from git_theta.merges.options import parse_pairs, render
from git_theta.patterns import QUOTED, Pattern, read, written
from git_theta.terminal.showing import operand, printable

Rows = Literal["common", "pad", "ours"]
"""What becomes of tensors that differ in their first dimension only. The rows that all have are merged; then
the result ends (`common`), takes all further rows (`pad`), or those further rows that ours has (`ours`)."""

OneSided = Literal["take", "combine"]
"""What becomes of a tensor that some sides have changed, and others not: the change is taken, as in Git, or
the strategy combines what all sides have, with a task vector of zero for those that have not changed it."""

_ONE_SIDED: tuple[OneSided, ...] = ("take", "combine")
_ROWS: tuple[Rows, ...] = ("common", "pad", "ours")
_RULE = re.compile(rf"\s*(?:({QUOTED})\s*:\s*|(\S.*?):\s+|(\S+):)(\S.*?)\s*\Z", re.DOTALL)
_NAME = rf"({QUOTED}|\S.*?)"
_RENAME = re.compile(rf"\s*{_NAME}\s*->\s*{_NAME}\s*\Z", re.DOTALL)
_LONGEST = 10_000  # characters of a rule, which is matched in time that grows with their square
_GRAMMAR = "rules read: GLOB: STRATEGY key=value ..., for example: lm_head.*: linear weight=0.7"


@dataclass(frozen=True)
class Choice:
    """A strategy for a tensor.

    Attributes:
        options: the strategy's, as typed; see merges.options.fit.
        rows: what to do with different numbers of rows; None if nothing is said.
        explicit: whether a rule says so for this tensor, rather than a setting for all.
        origin: where it is said, for messages.
        one_sided: what is said about tensors that some side has not changed; None for nothing.
        typed: whether it was typed on the command line.
        knows_rows: whether a rule says what to do with rows for this tensor.
    """

    strategy: Strategy[Any]
    options: Any
    rows: Rows | None
    explicit: bool
    origin: str
    one_sided: OneSided | None = None
    typed: bool = False
    knows_rows: bool = False

    def __str__(self) -> str:
        words = render(self.strategy, self.options)
        return f"{words} rows={self.rows}" if self.rows else words


@dataclass(frozen=True)
class Rule:
    """A choice for the tensors that a glob matches, or for the one that is named.

    Attributes:
        literal: whether the pattern is a name, and no glob.
    """

    pattern: str
    choice: Choice
    literal: bool = False

    @property
    def _meant(self) -> Pattern:
        return Pattern(self.pattern, self.literal)

    def matches(self, name: str) -> bool:
        return self._meant.matches(name)

    def among(self, names: Collection[str]) -> Rule:
        """The rule for these tensors: a text that is also one of their names means that name alone."""
        return replace(self, literal=self._meant.among(names).literal)

    def __str__(self) -> str:
        return f"{self._meant}: {self.choice}"


@dataclass(frozen=True)
class Rename:
    """Tensors called `old` on one side are those called `new` on another.

    Both hold the same number of `*`, each of which stands for the same text on both sides; in literal names
    it stands for itself.
    """

    old: str
    new: str
    literal: bool = False

    def apply(self, name: str) -> str | None:
        """The new name of a tensor, or None where it is not meant."""
        if self.literal:
            return self.new if name == self.old else None
        first, *rest = self.old.split("*")
        if not rest:
            return self.new if name == first else None
        *middle, last = rest
        start, end = len(first), len(name) - len(last)
        if end < start or not name.startswith(first) or not name.endswith(last):
            return None
        found: list[str] = []
        for text in reversed(middle):  # from behind, so that each star stands for as much as it can
            at = name.rfind(text, start, end)
            if at < 0:
                return None
            found.insert(0, name[at + len(text) : end])
            end = at
        found.insert(0, name[start:end])
        return "".join(text for pair in zip(self.new.split("*"), (*found, ""), strict=True) for text in pair)

    def among(self, names: Collection[str]) -> Rename:
        """The rename rule for these tensors: if both texts are names of theirs, it means just those."""
        return replace(self, literal=self.literal or {self.old, self.new} <= set(names))

    def __str__(self) -> str:
        old, new = map(written, (self.old, self.new)) if self.literal else (self.old, self.new)
        return f"{old} -> {new}"


@dataclass(frozen=True)
class Rules:
    """All rules and policies that hold for the merge of one checkpoint.

    Attributes:
        default: for tensors that no rule matches.
        rules: the last one that matches counts.
        rows: the policy for different numbers of rows, where a choice has none of its own.
        one_sided: the same about tensors that some side has not changed; unless anything is said, they are
            taken (see `combining`).
        resolutions: for tensors that are in conflict by all of that; the first one that settles it counts.
    """

    default: Choice | None = None
    rules: tuple[Rule, ...] = ()
    renames: tuple[Rename, ...] = ()
    rows: Rows | None = None
    one_sided: OneSided | None = None
    resolutions: tuple[Rule, ...] = ()

    def choose(self, *names: str) -> Choice | None:
        """The choice for a tensor, or for several that are one; None where nothing is said."""
        matching = (rule.choice for rule in reversed(self.rules) if any(map(rule.matches, names)))
        choice = next(matching, self.default)
        return choice and replace(
            choice,
            rows=choice.rows or self.rows,
            one_sided=self._about_one_sided(choice),
            knows_rows=choice.explicit and choice.rows is not None,
        )

    def among(self, names: Collection[str]) -> Rules:
        """The rules for these tensors: a text that is also one of their names means that name alone."""
        return replace(
            self,
            rules=tuple(rule.among(names) for rule in self.rules),
            renames=tuple(rename.among(names) for rename in self.renames),
        )

    @property
    def combines(self) -> bool:
        """Whether a tensor may be combined that some side has not changed."""
        choices = [*filter(None, [self.default]), *(rule.choice for rule in self.rules)]
        return any(self._about_one_sided(choice) == "combine" for choice in choices)

    def combining(self) -> Rules:
        """The rules for a merge whose typed strategy also combines what one side alone has changed."""
        if self.one_sided is not None:
            return self

        def combining(choice: Choice) -> Choice:
            usual: OneSided | None = "combine" if choice.explicit or choice.typed else None
            return replace(choice, one_sided=choice.one_sided or usual)

        return self.with_choices(combining)

    def with_choices(self, changed: Callable[[Choice], Choice]) -> Rules:
        """The same with other strategies, in rules and for what no rule is about."""
        rules = tuple(replace(rule, choice=changed(rule.choice)) for rule in self.rules)
        return replace(self, default=self.default and changed(self.default), rules=rules)

    def _about_one_sided(self, choice: Choice) -> OneSided:
        return choice.one_sided or self.one_sided or "take"

    def settings(self) -> list[tuple[str, str]]:
        """All of it as (key, value), as `Layer.read` reads it: for the record of a merge."""
        choices = [*filter(None, [self.default]), *(rule.choice for rule in self.rules)]
        usual = self._about_one_sided(choices[0]) if choices else None

        def also(choice: Choice) -> str:
            one_sided = self._about_one_sided(choice)
            return "" if one_sided == usual else f" one-sided={one_sided}"

        pairs = [("strategy", f"{self.default}{also(self.default)}")] if self.default else []
        pairs += [("rule", f"{rule}{also(rule.choice)}") for rule in self.rules]
        pairs += [("one-sided", usual)] if usual else []
        pairs += [("rename", str(rename)) for rename in self.renames]
        pairs += [("rows", self.rows)] if self.rows else []
        return pairs + [("resolution", str(rule)) for rule in self.resolutions]


def check_matches(rules: Sequence[Rule], names: Collection[str], paths: Sequence[str]) -> None:
    """Raises ThetaError for a rule that none of these names of tensors matches: it is misspelt."""
    for rule in rules:
        if not any(map(rule.matches, names)):
            where = ", ".join(map(printable, paths))
            raise ThetaError(
                f"no tensor of {where} matches {rule.pattern!r}; nothing was changed",
                f"git theta show {operand(paths[0])} lists the tensors",
            )


def parse_rule(text: str, origin: str) -> Rule:
    """A rule from `GLOB: STRATEGY key=value ...`. Raises ThetaError, naming the rule and its origin."""
    place = f"{origin}: rule {text.strip()!r}"
    match = _RULE.match(text) if len(text) < _LONGEST else None
    if match is None:
        raise ThetaError(f"{place[:_LONGEST]} is not of the form GLOB: STRATEGY", _GRAMMAR)
    quoted, spaced, tight, words = match.groups()
    strategy, values, rows = parse_strategy(words, place)
    one_sided = parse_one_sided(values.pop("one-sided", ""), place)
    options = registry.parse(strategy, values, place)
    choice = Choice(strategy, options, parse_rows(rows, place), True, place, one_sided)
    meant = read(quoted or spaced or tight)
    return Rule(meant.text, choice, meant.literal)


def parse_strategy(text: str, origin: str) -> tuple[Strategy[Any], dict[str, str], str]:
    """A strategy, the texts of its options, and the policy for rows, from `STRATEGY key=value ...`."""
    try:
        name, *pairs = shlex.split(text)
    except ValueError as error:
        raise ThetaError(f"{origin}: {text!r} cannot be read: {error}", "close what quotes open") from None
    try:
        strategy = registry.by_name(name)
    except ThetaError as error:
        raise ThetaError(f"{origin}: {error.message}", error.remedy) from None
    if strategy.name == registry.SIDE and pairs and "=" not in pairs[0]:
        pairs[0] = f"name={pairs[0]}"
    values = parse_pairs(pairs, origin)
    return strategy, values, values.pop("rows", "")


def parse_rows(text: str, origin: str) -> Rows | None:
    """A policy for rows, None for "". Raises ThetaError for anything else."""
    if not text:
        return None
    for known in _ROWS:
        if text.strip().lower() == known:
            return known
    raise ThetaError(f"{origin}: rows={text} is not known", f"choose one of {', '.join(_ROWS)}")


def parse_one_sided(text: str, origin: str) -> OneSided | None:
    """What is said about tensors that some side has not changed, None for "". Raises ThetaError."""
    if not text:
        return None
    for known in _ONE_SIDED:
        if text.strip().lower() == known:
            return known
    raise ThetaError(f"{origin}: one-sided={text} is not known", f"choose one of {', '.join(_ONE_SIDED)}")


def parse_rename(text: str, origin: str) -> Rename:
    """A rename rule from `OLD -> NEW`. Raises ThetaError for anything else."""
    match = _RENAME.match(text) if len(text) < _LONGEST else None
    names = [read(name) for name in match.groups()] if match is not None else []
    if any(name.literal for name in names) and not any("*" in n.text for n in names if not n.literal):
        return Rename(names[0].text, names[1].text, literal=True)
    if match is None or match[1].count("*") != match[2].count("*"):
        raise ThetaError(
            f"{origin}: rename {text.strip()[:_LONGEST]!r} is not of the form OLD -> NEW, "
            "with as many * on both sides",
            "for example: model.layers.* -> transformer.h.*",
        )
    return Rename(match[1], match[2])
