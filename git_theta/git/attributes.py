"""`.gitattributes`: which files git-theta tracks."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_theta import files
from git_theta.errors import ThetaError
from git_theta.git.attribute_macros import BUILT_IN, Macros, effective, expanded
from git_theta.git.repository import Repository
from git_theta.regular import read_regular
from git_theta.terminal.showing import printable, word

ATTRIBUTES = ("filter=theta", "diff=theta", "merge=theta", "-text")
FILE = ".gitattributes"
_MACRO = b"[attr]"
FILES = (f":(top){FILE}", f":(top,glob)**/{FILE}")
"""Pathspecs of all attributes files."""
_NO_VALUE = ("unspecified", "unset", "set", "")
NEEDED = {
    "filter": ("theta",),
    "diff": ("theta",),
    "merge": ("theta",),
    "text": ("unset",),
    "working-tree-encoding": ("unspecified",),
    "ident": ("unset", "unspecified"),
}
"""The values of attributes that git-theta needs: with others, Git changes manifests, or leaves them alone."""
_WORDS = {
    "filter": "filter=theta",
    "diff": "diff=theta",
    "merge": "merge=theta",
    "text": "-text",
    "working-tree-encoding": "!working-tree-encoding",  # Git dies of -working-tree-encoding
    "ident": "-ident",
}
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_LETTERS = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13}


@dataclass(frozen=True)
class Line:
    """A line of an attributes file: its own bytes, the pattern or the macro it defines, the attributes."""

    raw: bytes
    pattern: str = ""
    attributes: tuple[str, ...] = ()
    macro: str = ""

    def tracks(self, macros: Macros) -> bool:
        """Whether its pattern is one of git-theta's."""
        return bool(self.pattern) and effective(self.attributes, macros).get("filter") == ATTRIBUTES[0]


def parse(text: bytes) -> list[Line]:
    """The lines of an attributes file; comments and blank lines have neither pattern nor macro."""
    return [_parse_line(raw) for raw in text.splitlines(keepends=True)]


def read(path: Path, follow: bool = False) -> list[Line]:
    """The lines of an attributes file; none where there is no such file.

    Args:
        follow: whether a link is followed. Git does that outside of work trees only.

    Raises:
        ThetaError: it cannot be read.
    """
    return parse(_read(path, follow))


def track(
    folder: Path, patterns: Sequence[str], dry_run: bool = False, macros: Macros = BUILT_IN
) -> list[str]:
    """Add lines to the attributes file of a folder.

    Args:
        macros: those that hold there.

    Returns:
        The patterns that were not tracked before.

    Raises:
        ThetaError: a pattern makes no sense there, or the file cannot be written.
    """
    path = folder / FILE
    files.refuse_link(path)
    text = _read(path)
    last: dict[str, dict[str, str]] = {}
    for one in parse(text):
        if one.pattern:
            last.setdefault(one.pattern, {}).update(effective(one.attributes, macros))
    new = []
    for pattern in dict.fromkeys(checked(folder, pattern) for pattern in patterns):
        if not set(ATTRIBUTES) <= set(last.get(pattern, {}).values()):
            new.append(pattern)
    if new and not dry_run:
        _append(path, text, [line(pattern, ATTRIBUTES) for pattern in new])
    return new


def say(path: Path, pattern: str, attributes: Iterable[str], top: Path) -> None:
    """Add a line that gives the files of a pattern the attributes that git-theta needs.

    The line becomes the last one of an attributes file, so that no other of that file has the last word.

    Args:
        top: of the work tree.
    """
    _append(path, _read(path), [line(pattern, [_WORDS[attribute] for attribute in attributes])], top)


def untrack(
    folder: Path, patterns: Sequence[str], dry_run: bool = False, macros: Macros = BUILT_IN
) -> list[str]:
    """Take git-theta's attributes out of the attributes file of a folder; what else a line says stays.

    In place of a macro that has some of them stands what else it stands for.

    Args:
        macros: those that hold there.

    Returns:
        The patterns that were tracked there before.
    """
    path = folder / FILE
    unwanted = {checked(folder, pattern) for pattern in patterns}
    unwanted |= set(patterns)  # a file whose name is like a pattern does not hide that
    found, kept = [], []
    for one in read(path):
        if one.pattern not in unwanted or not one.tracks(macros):
            kept.append(one.raw)
            continue
        found.append(one.pattern)
        others = [other for attribute in one.attributes for other in _without_ours(attribute, macros)]
        if others:
            kept.append(line(one.pattern, others) + b"\n")
    if found and not dry_run:
        if kept:
            write(path, b"".join(kept))
        else:
            files.remove(path)
    return found


def filtered(repository: Repository, paths: Iterable[str], cached: bool = False) -> set[str]:
    """Those of the paths (from the top) that have filter=theta.

    Args:
        cached: ask the attributes in the index, not those in the work tree.
    """
    return {path for path, value in values(repository, "filter", paths, cached) if value == "theta"}


def encoding(repository: Repository, path: str) -> str:
    """The encoding that Git takes a path (from the top) to have in the work tree; "" for UTF-8."""
    [(_, value)] = values(repository, "working-tree-encoding", [path])
    return "" if value in _NO_VALUE or value.lower().replace("-", "") == "utf8" else value


