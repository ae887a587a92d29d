"""Applying a change: what cherry-pick and its like do. It is in no list of merge strategies."""

from __future__ import annotations

from git_theta.merges.interface import Coefficients, Strategy
from git_theta.merges.options import NoOptions


class Apply(Strategy[NoOptions]):
    name = "apply"
    summary = "Apply their change to ours, exactly."
    formula = "θ = ours + theirs − base (of n models Σᵢ θᵢ − (n − 1) base), in float64, rounded once"
    reference = "Git's three-way merge of a commit, its parent and ours"
    use = "A change is carried over, not averaged."
    options = NoOptions
    base = "required"
    adds_changes = True

    def coefficients(self, options: NoOptions, count: int) -> Coefficients:
        return Coefficients((1.0 - count, *(1.0,) * count))
