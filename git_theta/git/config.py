"""git's configuration, read once.

An environment variable GIT_THETA_SKIP_SMUDGE etc. goes before the configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from git_theta.errors import ThetaError
from git_theta.settings import Report, Settings

_NUMBER = re.compile(r"[-+]?([0-9]+)[kmg]?\Z")
_WITH_LOOSE_OBJECTS = ("loose-object", "objects", "committed", "added", "all")
DEEPEST_ASKED_FOR = 30
"""Longest chain of updates that can be configured: each step is decoded to read what is at the end."""


class Config:
    """git's configuration: keys as git prints them (section and name in lower case) to lists of values."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    @staticmethod
    def parse(listing: bytes) -> Config:
        """Read `git config -z --list`."""
        values: dict[str, list[str]] = {}
        for item in listing.split(b"\0")[:-1]:
            key, separator, value = item.partition(b"\n")
            # A key without "=" is true.
            values.setdefault(os.fsdecode(key), []).append(os.fsdecode(value) if separator else "true")
        return Config(values)

    def get(self, key: str, default: str = "") -> str:
        """The last value of a key."""
        return self._values.get(_canonical(key), [default])[-1]

    def all(self, key: str) -> list[str]:
        """Every value of a key, in order."""
        return self._values.get(_canonical(key), [])

    def subsections(self, section: str) -> list[str]:
        """The names X of all sections [section "X"], in order."""
        names = (
            key.split(".", 1)[1].rpartition(".")[0] for key in self._values if key.startswith(f"{section}.")
        )
        return list(dict.fromkeys(name for name in names if name))

    def section(self, prefix: str) -> dict[str, list[str]]:
        """The keys that start with `prefix.`, without it."""
        head = _canonical(prefix + ".x")[:-1]
        return {key[len(head) :]: values for key, values in self._values.items() if key.startswith(head)}

    def boolean(self, key: str, default: bool) -> bool:
        """A yes or no, as git reads them. Raises ThetaError for anything else."""
        text = self.get(key, str(default)).lower()
        if text in ("true", "yes", "on", "1"):
            return True
        if text in ("false", "no", "off", "0", ""):
            return False
        if number := _NUMBER.match(text):
            return int(number[1]) != 0
        raise ThetaError(f"{key} is {text!r}, which is neither true nor false", f"git config {key} true")

    @property
    def syncs_objects(self) -> bool:
        """Whether git is told to flush loose objects to the disk, which is then done with ours too."""
        wanted = self.boolean("core.fsyncObjectFiles", False)
        for name in self.get("core.fsync").replace(" ", "").split(","):
            if name == "none" or name.removeprefix("-") in _WITH_LOOSE_OBJECTS:
                wanted = name[0] != "-" and name != "none"
        return wanted

    def settings(self) -> Settings:
        """What `theta.*` says. Raises ThetaError for values that make no sense."""
        grouping = self.get("theta.grouping", "auto").lower()
        if grouping not in ("auto", "on", "off"):
            raise ThetaError(
                f"theta.grouping is {grouping!r}", "git config theta.grouping auto (or on, or off)"
            )
        skip = os.environ.get("GIT_THETA_SKIP_SMUDGE", "").lower()
        return Settings(
            allow_damaged=self.boolean("theta.allowDamaged", False),
            skip_smudge=(
                skip not in ("0", "false", "no", "off") if skip else self.boolean("theta.skipSmudge", False)
            ),
            skip_missing=self.boolean("theta.skipMissing", False),
            allow_incomplete_push=self.boolean("theta.allowIncompletePush", False),
            report=self._report(),
            grouping=grouping,  # type: ignore[arg-type]
            max_chain_depth=int(self._number("theta.maxChainDepth", 10, DEEPEST_ASKED_FOR)),
            max_chain_ratio=self._number("theta.maxChainRatio", 4.0, 1e9),
            base=self.get("theta.base"),
            hardlinks=self.boolean("theta.hardlinks", False),
            max_expansion=self._number("theta.maxExpansion", 1000, 1e18),
        )

    def _report(self) -> Report:
        if self.get("theta.report").lower() == "tensors":
            return "tensors"
        return "files" if self.boolean("theta.report", True) else "off"

    def _number(self, key: str, default: float, most: float) -> float:
        text = self.get(key, str(default))
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value <= most:
            raise ThetaError(
                f"{key} is {text!r}, which is not a number from 0 to {most:g}", f"git config {key} {default}"
            )
        return value


def _canonical(key: str) -> str:
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    return ".".join(part for part in (section.lower(), subsection, name.lower()) if part)
