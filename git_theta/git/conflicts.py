"""Conflict records: which tensors of a merged checkpoint somebody still has to decide on.

Git leaves no markers in a checkpoint, so a `git commit -a` would silently take ours. The merge driver
therefore writes down what it left open, and the hooks refuse to commit a manifest that still is what the
driver wrote. A record is void once HEAD has moved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository


@dataclass(frozen=True)
class Conflict:
    """What a merge left open in one file.

    Attributes:
        head: commit that HEAD was on.
        path: of the file, from the top of the work tree.
        base, ours, theirs: oids of the three manifests' blobs; base is "" where there is none.
        ours_name, theirs_name: how the sides are called (a branch, a commit).
        root: of the manifest that the driver wrote.
        tensors: names of the open tensors.
    """

    head: str
    path: str
    base: str
    ours: str
    theirs: str
    ours_name: str
    theirs_name: str
    root: str
    tensors: tuple[str, ...]


def write(repository: Repository, conflict: Conflict) -> None:
    """Write a record down; one for the same path is replaced."""
    file = _file(repository, conflict.path)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(conflict), indent=1))
    temporary.replace(file)


def find(repository: Repository, path: str) -> Conflict | None:
    """The record of a path, if there is one and HEAD has not moved since."""
    found = _read(_file(repository, path))
    if found is None or found.head != _head(repository):
        return None
    return found


def everything(repository: Repository) -> list[Conflict]:
    """All records that are not void, by path."""
    head = _head(repository)
    found = (_read(file) for file in _folder(repository).glob("*.json"))
    return sorted((one for one in found if one is not None and one.head == head), key=lambda one: one.path)


def clear(repository: Repository, path: str) -> None:
    """Forget the record of a path."""
    _file(repository, path).unlink(missing_ok=True)


def still_open(conflict: Conflict, root: str, tensors: Sequence[str]) -> Conflict:
    """The record after some of its tensors were decided."""
    return replace(conflict, root=root, tensors=tuple(tensors))


def refusal(conflict: Conflict) -> ThetaError:
    """The error for committing a file with open tensors."""
    count = len(conflict.tensors)
    shown = ", ".join(conflict.tensors[:3]) + (f" and {count - 3} more" if count > 3 else "")
    return ThetaError(
        f"{conflict.path}: {count} tensors changed on both sides and are not merged yet: {shown}",
        f"git theta resolve {conflict.path} --strategy average (or --ours, or --theirs), then commit",
    )


def _folder(repository: Repository) -> Path:
    return repository.git_dir / "theta" / "conflicts"


def _file(repository: Repository, path: str) -> Path:
    name = sha256(path.encode(errors="surrogateescape")).hexdigest()[:40]
    return _folder(repository) / f"{name}.json"


def _head(repository: Repository) -> str:
    return repository.run("rev-parse", "--verify", "-q", "HEAD").stdout.decode().strip()


def _read(file: Path) -> Conflict | None:
    try:
        record = json.loads(file.read_text())
        return Conflict(**{**record, "tensors": tuple(record["tensors"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, OSError):
        return None  # a damaged record must not keep anybody from committing
