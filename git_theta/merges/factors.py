"""Factors of low-rank updates (LoRA): a model uses their product, which merging the factors does not merge.

The mean of two products B A is not the product of two means. Factors that are merged apart are warned about;
with `lora=product`, the products of the sides are merged, and factored again (see products).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from git_theta.manifest import TensorLine
from git_theta.merges.decisions import BASE, OURS, Action, Combination, Decision, Line, Pair, Plan
from git_theta.merges.registry import fit
from git_theta.merges.rules import Choice, Rules
from git_theta.terminal.units import joined

_FACTOR = re.compile(
    r"(?P<before>.*?)(?P<word>lora_embedding_|lora_linear_layer[._/]|lora[._/])(?P<factor>A|B|a|b|down|up)"
    r"(?P<after>(?:[._/].*)?)",
    re.DOTALL,
)
_FIRST = ("A", "a", "down")
_OTHER = re.compile(r"(?P<of>.*?)(?:hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))")
_KINDS = (("float",), ("float",), ("float", "int", "uint"))
"""What the factors and alpha may be."""

Lines = tuple[Line | None, ...]


def pairs(names: Iterable[str]) -> list[Pair]:
    """The pairs of factors among these names."""
    known = set(names)
    halves: dict[tuple[str, str, str], dict[bool, str]] = defaultdict(dict)
    for name in sorted(known):
        if match := _FACTOR.fullmatch(name):
            halves[match["before"], match["word"], match["after"]][match["factor"] in _FIRST] = name
    found = []
    for (before, *_), both in halves.items():
        if len(both) == 2:
            alpha = next((name for name in (f"{before}alpha", f"{before}lora_alpha") if name in known), "")
            found.append(Pair(both[True], both[False], alpha))
    return found


def merge_products(decisions: dict[str, Decision], rules: Rules, labels: Sequence[str]) -> None:
    """Let the products of factors be merged where `lora=product` is chosen for both.

    Where no more than one of a pair differs, merging that one is as good, and stays.

    Args:
        decisions: by common name; changed here.
        labels: what the sides are called, base first.
    """
    for pair in pairs(decisions):
        both = [decisions[name] for name in (pair.first, pair.second)]
        choice, other = (rules.choose(one.name) for one in both)
        if choice is None or choice != other or getattr(choice.options, "lora", "") != "product":
            decisions |= {name: _hinted(decisions[name]) for name in (pair.first, pair.second)}
            continue
        members = {name: decisions[name] for name in pair.names}
        sides = _taking_part(choice, [one.lines for one in members.values()])
        if sides:
            decisions |= _as_product(pair, members, sides, choice, labels)


def _hinted(factor: Decision) -> Decision:
    """A factor's decision; where ranks differ it says what helps: more rows would fit no other factor."""
    if factor.action != "conflict" or len({line.shape for line in factor.lines if line is not None}) < 2:
        return factor
    words = "average and linear merge products of LoRA with lora=product"
    return replace(factor, reason=f"{factor.reason}; {words}", helps="side")


def apart(plan: Plan) -> list[Pair]:
    """The pairs of factors that differ, and are merged one by one although only their product counts."""
    by_name = {decision.name: decision for decision in plan.decisions}
    return [pair for pair in pairs(by_name) if _are_apart(by_name[pair.first], by_name[pair.second])]


def others_apart(plan: Plan) -> list[str]:
    """The LoHa and LoKr updates whose factors are merged one by one although only their product counts."""
    found: dict[str, list[Decision]] = defaultdict(list)
    for decision in plan.decisions:
        if match := _OTHER.fullmatch(decision.name):
            found[match["of"]].append(decision)
    return [members[0].name for members in found.values() if _are_apart(*members)]


def _are_apart(*members: Decision) -> bool:
    """Whether several factors of one update differ between the sides that they are merged from."""
    sides = sorted({side for one in members for side in _sources(one)})
    return sum(_differs(one.lines, sides) for one in members) > 1


