"""What strategies that measure whole models (`Strategy.surveys`) read besides the tensors that they merge."""

from __future__ import annotations

from dataclasses import dataclass

from git_theta.manifest import TensorLine
from git_theta.merges.decisions import BASE, Combination, Decision, Plan


@dataclass(frozen=True)
class Surveyed:
    """A tensor of the models that is measured for a combination of other tensors.

    Attributes:
        name: in the result.
        combination: for whose strategy, options and sides.
        lines: what the base and these sides have.
        height: how many rows of it are measured, where their number differs; None for all.
    """

    name: str
    combination: Combination
    lines: tuple[TensorLine, ...]
    height: int | None

    @property
    def unchanged(self) -> bool:
        """Whether all sides have the base's values, so that nothing has to be read."""
        return len({line.digest for line in self.lines}) == 1


def surveyed(plan: Plan) -> list[Surveyed]:
    """For each strategy and options that measure whole models, the tensors that are not merged with these."""
    groups: dict[object, tuple[Combination, set[str]]] = {}
    for decision in plan.decisions:
        combination = decision.combination
        if combination is not None and combination.strategy.surveys(combination.options):
            key = combination.strategy.name, combination.options, combination.sides
            groups.setdefault(key, (combination, set()))[1].add(decision.name)
    found = [
        _surveyed(decision, combination)
        for combination, merged in groups.values()
        for decision in plan.decisions
        if decision.form is not None and decision.name not in merged
    ]
    return [one for one in found if one is not None]


def _surveyed(decision: Decision, combination: Combination) -> Surveyed | None:
    """How to survey a tensor; None where no task vector of it can be made from all sides."""
    found = (decision.lines[side] for side in (BASE, *combination.sides))
    lines = tuple(line for line in found if isinstance(line, TensorLine) and line.dtype.kind == "float")
    shapes = {line.shape for line in lines}
    if len(lines) <= len(combination.sides) or len({shape[1:] for shape in shapes}) > 1:
        return None
    if len(shapes) == 1:
        return Surveyed(decision.name, combination, lines, None)
    if () in shapes:
        return None
    return Surveyed(decision.name, combination, lines, min(shape[0] for shape in shapes))
