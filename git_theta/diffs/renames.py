"""Tensors that have another name than before.

Data with the same digest are the same tensor. What is ambiguous (biases that are all zero) or changed as
well is decided by the rules that the others follow: a pattern of names (`h.#.attn.q` is now
`layers.#.q_proj`), or a prefix that was added, removed or replaced.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from git_theta.diffs import layers, text
from git_theta.diffs.entries import Entry

Similar = Callable[[Entry, Entry], bool]
"""Whether two tensors of one dtype and shape have similar values; it may look at a part of them only."""

Rule = Callable[[str], "str | None"]
"""The new name of an old one, or None where a rule does not apply."""

_PARTS = re.compile(r"[^./]*[./]|[^./]+\Z")
_LOOKS = 8
"""How many tensors a rule that nothing else confirms is tried on, and how many of these must be similar."""


def find(gone: Sequence[Entry], come: Sequence[Entry], similar: Similar | None = None) -> dict[str, str]:
    """New names by old names, for those that have one.

    Args:
        gone, come: tensors whose names only the older, or only the newer checkpoint has.
        similar: see Similar; without it, renamed tensors whose data changed are found by rules only.
    """
    if not gone or not come:
        return {}
    found = _certain(gone, come)
    rules = list(_rules(found.items()))
    found.update(_same_data(_left(gone, found), _left(come, found.values()), rules))
    old, new = _left(gone, found), _left(come, found.values())
    found.update(_by_rules(old, new, rules))
    if similar is not None:
        old, new = _left(gone, found), _left(come, found.values())
        found.update(_by_guessed_rule(old, new, similar))
        old, new = _left(gone, found), _left(come, found.values())
        found.update(_only_of_their_kind(old, new, similar))
    return found


def rule_text(pairs: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The prefix that all these renames replace, and what by; None if they have no such rule in common."""
    prefixes = {_prefixes(was, name) for was, name in pairs}
    return prefixes.pop() if len(prefixes) == 1 else None


def in_words(pairs: Sequence[tuple[str, str]]) -> str:
    """How tensors were renamed: old and new name of one, or the prefix that all have changed; else ""."""
    if len(pairs) == 1:
        was, name = map(text.printable, pairs[0])
        return f": {was} -> {name}"
    rule = rule_text(pairs)
    return f": {rule[0]!r} -> {rule[1]!r} in front" if rule else ""


def _left(entries: Sequence[Entry], names: Iterable[str]) -> list[Entry]:
    taken = set(names)
    return [entry for entry in entries if entry.name not in taken]


def _grouped(entries: Iterable[Entry]) -> dict[tuple[object, ...], list[Entry]]:
    groups: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.data].append(entry)
    return groups


def _certain(gone: Sequence[Entry], come: Sequence[Entry]) -> dict[str, str]:
    """Data that one tensor only has, on both sides."""
    new = _grouped(come)
    return {
        old[0].name: new[data][0].name
        for data, old in _grouped(gone).items()
        if len(old) == 1 and len(new.get(data, ())) == 1
    }


def _same_data(gone: Sequence[Entry], come: Sequence[Entry], rules: Sequence[Rule]) -> dict[str, str]:
    """Data that several tensors have: by rules, then in the order of their names."""
    new = _grouped(come)
    found: dict[str, str] = {}
    for data, old in _grouped(gone).items():
        mine = _by_rules(old, new.get(data, ()), rules)
        rest = zip(
            sorted(_left(old, mine), key=lambda entry: layers.natural(entry.name)),
            sorted(_left(new.get(data, ()), mine.values()), key=lambda entry: layers.natural(entry.name)),
            strict=False,
        )
        found.update(mine)
        found.update((was.name, entry.name) for was, entry in rest)
    return found


