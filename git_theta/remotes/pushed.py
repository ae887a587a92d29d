"""What was pushed, as far as this repository has seen it: git keeps no trace of a push by url.

`theta/pushed` has a line for each oid that a push was about to bring somewhere, with a checksum (older ones
have none). Nothing is concluded from it but that such a commit must not be rewritten.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from git_theta import files
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.regular import read_regular

_LINE = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})( [0-9a-f]{16})?")


def record(repository: Repository, tips: Sequence[str]) -> str:
    """Remember what is pushed, before it is. Returns a line for the user where that could not be done."""
    known = set(pushed(repository))
    lines = "".join(f"{oid}{_checksum(oid)}\n" for oid in tips if oid not in known)
    try:
        if lines:
            files.append(_file(repository), lines.encode())
    except ThetaError as error:
        return f"cannot note what was pushed ({error.message}), which git theta repack must not rewrite"
    return ""


def pushed(repository: Repository) -> list[str]:
    """The oids that pushes have brought somewhere, or were about to; some may be gone by now."""
    return [oid for oid in _oids(repository) if oid]


def check(repository: Repository) -> None:
    """Raises ThetaError if something was pushed of which it is not known any more what it was."""
    damaged = [number for number, oid in enumerate(_oids(repository), 1) if not oid]
    if damaged:
        file = _file(repository)
        where = f"line{'s' if damaged[1:] else ''} {', '.join(map(str, damaged))}"
        lines = ";".join(f"{number}d" for number in damaged)
        raise ThetaError(
            f"the record of what was pushed is damaged ({file}, {where}), so it is not known what must stay",
            f"if nobody else has the commits here: sed -i.old {shlex.quote(lines)} "
            f"{shlex.quote(str(file.absolute()))}",
        )


def _oids(repository: Repository) -> Iterator[str]:
    """The oid of each line, "" for those that are damaged."""
    with suppress(OSError):
        lines = read_regular(_file(repository)).decode(errors="replace").split("\n")
        for line in lines if lines[-1] else lines[:-1]:
            match = _LINE.fullmatch(line)
            yield match[1] if match and match[2] in (None, _checksum(match[1])) else ""


def _checksum(oid: str) -> str:
    return f" {blake3(oid.encode()).hexdigest(8)}"


def _file(repository: Repository) -> Path:
    return repository.theta / "pushed"
