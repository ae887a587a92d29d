"""What is written down about single files until HEAD moves: a small JSON file for each, below theta/.

A record has a checksum. One that is damaged says nothing, not even whether it still counts: it stays, so that
those whom it concerns can refuse to go on, until its file gets another one, or the user removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from git_theta import files
from git_theta.git.repository import Repository
from git_theta.regular import read_regular
from git_theta.seals import fields_of, opened, sealed


class Record(Protocol):
    """A frozen dataclass.

    Attributes:
        head: the commit that HEAD is on while the record counts; "" before the first one.
        path: of the file, from the top of the work tree.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def head(self) -> str: ...

    @property
    def path(self) -> str: ...


AnyRecord = TypeVar("AnyRecord", bound=Record)


class Records(Generic[AnyRecord]):
    """The records of one kind.

    Args:
        kind: the name of their folder.
        read: makes a record from its fields, lists as tuples; raises TypeError for others.
    """

    def __init__(self, kind: str, read: type[AnyRecord]) -> None:
        self._kind = kind
        self._read_fields = read

    def write(self, repository: Repository, record: AnyRecord) -> None:
        """Write a record down; one for the same path is replaced, and those that are void are removed."""
        text = sealed(asdict(record)).encode()
        files.replace(self._file(repository, record.path), text, sync=True)
        for file, old in self._all(repository):
            if old is not None and old.head != record.head:
                files.remove(file)

    def find(self, repository: Repository, path: str) -> AnyRecord | None:
        """The record of a path, if there is one and HEAD has not moved since."""
        found = self._read(self._file(repository, path))
        return found if found and found.path == path and found.head == repository.head else None

    def everything(self, repository: Repository) -> list[AnyRecord]:
        """All records since HEAD has moved, by path."""
        found = [record for _, record in self._all(repository) if record is not None]
        current = repository.head if found else ""
        return sorted((one for one in found if one.head == current), key=lambda one: one.path)

    def damaged(self, repository: Repository, paths: Callable[[], Iterable[str]]) -> dict[str, Path]:
        """Those of these paths that have a record which is damaged, and its file.

        Args:
            paths: asked for only if some record is.
        """
        unread = {file for file, record in self._all(repository) if record is None}
        named = {path: self._file(repository, path) for path in paths()} if unread else {}
        return {path: file for path, file in named.items() if file in unread}

    def clear(self, repository: Repository, path: str) -> None:
        """Forget the record of a path."""
        files.remove(self._file(repository, path))

    def _all(self, repository: Repository) -> Iterator[tuple[Path, AnyRecord | None]]:
        for file in self._folder(repository).glob("*.json"):
            yield file, self._read(file)

    def _read(self, file: Path) -> AnyRecord | None:
        """A record; None if there is none, or it is damaged."""
        try:
            text = read_regular(file)
            # Those that older versions have written have no checksum, which is no field of ours.
            fields = opened(text) or fields_of(text) or {}
            return self._read_fields(**{key: _tupled(value) for key, value in fields.items()})
        except (TypeError, OSError):
            return None

    def _folder(self, repository: Repository) -> Path:
        return repository.git_dir / "theta" / self._kind

    def _file(self, repository: Repository, path: str) -> Path:
        name = sha256(path.encode(errors="surrogateescape")).hexdigest()[:40]
        return self._folder(repository) / f"{name}.json"


def forget_void(repository: Repository) -> None:
    """Remove the records of all kinds that HEAD has moved away from. What is damaged stays, to be seen."""
    found = list((repository.git_dir / "theta").glob("*/*.json"))
    current = repository.head if found else ""
    for file in found:
        try:
            fields = opened(read_regular(file))
        except OSError:
            continue
        if fields is not None and fields.get("head") != current:
            files.remove(file)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
