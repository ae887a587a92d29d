"""The rule `side NAME`, once it is known what the sides of a merge are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from git_theta.errors import ThetaError
from git_theta.merges.decisions import OURS
from git_theta.merges.rules import Choice, Rules
from git_theta.merges.strategies.named_side import NamedSide, SideOptions
from git_theta.terminal.units import joined


def numbered(rules: Rules, labels: Sequence[str]) -> Rules:
    """Replace names of sides in rules by numbers, which the record of a merge can repeat.

    Args:
        labels: what the sides are called, base first.

    Raises:
        ThetaError: no side, or more than one, has a name.
    """

    def choice(one: Choice) -> Choice:
        if not isinstance(one.strategy, NamedSide) or one.strategy.takes:
            return one
        number = _number(one.options.name, labels, one.origin)
        return replace(one, strategy=NamedSide(number), options=SideOptions(str(number)))

    return rules.with_choices(choice)


def side_number(takes: str | None) -> int | None:
    """The number of the side that a strategy takes (`Strategy.takes`), where it says one."""
    word, _, number = (takes or "").partition(" ")
    return int(number) if word == NamedSide.name and number else None


def _number(name: str, labels: Sequence[str], origin: str) -> int:
    sides = [number for number in range(OURS, len(labels)) if labels[number] == name]
    if not sides and name.isdecimal() and OURS <= int(name) < len(labels):
        return int(name)
    if len(sides) != 1:
        what = f"{'no side' if not sides else 'more than one side'} of this merge is called {name}"
        known = joined([f"{number} ({label})" for number, label in enumerate(labels) if number >= OURS])
        raise ThetaError(
            f"{origin}: {what if name else 'side NAME needs a name'}",
            f"the sides are {known}; name one, or give its number",
        )
    return sides[0]
