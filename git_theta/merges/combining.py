"""Whether arithmetic can combine what the sides of a merge have of one tensor, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence

from git_theta.manifest import TensorLine
from git_theta.merges import rows
from git_theta.merges.compared import Compared, Lines
from git_theta.merges.decisions import BASE, OURS, Combination, Help
from git_theta.merges.registry import fit
from git_theta.merges.rules import Choice

Obstacle = tuple[str, Help]
"""Why there is a conflict, and what helps."""


def combination(
    compared: Compared, choice: Choice | None, lines: Lines, changed: Sequence[int], sides: Sequence[int]
) -> Combination | Obstacle:
    """How to combine a tensor.

    Args:
        choice: what is said about it.
        lines: what each side has.
        changed: the sides that changed it, not all alike.
        sides: those that take part.

    Raises:
        ThetaError: options do not fit the number of sides.
    """
    who = compared.names(changed)
    removed = [side for side in changed if lines[side] is None]
    if removed:
        renamed = [side for side in removed if compared.is_renamed(side, lines)]
        gone = [side for side in removed if side not in renamed]
        others = [side for side in changed if side not in removed]
        done = (("removed", gone), ("renamed", renamed), ("changed", others))
        return ", ".join(f"{what} by {compared.names(some)}" for what, some in done if some), "side"
    if choice is None:
        state = "changed" if lines[BASE] is not None else "added"
        return f"{state} differently by {who}, and no strategy is chosen", rows.what_helps(lines, changed)
    strategy = choice.strategy
    if strategy.takes:
        return f"changed differently by {who}: {strategy.name} is not one of them", "strategy"
    if lines[BASE] is None and not choice.explicit:
        return f"added differently by {who}, and no rule says what to do with it", "rule"
    options = fit(strategy, choice.options, len(lines) - 1, [side - 1 for side in sides])
    needed = [*((BASE,) if strategy.needs_base(options) else ()), *sides]
    if lines[needed[0]] is None:
        return f"{strategy.name} needs the common ancestor, which does not have this tensor", "rule"
    if compared.is_bound(lines):
        return f"changed differently by {who}, and its bytes mean nothing without what describes them", "side"
    found = [line for line in (lines[side] for side in needed) if isinstance(line, TensorLine)]
    if len(found) < len(needed):
        return f"changed differently by {who}, and a view of another tensor on some side", "side"
    wrong = next((line.dtype.name for line in found if line.dtype.kind != "float"), None)
    if wrong:
        return f"changed differently by {who}, and {wrong} is not merged by arithmetic", "side"
    if not choice.knows_rows and len(rows.longer(lines, changed)) > 1:
        shapes = compared.shapes([BASE, *changed], lines)
        return f"{who} have new rows ({shapes}), and no rule says what to do with them", "rows"
    of_models = found[-len(sides) :]
    if len({line.dtype for line in of_models}) > 1 and not choice.explicit:
        return f"dtypes differ ({compared.dtypes(changed, lines)}), and no rule says what to do", "rule"
    if len(sides) < strategy.least or too_many(choice, sides):
        return f"{strategy.name} cannot merge {len(sides)} models ({compared.names(sides)})", "strategy"
    ours = lines[OURS]
    like = ours if isinstance(ours, TensorLine) else of_models[0]
    shape = rows.common_shape([line.shape for line in found], choice.rows, like.shape)
    if shape is None:
        policy = f"rows={choice.rows} does not apply" if choice.rows else "no policy for rows is chosen"
        reason = f"shapes differ ({compared.shapes(needed, lines)}), and {policy}"
        return reason, rows.what_helps(lines, needed)
    policy_used = choice.rows if len({line.shape for line in found}) > 1 else None
    return Combination(strategy, options, tuple(sides), policy_used, like.dtype, shape)


def too_many(choice: Choice | None, sides: Sequence[int]) -> bool:
    """Whether a strategy that computes cannot merge so many models."""
    if choice is None or choice.strategy.takes:
        return False
    return choice.strategy.most is not None and len(sides) > choice.strategy.most