def values(
    repository: Repository, attribute: str, paths: Iterable[str], cached: bool = False
) -> list[tuple[str, str]]:
    """The value of an attribute for each path (from the top): "set", "unset", "unspecified" or a text."""
    names = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not names:
        return []
    top = () if repository.bare else ("-C", str(repository.work_tree.absolute()))
    source = ("--cached",) if cached else ()
    answer = repository.git(*top, "check-attr", *source, "-z", "--stdin", attribute, stdin=names).split(b"\0")
    found = zip(answer[::3], answer[2::3], strict=False)
    return [(os.fsdecode(path), os.fsdecode(value)) for path, value in found]


def unfit(repository: Repository, paths: Sequence[str]) -> dict[str, list[str]]:
    """The attributes that do not have a value that git-theta needs, with the paths (from the top)."""
    found = {}
    for attribute, good in NEEDED.items():
        wrong = [path for path, value in values(repository, attribute, paths) if value not in good]
        if wrong:
            found[attribute] = wrong
    return found


def pattern_of(path: str) -> str:
    """The pattern for a path that is no pattern."""
    return re.sub(r"[*?\[\\]|\A!", lambda found: "\\" + found.group(), path)


def checked(folder: Path, pattern: str) -> str:
    """Check a pattern that a user has typed, and make it one for the attributes file of a folder.

    Raises:
        ThetaError: it makes no sense there.
    """
    if Path(pattern).is_absolute():
        here = f"{folder.absolute()}{os.sep}"
        if not pattern.startswith(here):
            raise ThetaError(
                f"{printable(pattern)} is not in this folder", "type the command in the folder of the file"
            )
        pattern = pattern.removeprefix(here)
    pattern = re.sub(r"\A(\./+)+", "", pattern)
    there = _is_there(folder, pattern)
    if not pattern or "\0" in pattern or ("\n" in pattern and not there):
        raise ThetaError(f"{pattern!r} is no pattern", 'a pattern is like "*.safetensors"')
    if there and not (folder / pattern).is_dir():
        return pattern_of(pattern)
    if pattern.startswith("!") and not there:
        untrack = f"git theta untrack {word(pattern[1:])}"
        raise ThetaError(f"git has no negative patterns like {printable(pattern)}", untrack)
    if pattern.split("/")[0] == "..":
        raise ThetaError(
            f"{printable(pattern)} is not in this folder", "type the command in the folder of the file"
        )
    if pattern.endswith("/") or (folder / pattern).is_dir():
        name = pattern.rstrip("/")
        return (pattern_of(name) if there else name) + "/**"  # git does not look into folders by itself
    return pattern


def _is_there(folder: Path, name: str) -> bool:
    """Whether a folder has a file of that name, or a folder."""
    if not name or "\0" in name or ".." in Path(name).parts:
        return False
    try:
        return os.path.lexists(folder / name)
    except OSError:
        return False  # no name of any file


def _without_ours(word: str, macros: Macros) -> list[str]:
    """A word of a line, without what git-theta has there."""
    means = list(expanded([word], macros))
    if not set(ATTRIBUTES) & set(means):
        return [word]
    return [one for one in means if one not in ATTRIBUTES and one not in macros]


def _append(path: Path, text: bytes, lines: Sequence[bytes], top: Path | None = None) -> None:
    newline = b"\r\n" if b"\r\n" in text else b"\n"
    if text and not text.endswith(b"\n"):
        text += newline
    write(path, text + b"".join(line + newline for line in lines), top)


def line(pattern: str, words: Iterable[str]) -> bytes:
    """A line of an attributes file, without its end."""
    return b" ".join([_quote(pattern), *map(os.fsencode, words)])


def _quote(pattern: str) -> bytes:
    """A pattern as gitattributes(5) wants it: in C style where it would be misread otherwise."""
    raw = os.fsencode(pattern)
    if not re.search(rb'[\x00-\x20\x7f]|\A["#]|\A\[attr\]', raw):
        return raw
    escaped = re.sub(rb'["\\]', lambda found: b"\\" + found.group(), raw)
    return b'"' + re.sub(rb"[\x00-\x1f\x7f]", lambda found: b"\\%03o" % found.group()[0], escaped) + b'"'


def _parse_line(raw: bytes) -> Line:
    text = raw.strip()
    if text.startswith(_MACRO):
        name, *words = map(os.fsdecode, text.removeprefix(_MACRO).split() or [b""])
        return Line(raw, attributes=tuple(words), macro=name)
    if not text or text.startswith(b"#"):
        return Line(raw)
    quoted = _QUOTED.match(text)
    if quoted:
        pattern, rest = _ESCAPE.sub(_unescape, quoted.group(1)), text[quoted.end() :]
    else:
        pattern, *others = text.split(None, 1)
        rest = b"".join(others)
    return Line(raw, os.fsdecode(pattern), tuple(map(os.fsdecode, rest.split())))


def _unescape(found: re.Match[bytes]) -> bytes:
    what = found.group(1)
    if len(what) == 3:
        return bytes([int(what, 8) & 255])
    return bytes([_LETTERS[what]]) if what in _LETTERS else what


def _read(path: Path, follow: bool = False) -> bytes:
    try:
        return read_regular(path, follow)
    except FileNotFoundError:
        return b""
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            return b""
        raise ThetaError(
            f"cannot read {printable(str(path))}: {error.strerror}", "mend its permissions"
        ) from None


def write(path: Path, text: bytes, top: Path | None = None) -> None:
    """Write an attributes file. Git heeds none that is a link.

    Args:
        top: of the work tree, where the file is not in the current folder.

    Raises:
        ThetaError: it is a link, or cannot be written.
    """
    files.refuse_link(path)
    files.replace(path, text, top=top)
