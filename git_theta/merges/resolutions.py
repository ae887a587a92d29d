"""Deciding on what a plan leaves in conflict, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from git_theta.merges.decisions import Plan
from git_theta.merges.rules import Choice, Rule, Rules


def planned(plan: Callable[[Rules], Plan], rules: Rules) -> Plan:
    """Make a plan by rules, then apply their resolutions one by one, each to what is still in conflict."""
    made = plan(rules)
    for written in rules.resolutions:
        rule = written.among(made.names())
        found = [decision.name for decision in made.conflicts() if rule.matches(decision.name)]
        if found:
            choice = of_conflicts(rule.choice)
            rules = replace(rules, rules=(*rules.rules, *(Rule(name, choice, True) for name in found)))
            made = plan(rules)
    return made


def of_conflicts(choice: Choice) -> Choice:
    """The choice, limited to conflicts: tensors that only one side changed are taken from it."""
    return replace(choice, one_sided="take")
