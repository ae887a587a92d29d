"""Harm that comes to the objects of a repository, and what can be had again."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from git_repo import GitRepo

from git_theta import manifest

MODEL = "model.safetensors"
_CLONES = count()


def object_of(repo: GitRepo, revision: str, tensor: str) -> Path:
    """The object that holds a tensor."""
    stored = manifest.parse(repo.blob(f"{revision}:{MODEL}"))
    line = stored.tensor(tensor)
    assert line is not None
    oid = stored.storage[line.digest].oid
    return next(path for path in repo.objects() if path.name == oid)


def flip(path: Path, position: int) -> None:
    """Change a bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def drop_objects(repo: GitRepo) -> None:
    """Remove all objects of a repository."""
    for path in repo.objects():
        path.unlink()


def restorable(bare: GitRepo, *revisions: str) -> list[bytes]:
    """What a fresh clone checks out, without anything from where it was pushed."""
    clone = bare.clone(f"fresh clone {next(_CLONES)}", "--no-checkout")
    found = []
    for revision in revisions:
        clone.git("checkout", "-q", revision)
        found.append((clone.path / MODEL).read_bytes())
    return found