def _sources(factor: Decision) -> tuple[int, ...]:
    """The sides whose change a factor has, unless its product is merged."""
    if factor.combination is not None:
        return () if factor.product else factor.combination.sides
    return (factor.side,) if factor.action in ("take", "add") and factor.state != "unchanged" else ()


def _taking_part(choice: Choice, lines: Sequence[Lines]) -> list[int]:
    """The sides whose products are merged; none where merging the tensors one by one is right, or impossible.

    Args:
        lines: of first, second and, if there is one, alpha.
    """
    everybody = range(OURS, len(lines[0]))
    changed = [side for side in everybody if any(_differs(one, [BASE, side]) for one in lines)]
    if lines[0][BASE] is None and not choice.explicit:
        return []
    missing = any(line is None for one in lines for line in one)
    sides = list(everybody) if choice.one_sided == "combine" and not missing else changed
    for one, kinds in zip(lines, _KINDS[: len(lines)], strict=True):
        if not all(_is_tensor(one[side], kinds) for side in {OURS, *sides}):
            return []
    return sides if sum(_differs(one, sides) for one in lines) > 1 else []


def _as_product(
    pair: Pair, members: dict[str, Decision], sides: list[int], choice: Choice, labels: Sequence[str]
) -> dict[str, Decision]:
    """The decisions on a pair whose products are merged; none where they do not fit."""
    first, second = members[pair.first], members[pair.second]
    shapes = {side: (_shape(first, side), _shape(second, side)) for side in {OURS, *sides}}
    ranks = {side: rank(*both) for side, both in shapes.items()}
    if None in ranks.values() or len({product_shape(*both) for both in shapes.values()}) > 1:
        return {}
    if not pair.alpha and len(set(ranks.values())) > 1:
        found = joined([f"{labels[side]} {ranks[side]}" for side in sorted(ranks)])
        reason = f"ranks differ ({found}), and no alpha in the file says how the products are scaled"
        both = {pair.first: first, pair.second: second}
        return {
            name: replace(one, action="conflict", side=OURS, combination=None, reason=reason, helps="side")
            for name, one in both.items()
        }
    count = len(first.lines) - 1
    options = fit(choice.strategy, choice.options, count, [side - 1 for side in sides])
    named = Pair(first.name, second.name, members[pair.alpha].name if pair.alpha else "")
    made = {}
    for name, one in members.items():
        ours = one.lines[OURS]
        assert ours is not None
        if name == pair.alpha:
            there: Action = "take" if one.lines[BASE] is not None else "add"
            made[name] = replace(one, action=there, side=OURS, combination=None, reason="")
            continue
        combination = Combination(choice.strategy, options, tuple(sides), None, ours.dtype, ours.shape)
        made[name] = replace(one, action="combine", combination=combination, reason="", product=named)
    return made


def rank(first: tuple[int, ...], second: tuple[int, ...]) -> int | None:
    """The rank of an update by the shapes of its factors, None where they do not fit."""
    if is_turned(first, second):
        return second[0]
    fits = len(first) >= 2 and len(second) >= 2 and second[1] == first[0] and set(second[2:]) <= {1}
    return first[0] if fits else None


def is_turned(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether factors multiply in the order [in, rank] × [rank, out], rather than second times first."""
    if len(first) != 2 or len(second) != 2 or second[1] == first[0]:
        return False
    return first[1] == second[0]


def product_shape(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the update, as far as it tells whether two of them go together."""
    if is_turned(first, second):
        return first[0], second[1]
    return second[0], *first[1:]


def _is_tensor(line: Line | None, kinds: tuple[str, ...]) -> bool:
    return isinstance(line, TensorLine) and line.dtype.kind in kinds


def _shape(decision: Decision, side: int) -> tuple[int, ...]:
    line = decision.lines[side]
    assert line is not None
    return line.shape


def _differs(lines: Lines, sides: Sequence[int]) -> bool:
    """Whether some of these sides have another value than others."""
    found = {line and replace(line, name="") for line in (lines[side] for side in sides)}
    return len(found) > 1
