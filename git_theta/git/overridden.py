"""Lines of git-theta in attributes files over which others have the last word, and putting that right."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from git_theta import files
from git_theta.git import attributes
from git_theta.git.attributes import FILE
from git_theta.git.repository import Repository
from git_theta.terminal.showing import printable

_GLOB = re.compile(r"(?<!\\)[*?\[]")


def mend(repository: Repository, folder: Path, patterns: Sequence[str]) -> Iterator[str]:
    """See that the lines of patterns in a folder hold for the files in the index, and say what was done.

    A line further down is answered by another one at the end. What files say that go before this one (in a
    folder below, or .git/info/attributes) is answered there, but only about a file that is named: of those
    that a pattern matches it can be meant as an exception.
    """
    for pattern in dict.fromkeys(attributes.checked(folder, pattern) for pattern in patterns):
        yield from _answer(repository, folder / FILE, pattern, partial(_wrong, repository, folder, pattern))
        left = {path for paths in _wrong(repository, folder, pattern).values() for path in paths}
        for path in sorted(left):
            if not _GLOB.search(pattern):
                yield from _answer_elsewhere(repository, path)


def _answer_elsewhere(repository: Repository, path: str) -> Iterator[str]:
    """Override other attributes for one path, in the nearest attributes file or else in info/attributes."""
    file = repository.work_tree / path
    nearest = next((folder / FILE for folder in file.parents if (folder / FILE).is_file()), None)
    places = [(nearest, file.name)] if nearest is not None else []
    for place, name in (*places, (repository.common_dir / "info" / "attributes", f"/{path}")):
        wrong = partial(attributes.unfit, repository, [path])
        yield from _answer(repository, place, attributes.pattern_of(name), wrong)


def _answer(
    repository: Repository, place: Path, pattern: str, wrong: Callable[[], Mapping[str, object]]
) -> Iterator[str]:
    """Append a line to one attributes file that overrides others; take it back if that does not help."""
    found = wrong()
    if not found:
        return
    before, top = place.read_bytes() if place.is_file() else None, repository.work_tree
    attributes.say(place, pattern, found, top)
    if wrong() != found:
        words = f'Another line said otherwise of "{printable(pattern)}"'
        yield f"{words} ({', '.join(found)}); one in {place} outdoes it"
    elif before is None:
        files.remove(place)
    else:
        attributes.write(place, before, top)


def _wrong(repository: Repository, folder: Path, pattern: str) -> dict[str, list[str]]:
    """The attributes that the line of a pattern does not bring about, and of which files."""
    paths = _matched(repository, folder, pattern)
    if _GLOB.search(pattern):  # files that are tracked no more by a line of their own are meant so
        paths = sorted(attributes.filtered(repository, paths)) or paths
    return attributes.unfit(repository, paths)


def _matched(repository: Repository, folder: Path, pattern: str) -> list[str]:
    """The files in the index that a pattern in a folder matches, from the top."""
    here = str(folder.absolute())
    if "/" in pattern:
        pattern = f"/{attributes.pattern_of(repository.prefix(here))}{pattern.lstrip('/')}"
    listed = repository.git("-C", here, "ls-files", "-z", "--full-name", "-c", "-i", "-x", pattern)
    return [os.fsdecode(name) for name in listed.split(b"\0")[:-1]]
