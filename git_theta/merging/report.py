"""What a merge of a checkpoint says: what was merged how, what is left open, and what to beware of."""

from __future__ import annotations

from collections import Counter

from git_theta.checkpoints.remainder import TYPE
from git_theta.merges import factors
from git_theta.merges.apply import Applied
from git_theta.merges.decisions import PartDecision, Plan, is_one_sided
from git_theta.terminal.showing import printable
from git_theta.terminal.units import and_more, counted, listed, percent

_SHOWN = 5  # reasons
_PRODUCTS_DO = "merged LoRA products do"
_TAKEN, _OPEN = "taken from one side", "in conflict"


def explain(plan: Plan) -> list[str]:
    """Why there are conflicts, in lines: the commonest reasons, with tensors that they are about."""
    names: dict[str, list[str]] = {}
    for decision in plan.conflicts():
        names.setdefault(decision.reason, []).append(decision.name)
    lines = []
    for reason, found in sorted(names.items(), key=lambda item: -len(item[1]))[:_SHOWN]:
        lines.append(f"  {listed(found)}: {reason}")
    return lines + and_more(len(names) - _SHOWN, "reason", "  ...")


def summary(path: str, plan: Plan, applied: Applied) -> list[str]:
    """What was merged, in lines."""
    counts = Counter(decision.action for decision in plan.decisions if not decision.counter)
    taken = sum(
        one.action == "take" and one.state != "unchanged" and not one.counter for one in plan.decisions
    )
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
    numbers = (
        ("taken from one side", taken),
        ("added", counts["add"]),
        ("removed", counts["remove"]),
        ("in conflict", counts["conflict"]),
    )
    parts += [f"{count} {word}" for word, count in numbers if count]
    parts += [f"{counted(counters, 'note')} of the training kept as ours"] if counters else []
    others = Counter(_what_became_of(part) for part in plan.parts)
    parts += [f"{counted(others[word], 'other value')} {word}" for word in (_TAKEN, _OPEN) if others[word]]
    lines = [
        f"{printable(path)}: {counted(len(plan.decisions), 'tensor')}: {', '.join(parts) or 'none changed'}"
    ]
    for name, count in applied.not_finite.items():
        entries = counted(count, f"entry of {name} is", f"entries of {name} are")
        lines.append(f"warning: {printable(path)}: {entries} not finite in the result")
    return lines + about_factors(path, plan) + about_ranks(path, applied) + explain(plan)


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