def _rules(renames: Iterable[tuple[str, str]]) -> Iterator[Rule]:
    """Rules that renames follow, those of most of them first; patterns, which say more, before prefixes."""
    patterns: Counter[tuple[str, str]] = Counter()
    prefixes: Counter[tuple[str, str]] = Counter()
    for was, name in renames:
        (old_pattern, old_numbers), (pattern, numbers) = layers.template(was), layers.template(name)
        if old_numbers == numbers:
            patterns[old_pattern, pattern] += 1
        prefixes[_prefixes(was, name)] += 1
    best: dict[str, str] = {}
    for (old, new), _ in patterns.most_common():
        best.setdefault(old, new)
    yield _pattern_rule(best)
    for (old, new), _ in prefixes.most_common(_LOOKS):
        yield _prefix_rule(old, new)


def _pattern_rule(patterns: Mapping[str, str]) -> Rule:
    def apply(name: str) -> str | None:
        pattern, numbers = layers.template(name)
        return layers.fill(patterns[pattern], numbers) if pattern in patterns else None

    return apply


def _prefix_rule(old: str, new: str) -> Rule:
    return lambda name: new + name[len(old) :] if name.startswith(old) else None


def _prefixes(was: str, name: str) -> tuple[str, str]:
    """What differs at the front of two names, in whole parts."""
    old, new = _PARTS.findall(was), _PARTS.findall(name)
    while old and new and old[-1] == new[-1]:
        old.pop()
        new.pop()
    return "".join(old), "".join(new)


def _by_rules(gone: Sequence[Entry], come: Sequence[Entry], rules: Sequence[Rule]) -> dict[str, str]:
    """Pairs of tensors of one dtype and shape whose names a rule connects."""
    free = {entry.name: entry for entry in come}
    found: dict[str, str] = {}
    for entry in gone:
        for rule in rules:
            candidate = free.get(rule(entry.name) or "")
            if candidate and (candidate.dtype, candidate.shape) == (entry.dtype, entry.shape):
                found[entry.name] = free.pop(candidate.name).name
                break
    return found


def _by_guessed_rule(gone: Sequence[Entry], come: Sequence[Entry], similar: Similar) -> dict[str, str]:
    """A prefix that was replaced on all tensors, while all of them changed."""
    votes: Counter[tuple[str, str]] = Counter()
    by_tail: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for entry in come:
        by_tail[_tail(entry)].append(entry.name)
    for entry in gone[:: max(1, len(gone) // 32)]:
        for name in by_tail[_tail(entry)]:
            votes[_prefixes(entry.name, name)] += 1
    for (old, new), _ in votes.most_common(_LOOKS):
        found = _by_rules(gone, come, [_prefix_rule(old, new)])
        if len(found) > 1 and _confirmed(found, gone, come, similar):
            return found
    return {}


def _tail(entry: Entry) -> tuple[object, ...]:
    return entry.dtype.name, entry.shape, *entry.name.replace("/", ".").split(".")[-2:]


def _confirmed(found: dict[str, str], gone: Sequence[Entry], come: Sequence[Entry], similar: Similar) -> bool:
    """Whether most of the largest tensors among these look alike."""
    old, new = ({entry.name: entry for entry in side} for side in (gone, come))
    largest = sorted(found, key=lambda name: -old[name].elements)[:_LOOKS]
    alike = sum(similar(old[name], new[found[name]]) for name in largest)
    return 2 * alike > len(largest)


def _only_of_their_kind(gone: Sequence[Entry], come: Sequence[Entry], similar: Similar) -> dict[str, str]:
    """Tensors of a dtype and shape that no other one left has, if they look alike."""
    kinds: list[dict[tuple[object, ...], list[Entry]]] = []
    for side in (gone, come):
        groups: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
        for entry in side:
            groups[entry.dtype.name, entry.shape].append(entry)
        kinds.append(groups)
    return {
        old[0].name: kinds[1][kind][0].name
        for kind, old in kinds[0].items()
        if len(old) == 1 and len(kinds[1].get(kind, ())) == 1 and similar(old[0], kinds[1][kind][0])
    }
