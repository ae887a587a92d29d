"""What `git theta merge --dry-run` prints: decisions by kind, and how the sides interfere."""

from __future__ import annotations

import textwrap
from itertools import combinations

from git_theta.git.repository import Repository
from git_theta.merges.decisions import Decision
from git_theta.merging.entries import Contested
from git_theta.merging.merge import Merge, Planned
from git_theta.merging.report import about_factors, each_once, explain
from git_theta.terminal.showing import Say, printable
from git_theta.terminal.units import percent
from git_theta.versions.comparison import compare_three
from git_theta.versions.places import Place

_WIDTH = 96


def preview(repository: Repository, merge: Merge, say: Say) -> int:
    """Print the plan of a merge. Returns 1 if the merge would stop."""
    names = ", ".join(head.name for head in merge.theirs)
    say(f"Merging {names} into {merge.ours.name} would do this:")
    for line in merge.trees.conflicts:
        say(line)
    if not merge.checkpoints:
        say("no checkpoint was changed on more than one side")
    for one in merge.checkpoints:
        _show(repository, one, say)
    stops = bool(merge.trees.conflicts) or any(one.open for one in merge.checkpoints)
    if stops:
        say("There are conflicts: the merge would stop, and change nothing.")
    return int(stops)


def _show(repository: Repository, one: Planned, say: Say) -> None:
    say(f"{printable(one.about.path)}:")
    counts: dict[str, int] = {}
    for decision, renamed in each_once(one.plan):
        words = "rename" if renamed else f"{_action(decision)} ({decision.state})"
        counts[words] = counts.get(words, 0) + 1
    width = len(str(max(counts.values(), default=0)))
    for words, count in sorted(counts.items(), key=lambda item: -item[1]):
        say(f"  {count:>{width}} {words}")
    if one.plan.skeleton.action == "conflict":
        say(f"  conflict: {one.plan.skeleton.reason}")
    for line in [*about_factors(one.about.path, one.plan), *explain(one.plan)]:
        say(f"  {line}")
    for line in _interference(repository, one.about):
        say(f"  {line}")


def _action(decision: Decision) -> str:
    if decision.combination is not None:
        return f"combine with {decision.combination.strategy.name}"
    return decision.action


def _interference(repository: Repository, about: Contested) -> list[str]:
    """For each two sides, how they go together, and what that means."""
    base = Place(about.path, about.mode if about.base else "", about.base, label="base")
    sides = [Place(about.path, about.mode, oid, label=name) for name, oid in about.versions]
    lines = []
    for one, other in combinations(sides, 2):
        found = compare_three(repository, (base, one, other))
        cosine, conflicts = found.cosine, found.agreement.conflict_fraction
        lines.append(
            f"{one.label} and {other.label}: "
            f"cosine {'unknown' if cosine is None else f'{cosine:+.3f}'}, "
            f"sign conflicts {'unknown' if conflicts is None else percent(conflicts)}"
        )
        lines += textwrap.wrap(found.verdict, _WIDTH)
    return lines
