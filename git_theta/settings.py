"""git-theta's configuration as one typed object; git.config fills it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grouping = Literal["auto", "on", "off"]
Report = Literal["off", "files", "tensors"]


@dataclass(frozen=True)
class Settings:
    """What `theta.*` says.

    Attributes:
        allow_damaged: store damaged checkpoints as opaque bytes (theta.allowDamaged).
        skip_smudge: leave manifests in the work tree (theta.skipSmudge, GIT_THETA_SKIP_SMUDGE).
        skip_missing: write the manifest where objects are missing or damaged (theta.skipMissing).
        allow_incomplete_push: push refs whose objects are nowhere to be found (theta.allowIncompletePush).
        report: print what a commit cost, in a line for each file, or for each tensor too (theta.report).
        grouping: whether residuals are grouped by exponent, which takes less room and more time: "on"
            wherever it takes noticeably less, "auto" where a user would wait for it (theta.grouping).
        max_chain_depth: longest chain of updates (theta.maxChainDepth).
        max_chain_ratio: most stored bytes of a chain, against a dense copy (theta.maxChainRatio).
        base: REV:PATH of a further checkpoint to predict from (theta.base).
        max_expansion: how many times what its objects take a large file may become (theta.maxExpansion).
        hardlinks: share files with remotes that are folders, instead of copying them (theta.hardlinks).
    """

    allow_damaged: bool = False
    skip_smudge: bool = False
    skip_missing: bool = False
    allow_incomplete_push: bool = False
    report: Report = "files"
    grouping: Grouping = "auto"
    max_chain_depth: int = 10
    max_chain_ratio: float = 4.0
    base: str = ""
    hardlinks: bool = False
    max_expansion: float = 1000.0
