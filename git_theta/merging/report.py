"""What a merge of a checkpoint says: what was merged how, what is left open, and what to beware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from git_theta.checkpoints.remainder import TYPE
from git_theta.diffs.renames import rule_text
from git_theta.merges import factors
from git_theta.merges.apply import Applied
from git_theta.merges.decisions import BASE, Decision, PartDecision, Plan, is_one_sided
from git_theta.merges.rules import Rename
from git_theta.terminal.showing import printable, word
from git_theta.terminal.units import and_more, counted, listed, percent

_SHOWN = 5  # reasons
_PRODUCTS_DO = "merged LoRA products do"
_TAKEN, _OPEN = "taken from one side", "in conflict"
_IN_ORDER = (_TAKEN, "renamed", "added", "removed", _OPEN)


def explain(plan: Plan) -> list[str]:
    """Why there are conflicts, in lines: the commonest reasons, with tensors that they are about."""
    names: dict[str, list[str]] = {}
    for decision in plan.conflicts():
        names.setdefault(decision.reason, []).append(decision.name)
    lines = []
    for reason, found in sorted(names.items(), key=lambda item: -len(item[1]))[:_SHOWN]:
        lines.append(f"  {listed(found)}: {reason}")
    return lines + and_more(len(names) - _SHOWN, "reason", "  ...") + _rename_rule(plan)


def _rename_rule(plan: Plan) -> list[str]:
    """What merges tensors that one side has renamed, and another one changed."""
    pairs = [
        (base.name, name)
        for one in plan.open_tensors()
        if (base := one.lines[BASE]) is not None
        for side, line in enumerate(one.lines)
        if line is None and (name := plan.new_name(side, base.name))
    ]
    if not pairs:
        return []
    old, new = rule_text(pairs) or ("", "")
    rule = Rename(f"{old}*", f"{new}*")
    if len(pairs) == 1 or not old or any(rule.apply(name) for _, name in pairs):  # nothing is renamed twice
        rule = Rename(*pairs[0])
    each = "" if all(rule.apply(was) == name for was, name in pairs) else " (one such rule for each)"
    command = f"git config --add theta.merge.rename {word(f'{rule.old} -> {rule.new}')}"
    return [f"  to merge what was renamed{each}: {command}, and begin again"]


def summary(path: str, plan: Plan, applied: Applied) -> list[str]:
    """What was merged, in lines."""
    counts = Counter(_word(*each) for each in each_once(plan))
    counters = sum(one.counter for one in plan.decisions) + sum(one.counter for one in plan.parts)
    strategies = Counter(
        (is_one_sided(decision), decision.combination.strategy.name)
        for decision in plan.decisions
        if decision.combination
    )
    parts = [
        f"{count} {'changed on some sides only, combined' if one_sided else 'merged'} ({name})"
        for (one_sided, name), count in strategies.most_common()
    ]
    parts += [f"{counts[what]} {what}" for what in _IN_ORDER if counts[what]]
    parts += [f"{counted(counters, 'note')} of the training kept as ours"] if counters else []
    others = Counter(_what_became_of(part) for part in plan.parts)
    parts += [f"{counted(others[what], 'other value')} {what}" for what in (_TAKEN, _OPEN) if others[what]]
    lines = [f"{printable(path)}: {counted(counts.total(), 'tensor')}: {', '.join(parts) or 'none changed'}"]
    for name, count in applied.not_finite.items():
        entries = counted(count, f"entry of {name} is", f"entries of {name} are")
        lines.append(f"warning: {printable(path)}: {entries} not finite in the result")
    return lines + about_factors(path, plan) + about_ranks(path, applied) + explain(plan)


def each_once(plan: Plan) -> Iterator[tuple[Decision, bool]]:
    """The decision on each tensor, and whether the result takes it over under a new name.

    Both names of a tensor that a side has renamed are decided on; only one of these decisions is among them.
    """
    new_names = plan.new_names()
    still_open = {base.name for one in plan.open_tensors() if (base := one.lines[BASE]) is not None}
    old_names = {new: old for old, new in new_names.items()}
    for one in plan.decisions:
        base = one.lines[BASE]
        if one.action == "add" and one.name in old_names:
            if old_names[one.name] not in still_open:
                yield one, True
        elif one.action != "remove" or base is None or base.name not in new_names:
            moved = base is not None and base.name != one.name
            yield one, one.action == "take" and moved and not one.counter


def _word(decision: Decision, renamed: bool) -> str:
    """What the merge did with a tensor; "" where other words tell that, and where it did nothing."""
    if renamed:
        return "renamed"
    if decision.counter or decision.action == "combine":
        return ""
    if decision.action == "take":
        return _TAKEN if decision.state != "unchanged" else ""
    return {"add": "added", "remove": "removed", "conflict": _OPEN}[decision.action]


def _what_became_of(part: PartDecision) -> str:
    if part.action == "conflict":
        return _OPEN
    one_sided = part.state.endswith("on one side") and not part.counter
    return _TAKEN if one_sided and not part.name.endswith(TYPE) else ""


def about_factors(path: str, plan: Plan) -> list[str]:
    """Warnings where factors are merged apart, and what would be right."""
    lines = []
    if found := factors.apart(plan):
        lines.append(
            f"warning: {printable(path)}: {counted(len(found), 'pair')} of LoRA factors "
            f"({printable(found[0].first)}, ...) merged apart: "
            "what comes out is not the merged product; average and linear merge that with lora=product"
        )
    if names := factors.others_apart(plan):
        lines.append(
            f"warning: {printable(path)}: factors of {counted(len(names), 'update')} "
            f"({printable(names[0])}, ...) merged apart: "
            "what comes out is not the merged update; ours and theirs take one as it is"
        )
    return lines


def about_ranks(path: str, applied: Applied) -> list[str]:
    """A warning where our rank cannot hold merged products."""
    if not applied.lost:
        return []
    name = max(applied.lost, key=lambda name: applied.lost[name])
    return [
        f"warning: {printable(path)}: {counted(len(applied.lost), 'merged LoRA product does', _PRODUCTS_DO)} "
        f"not fit our rank: up to {percent(applied.lost[name])} of them is lost ({printable(name)})"
    ]
