"""How a change is applied: in cherry-pick, revert, rebase, stash pop and whatever else carries one over.

There ours is not joined with theirs: what theirs changed against its base is added to ours, exactly, whatever
is configured for merges. `theta.apply` names another strategy, or `merge` for what merges are made with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from git_theta.git.repository import Repository
from git_theta.merges import rule_sources
from git_theta.merges.registry import APPLY
from git_theta.merges.rule_sources import Layer
from git_theta.merges.rules import Rules
from git_theta.merging import settings

VARIABLE = "GIT_THETA_APPLY"
KEY = "theta.apply"
AS_MERGES = "merge"


def rules_for(repository: Repository, path: str, *first: Layer) -> Rules:
    """The rules for applying a change to a checkpoint; of the rules for merges, only renames count.

    Arguments and errors are those of merge_settings.rules_for.
    """
    configured = settings.layers(repository, path)
    chosen = _chosen(repository, configured)
    if chosen.strategy == AS_MERGES:
        return rule_sources.resolve([*first, *configured]).combining()
    renames = [Layer(layer.origin, renames=layer.renames) for layer in configured]
    return rule_sources.resolve([*first, chosen, *renames])


def _chosen(repository: Repository, configured: Sequence[Layer]) -> Layer:
    """The first place that says how: environment, git config, `.thetaconfig`."""
    said = [
        (VARIABLE, os.environ.get(VARIABLE, "")),
        (f"git config {KEY}", repository.config.get(KEY)),
        *((f"{layer.origin}: apply", layer.apply) for layer in configured),
    ]
    return rule_sources.applying(*next((one for one in said if one[1].strip()), ("", APPLY)))
