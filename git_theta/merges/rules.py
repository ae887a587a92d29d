"""What is said beforehand about merging tensors: the grammar of rules.

GLOB: STRATEGY key=value ...        a rule
OLD -> NEW                          tensors that were renamed on one side
common | pad | ours                 what becomes of different numbers of rows
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from git_theta.errors import ThetaError
from git_theta.merges import registry
from git_theta.merges.interface import Strategy
from git_theta.merges.options import parse, parse_pairs, render

Rows = Literal["common", "pad", "ours"]
"""What becomes of tensors that differ in their first dimension only. The rows that all have are merged; then
the result ends (`common`), takes all further rows (`pad`), or those further rows that ours has (`ours`)."""

_ROWS: tuple[Rows, ...] = ("common", "pad", "ours")
_RULE = re.compile(r"\s*(?:(\S.*?):\s+|(\S+):)(\S.*?)\s*\Z", re.DOTALL)
_RENAME = re.compile(r"\s*(\S.*?)\s*->\s*(\S.*?)\s*\Z")
_GRAMMAR = "rules read: GLOB: STRATEGY key=value ..., for example: lm_head.*: linear weight=0.7"


@dataclass(frozen=True)
class Choice:
    """A strategy for a tensor.

    Attributes:
        options: the strategy's, as typed; see merges.options.fit.
        rows: what to do with different numbers of rows; None if nothing is said.
        explicit: whether a rule says so for this tensor, rather than a setting for all.
        origin: where it is said, for messages.
    """

    strategy: Strategy[Any]
    options: Any
    rows: Rows | None
    explicit: bool
    origin: str

    def __str__(self) -> str:
        words = render(self.strategy, self.options)
        return f"{words} rows={self.rows}" if self.rows else words


@dataclass(frozen=True)
class Rule:
    """A choice for the tensors that a glob matches; `*` matches every character, dots and slashes too."""

    pattern: str
    choice: Choice

    def matches(self, name: str) -> bool:
        return name == self.pattern or fnmatchcase(name, self.pattern)

    def __str__(self) -> str:
        return f"{self.pattern}: {self.choice}"


@dataclass(frozen=True)
class Rename:
    """Tensors called `old` on one side are those called `new` on another.

    Both hold the same number of `*`, each of which stands for the same text on both sides.
    """

    old: str
    new: str

    def apply(self, name: str) -> str | None:
        """The new name of a tensor, or None where it is not meant."""
        match = re.fullmatch("(.*)".join(map(re.escape, self.old.split("*"))), name, re.DOTALL)
        if match is None:
            return None
        parts = self.new.split("*")
        return "".join(text for pair in zip(parts, (*match.groups(), ""), strict=True) for text in pair)

    def __str__(self) -> str:
        return f"{self.old} -> {self.new}"


@dataclass(frozen=True)
class Rules:
    """What is said beforehand about a merge of one checkpoint.

    Attributes:
        default: for tensors that no rule matches.
        rules: the last one that matches counts.
        rows: the policy for different numbers of rows, where a choice has none of its own.
    """

    default: Choice | None = None
    rules: tuple[Rule, ...] = ()
    renames: tuple[Rename, ...] = ()
    rows: Rows | None = None

    def choose(self, name: str) -> Choice | None:
        """The choice for a tensor, or None where nothing is said."""
        matching = (rule.choice for rule in reversed(self.rules) if rule.matches(name))
        choice = next(matching, self.default)
        return choice and replace(choice, rows=choice.rows or self.rows)

    def settings(self) -> list[tuple[str, str]]:
        """All of it as (key, value), as `Layer.read` reads it: for the record of a merge."""
        pairs = [("strategy", str(self.default))] if self.default else []
        pairs += [("rule", str(rule)) for rule in self.rules]
        pairs += [("rename", str(rename)) for rename in self.renames]
        return pairs + ([("rows", self.rows)] if self.rows else [])


def check_matches(rules: Sequence[Rule], names: Collection[str], paths: Sequence[str]) -> None:
    """Raises ThetaError for a rule that none of these names of tensors matches: it is misspelt."""
    for rule in rules:
        if not any(map(rule.matches, names)):
            raise ThetaError(
                f"no tensor of {', '.join(paths)} matches {rule.pattern!r}; nothing was changed",
                f"git theta show {shlex.quote(paths[0])} lists the tensors",
            )


def parse_rule(text: str, origin: str) -> Rule:
    """A rule from `GLOB: STRATEGY key=value ...`. Raises ThetaError, naming the rule and its origin."""
    place = f"{origin}: rule {text.strip()!r}"
    match = _RULE.match(text)
    if match is None:
        raise ThetaError(f"{place} is not of the form GLOB: STRATEGY", _GRAMMAR)
    spaced, tight, words = match.groups()
    strategy, values, rows = parse_strategy(words, place)
    choice = Choice(strategy, parse(strategy, values, place), parse_rows(rows, place), True, place)
    return Rule(spaced or tight, choice)


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


def parse_rename(text: str, origin: str) -> Rename:
    """A rename rule from `OLD -> NEW`. Raises ThetaError for anything else."""
    match = _RENAME.match(text)
    if match is None or match[1].count("*") != match[2].count("*"):
        raise ThetaError(
            f"{origin}: rename {text.strip()!r} is not of the form OLD -> NEW, with as many * on both sides",
            "for example: model.layers.* -> transformer.h.*",
        )
    return Rename(match[1], match[2])
