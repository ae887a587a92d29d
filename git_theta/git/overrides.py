"""Which line of which attributes file takes checkpoints away from git-theta.

Git says what attributes a path has, but not which line has said so. So it is asked again in a copy of all
attributes files in which each line sets its own number instead: that of the line which Git heeds comes out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from git_theta.files import replace as write
from git_theta.git import attributes
from git_theta.git.attribute_files import GLOBAL, INFO, AttributesFile, attribute_files, macros
from git_theta.git.attribute_macros import Macros, mentioned, name_of
from git_theta.git.attributes import ATTRIBUTES, FILE, Line
from git_theta.git.plumbing import PRESENT
from git_theta.git.repository import Repository
from git_theta.terminal.showing import operand, printable
from git_theta.terminal.units import listed

_OURS = tuple(map(name_of, ATTRIBUTES))
_TRACKED = "theta-tracks"
_LIKE = re.compile(r"\*\*/|[*?]+|\[[^]]+\]")
_SHOWN = 5


@dataclass
class Override:
    """A line that says otherwise than git-theta's.

    Attributes:
        number: of the line in its file.
        paths: the files that are affected, from the top.
        examples: paths of no file there is, which would be, and the patterns that mean them.
    """

    file: AttributesFile
    number: int
    paths: list[str] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> Line:
        return self.file.lines[self.number - 1]

    def text(self) -> str:
        """The sentence that says which line overrides git-theta, and for which files."""
        said = printable(os.fsdecode(self.line.raw.strip()))
        affected = (
            listed(self.paths, _SHOWN) if self.paths else f"files like {printable(next(iter(self.examples)))}"
        )
        return (
            f'line {self.number} of {printable(self.file.name)}, "{said}", overrides git-theta for {affected}'
        )

    def remedy(self) -> str:
        """What to type to track these files all the same."""
        if not isinstance(self.file.place, Path):
            name = self.file.name
            return f"sed -i.old {self.number}d {name if name.startswith('~') else operand(name)}"
        folder = self.file.place
        names = [str(Path(path).relative_to(folder)) for path in self.paths]
        names = names or list(dict.fromkeys(self.examples.values()))
        where = f"-C {operand(str(folder))} " if folder != Path() else ""
        return f"git {where}theta track {' '.join(map(operand, names))}"


def overrides(repository: Repository, paths: Sequence[str]) -> list[Override]:
    """The lines by which files are not as git-theta's patterns say, in no order.

    Args:
        paths: the files, from the top.

    Raises:
        ThetaError: an attributes file cannot be read.
    """
    sources = attribute_files(repository)
    known = macros(sources)
    lines = [(file, number) for file in sources for number in range(1, len(file.lines) + 1)]
    if not any(line.tracks(known) for file in sources for line in file.lines):
        return []
    examples = dict(_examples(sources, known))
    wrong = _wrong(repository, [*paths, *(examples.keys() - set(paths))])
    found: dict[int, Override] = {}
    for path, number in _deciding(repository, sources, known, wrong):
        override = found.setdefault(number, Override(*lines[number]))
        if path in examples:
            override.examples[path] = examples[path]
        else:
            override.paths.append(path)
    return list(found.values())


def files(repository: Repository) -> list[str]:
    """The files of the work tree and the index, but for those that Git ignores."""
    return repository.paths(*PRESENT)


def _wrong(repository: Repository, paths: Sequence[str]) -> dict[str, str]:
    """The first attribute of these paths that is not as git-theta needs it."""
    found: dict[str, str] = {}
    unfit = attributes.unfit(repository, paths)
    for attribute in _OURS:
        for path in unfit.get(attribute, ()):
            found.setdefault(path, attribute)
    return found


def _examples(files: Sequence[AttributesFile], known: Macros) -> Iterator[tuple[str, str]]:
    """For each folder with attributes of its own, paths that git-theta's patterns mean, and the pattern."""
    patterns = {line.pattern for file in files for line in file.lines if line.tracks(known)}
    for file in files:
        folder = file.place if isinstance(file.place, Path) else Path()
        for pattern in patterns:
            if "/" not in pattern:
                yield str(folder / _LIKE.sub("example", pattern)), pattern


def _deciding(
    repository: Repository, files: Sequence[AttributesFile], known: Macros, wrong: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    """The paths that some pattern of git-theta's means, and the number of the line that decides otherwise."""
    if not wrong:
        return
    with TemporaryDirectory(prefix="git-theta-") as folder:
        copy = _copy(repository, files, known, Path(folder))
        meant = {path for path, value in attributes.values(copy, _TRACKED, wrong) if value == "set"}
        for attribute in _OURS:
            some = [path for path, about in wrong.items() if about == attribute and path in meant]
            for path, value in attributes.values(copy, f"theta-{attribute}", some):
                if value.isdigit():
                    yield path, int(value)


def _copy(repository: Repository, files: Sequence[AttributesFile], known: Macros, folder: Path) -> Repository:
    """A repository with nothing but attributes: each line says its number, counted over all files."""
    copy = Repository.new(folder)
    places = {INFO: copy.git_dir / "info" / "attributes", GLOBAL: copy.git_dir / "global"}
    case = repository.config.get("core.ignoreCase", "false")
    copy.git("config", "core.attributesFile", str(places[GLOBAL].absolute()))
    copy.git("config", "core.ignoreCase", case)
    number = 0
    for file in files:
        target = folder / file.place / FILE if isinstance(file.place, Path) else places[str(file.place)]
        rows = []
        for line in file.lines:
            about = sorted(mentioned(line.attributes, known) & set(_OURS)) if line.pattern else []
            words = [f"theta-{attribute}={number}" for attribute in about]
            words += [_TRACKED] if line.tracks(known) else []
            rows.append(attributes.line(line.pattern, words) if words else b"")
            number += 1
        write(target, b"\n".join(rows) + b"\n")
    return copy
