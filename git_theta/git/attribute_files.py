"""The files that say which attributes paths have, and what they say about git-theta together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.git import attributes
from git_theta.git.attribute_macros import BUILT_IN, Macros
from git_theta.git.attributes import FILE, Line
from git_theta.git.plumbing import PRESENT
from git_theta.git.repository import Repository

INFO, GLOBAL = "info", "global"


@dataclass(frozen=True)
class AttributesFile:
    """One of them.

    Attributes:
        name: for messages: from the top of the work tree, or where it lies else.
        place: the folder that it is about, from the top ("" is the top); or `INFO`, which comes before all
            those, or `GLOBAL`, which comes after them.
    """

    name: str
    place: Path | str
    lines: Sequence[Line]

    @property
    def defines_macros(self) -> bool:
        """Git ignores macros in the files of folders below the top."""
        return self.place in (INFO, GLOBAL, Path())


def attribute_files(repository: Repository) -> list[AttributesFile]:
    """All files with attributes for the work tree, that of its top folder first.

    Raises:
        ThetaError: one cannot be read.
    """
    top = repository.work_tree
    listed = repository.paths(*PRESENT, within=[f":(top){FILE}", f":(top)**/{FILE}"])
    names = sorted(listed, key=lambda name: name.count("/"))
    found = [AttributesFile(name, Path(name).parent, attributes.read(top / name)) for name in names]
    info = repository.common_dir / "info" / "attributes"
    found.append(AttributesFile(".git/info/attributes", INFO, attributes.read(info, follow=True)))
    mine = repository.config.get("core.attributesFile") or _usual()
    found.append(AttributesFile(mine, GLOBAL, attributes.read(Path(mine).expanduser(), follow=True)))
    return [file for file in found if file.lines]


def macros(files: Sequence[AttributesFile]) -> Macros:
    """The macros that are defined in these files; a definition nearer to the repository counts."""
    found = dict(BUILT_IN)
    ranks = {GLOBAL: 0, Path(): 1, INFO: 2}
    for file in sorted((f for f in files if f.defines_macros), key=lambda file: ranks[file.place]):
        found |= {line.macro: line.attributes for line in file.lines if line.macro}
    return found


def tracked_patterns(repository: Repository) -> list[tuple[str, str]]:
    """The patterns that git-theta tracks: (pattern, file that says so), that of the top folder first."""
    files = attribute_files(repository)
    known = macros(files)
    return [(line.pattern, file.name) for file in files for line in file.lines if line.tracks(known)]


def _usual() -> str:
    """Where Git looks for a user's attributes unless core.attributesFile says otherwise."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return f"{home}/git/attributes"
