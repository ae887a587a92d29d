"""Updates that `git theta add --apply` has written into a file that is not staged yet.

Typed again after a kill, the command must not apply the same update to the result of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from blake3 import blake3

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.merging.records import Records
from git_theta.terminal.showing import operand, printable, word

_PIECE = 1 << 20


@dataclass(frozen=True)
class _Applied:
    """A file that holds the result of an update.

    Attributes:
        head: commit that HEAD is on until then.
        path: of the file, from the top of the work tree.
        update: what was applied, as `name_of` has it.
        result: digest of the file.
    """

    head: str
    path: str
    update: str
    result: str


_records = Records("applied", _Applied)


def name_of(given: Sequence[Path], scale: float) -> str:
    """What tells an update from others, which is in these files, as far as they are there."""
    digests = []
    for path in given:
        with suppress(FileNotFoundError), path.open("rb") as file:
            digests.append(_digest(file))
    return " ".join([*digests, repr(scale)])


def note(repository: Repository, path: str, update: str, result: IO[bytes]) -> None:
    """Write down what the file of a path is about to be."""
    _records.write(repository, _Applied(repository.head, path, update, _digest(result)))


def is_applied(repository: Repository, path: str, update: str, file: IO[bytes]) -> bool:
    """Whether the file of a path is the result of this update already.

    Raises:
        ThetaError: that cannot be told, for what was written down is damaged.
    """
    if damaged := _records.damaged(repository, lambda: [path]).get(path):
        raise ThetaError(
            f"{printable(path)}: the record of what was applied to it is damaged: this may have been already",
            f"to have the file as it was: git checkout -- {operand(path)}; then: rm -f {word(str(damaged))}",
        )
    found = _records.find(repository, path)
    return found is not None and found.update == update and found.result == _digest(file)


def forget(repository: Repository, path: str) -> None:
    """Note that a file is staged: from now on, the same update can be meant to be applied once more."""
    _records.clear(repository, path)


def _digest(file: IO[bytes]) -> str:
    found = blake3()
    file.seek(0)
    while piece := file.read(_PIECE):
        found.update(piece)
    return found.hexdigest()
