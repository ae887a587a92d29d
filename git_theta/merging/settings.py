"""Where the rules of a merge come from: command line, environment, git's configuration, `.thetaconfig`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.merges import rule_sources
from git_theta.merges.rule_sources import Layer
from git_theta.merges.rules import Rules

FILE = ".thetaconfig"
"""Versioned settings, in the syntax of git's configuration, at the top of a repository."""

VARIABLE = "GIT_THETA_MERGE"
_CARRIED = "GIT_THETA_MERGE_OF_ANCESTORS"


def rules_for(repository: Repository, path: str, *first: Layer) -> Rules:
    """The rules for merging a checkpoint, from all places that can give some.

    Args:
        path: from the top of the repository.
        first: places that go before all others: the command line.

    Raises:
        ThetaError: something there makes no sense; names the place and the rule.
    """
    return rule_sources.resolve([*first, *layers(repository, path)]).combining()


def carried(layers_of: Mapping[str, Layer]) -> dict[str, str]:
    """The environment that tells drivers, which merge common ancestors, what was typed or is recorded.

    Args:
        layers_of: what is said about a path, and nothing else is; for "" what goes before all else.
    """
    return {_CARRIED: json.dumps({path: asdict(layer) for path, layer in layers_of.items()})}


def rules_for_ancestors(repository: Repository, path: str) -> Rules:
    """The rules for merging the common ancestors of a checkpoint: the same as for itself.

    Raises ThetaError as `rules_for` does.
    """
    given = {name: _layer(said) for name, said in json.loads(os.environ.get(_CARRIED, "{}")).items()}
    if path in given:
        return rule_sources.resolve([given[path]])
    return rules_for(repository, path, *filter(None, [given.get("")]))


def _layer(said: Mapping[str, Any]) -> Layer:
    lists = {name: tuple(said[name]) for name in ("rules", "renames")}
    return Layer(**{**said, **lists})


def layers(repository: Repository, path: str) -> Sequence[Layer]:
    """The layers of settings for a checkpoint: environment, git config and `.thetaconfig`."""
    config = repository.config
    configured = [("theta.merge", value) for value in config.all("theta.merge")]
    for option, values in config.section("theta.merge").items():
        configured += [(f"theta.merge.{option}", value) for value in values]
    return (
        rule_sources.environment(os.environ.get(VARIABLE)),
        rule_sources.git_config(configured),
        rule_sources.thetaconfig(_versioned(repository), path),
    )


def _versioned(repository: Repository) -> list[tuple[str, str]]:
    """The keys and values of `.thetaconfig`: of the work tree's, or of HEAD's where there is no work tree."""
    if repository.bare:
        name = f"HEAD:{FILE}"
        if repository.blob(name) is None:
            return []
        source = ("--blob", name)
    else:
        file = repository.work_tree / FILE
        if not file.is_file():
            return []
        source = ("--file", str(file.absolute()))
    done = repository.run("config", *source, "-z", "--list")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise ThetaError(f"{FILE} cannot be read: {said}", f"mend {FILE}, or remove what is wrong in it")
    pairs = (item.partition(b"\n") for item in done.stdout.split(b"\0")[:-1])
    return [(os.fsdecode(key), os.fsdecode(value) if equals else "true") for key, equals, value in pairs]
