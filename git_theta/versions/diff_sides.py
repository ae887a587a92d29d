"""What `git theta diff` compares: revisions, the index, the work tree, blobs or files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.terminal.showing import operand
from git_theta.versions.places import Place

_HELP = "git theta diff --help"


@dataclass(frozen=True)
class Side:
    """One side: a tree, the index, the work tree, or one blob or file.

    Attributes:
        label: what the user calls it.
        kind: where paths are looked up.
        name: what git calls a tree.
        place: of a blob or a file.
    """

    label: str
    kind: str
    name: str = ""
    place: Place | None = None


INDEX = Side("index", "index")
WORK_TREE = Side("work tree", "work tree")


@dataclass(frozen=True)
class Sides:
    """What to compare.

    Attributes:
        paths: pathspecs that restrict it.
    """

    old: Side
    new: Side
    paths: tuple[str, ...] = ()


def files(words: Sequence[str]) -> Sides:
    """Two files, wherever they are.

    Raises:
        ThetaError: they are not two, or not there.
    """
    if len(words) != 2:
        raise ThetaError("--no-index compares two files", "git theta diff --no-index OLD NEW")
    old, new = (Side("", "place", place=_file(word)) for word in words)
    return Sides(old, new)


def parse(repository: Repository, words: Sequence[str], paths: Sequence[str] | None, cached: bool) -> Sides:
    """Read the arguments of `git theta diff`, as `git diff` reads its own.

    Args:
        words: what was typed before `--`.
        paths: what was typed after it; None if there was none.

    Raises:
        ThetaError: a word is neither a revision nor a path, or there are too many.
    """
    revisions: list[Side] = []
    known = _objects(repository, words) if words else []
    for number, (word, side) in enumerate(zip(words, known, strict=True)):
        found = [side] if side is not None else _range(repository, word)
        if found:
            revisions += found
            continue
        if paths is not None:
            raise ThetaError(f"{word} is not a revision", _HELP)
        paths = words[number:]
        for path in paths:
            if not Path(path).exists() and not Path(path).is_symlink():
                raise ThetaError(
                    f"{path} is neither a revision nor a path", f"git theta diff -- {operand(path)}"
                )
        break
    trees = [side.name for side in revisions if side.kind == "tree"]
    return _sides(repository, revisions, tuple(repository.pathspecs(paths or (), trees)), cached)


def find_revision(repository: Repository, word: str) -> Side | None:
    """A tree or a blob; None if there is none of that name."""
    return _objects(repository, [word])[0]


def revision(repository: Repository, word: str) -> Side:
    """A tree or a blob.

    Raises:
        ThetaError: there is none of that name.
    """
    found = find_revision(repository, word)
    if found is None:
        raise ThetaError(f"{word} is not a revision", "git log names them")
    return found


def _sides(repository: Repository, revisions: Sequence[Side], paths: tuple[str, ...], cached: bool) -> Sides:
    alone = [side for side in revisions if side.place is not None]
    if alone:
        if len(revisions) == len(alone) == 2 and not paths:
            return Sides(alone[0], alone[1])
        if len(revisions) == len(paths) == 1:
            return Sides(alone[0], Side("work tree", "place", place=_file(paths[0])))
        raise ThetaError(
            "a file of a revision is compared with one other file",
            "git theta diff A:model.pt B:model.pt, or git theta diff A:model.pt model.pt",
        )
    if len(revisions) > (1 if cached else 2):
        compared = "one can be compared with the index" if cached else "two can be compared"
        raise ThetaError(f"{len(revisions)} revisions are given, and {compared}", _HELP)
    if len(revisions) == 2:
        return Sides(revisions[0], revisions[1], paths)
    if cached:
        return Sides(revisions[0] if revisions else _head(repository), INDEX, paths)
    if repository.bare:
        raise ThetaError("a bare repository has no work tree", "name two revisions: git theta diff A B")
    return Sides(revisions[0] if revisions else INDEX, WORK_TREE, paths)


def _range(repository: Repository, word: str) -> list[Side]:
    """The two sides that A..B or A...B names; none if it is neither."""
    if word.startswith("-"):
        raise ThetaError(f"there is no option {word}", _HELP)
    dots = "..." if "..." in word else ".."
    if dots not in word:
        return []
    names = [name or "HEAD" for name in word.split(dots, 1)]
    sides = _objects(repository, names)
    if None in sides:
        return []
    if dots == "...":
        bases = repository.merge_bases(*names)
        if not bases:
            raise ThetaError(
                f"{names[0]} and {names[1]} have no common ancestor", f"git theta diff {' '.join(names)}"
            )
        sides[0] = Side(f"merge base {bases[0][:10]}", "tree", bases[0])
    return [side for side in sides if side is not None]


def _objects(repository: Repository, names: Sequence[str]) -> list[Side | None]:
    """Trees and blobs by name; None for what is neither."""
    asked = "".join(f"{repository.asked(name)}\n" for name in names).encode(errors="surrogateescape")
    answer = repository.git("cat-file", "--batch-check", stdin=asked)
    sides: list[Side | None] = []
    for name, line in zip(names, answer.splitlines(), strict=True):
        fields = line.decode(errors="replace").split(" ")
        if len(fields) != 3 or not fields[2].isdigit():
            sides.append(None)
        elif fields[1] == "blob":
            path = _path_of(name)
            sides.append(Side(name, "place", place=Place(path, "100644", fields[0], label=name)))
        else:
            sides.append(Side(name, "tree", fields[0]))
    return sides


def _path_of(name: str) -> str:
    """The path in REV:PATH, :PATH or :STAGE:PATH; an oid is its own path."""
    before, colon, path = name.partition(":")
    if not colon:
        return name
    return path[2:] if not before and path[:2] in ("0:", "1:", "2:", "3:") else path


def _head(repository: Repository) -> Side:
    """HEAD, or an empty tree before the first commit."""
    found = find_revision(repository, "HEAD")
    if found is not None:
        return found
    return Side("nothing", "tree", repository.empty_tree())


def _file(word: str) -> Place:
    path = Path(word)
    if word == os.devnull:
        return Place("")
    if not path.is_file():
        raise ThetaError(f"{word} is not a file", _HELP)
    return Place(word, "100644", file=path, label="work tree")
