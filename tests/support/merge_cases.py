"""Diverged histories for the tests of merging."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from git_repo import WITHOUT_HOOKS, GitRepo, digest, safetensors_bytes

Tensors = Mapping[str, np.ndarray]
MODEL = "model.safetensors"


def tensors(**values: float | list[float]) -> dict[str, np.ndarray]:
    """Small float32 tensors with these values."""
    return {name: np.array(value, np.float32).reshape(-1) for name, value in values.items()}


def model(**values: float | list[float]) -> bytes:
    """A safetensors file with such tensors."""
    return safetensors_bytes(tensors(**values))


def counts(**values: int) -> bytes:
    """A safetensors file with integers, which no arithmetic merges."""
    return safetensors_bytes({name: np.array([value], np.int64) for name, value in values.items()})


def bfloat16(values: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """Values that bfloat16 holds exactly, as safetensors_bytes takes them."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return "BF16", values.shape, (bits >> 16).astype("<u2").tobytes()


def diverge(
    repo: GitRepo, base: bytes | None, ours: bytes | None, theirs: bytes | None, name: str = MODEL
) -> None:
    """Commits base (tag `base`), then theirs on the branch `theirs` and ours on main, which is checked out.

    None stands for no file.
    """
    commit(repo, name, base, "base")
    repo.git("tag", "base")
    repo.git(*WITHOUT_HOOKS, "switch", "-q", "-c", "theirs")
    commit(repo, name, theirs, "theirs")
    repo.git(*WITHOUT_HOOKS, "switch", "-q", "main")
    commit(repo, name, ours, "ours")


def commit(repo: GitRepo, name: str, data: bytes | None, message: str) -> str:
    """Commit a file with these contents, or without it. Hooks do not run."""
    if data is None:
        repo.git(*WITHOUT_HOOKS, "rm", "-q", "--ignore-unmatch", name)
    else:
        repo.write(name, data)
    repo.git(*WITHOUT_HOOKS, "add", "--all")
    repo.git(*WITHOUT_HOOKS, "commit", "-q", "--allow-empty", "-m", message)
    return repo.head()


def clean_and_equal(repo: GitRepo, wanted: bytes, name: str = MODEL) -> None:
    """The work tree holds these bytes, and git agrees, also when it cleans the file again."""
    assert repo.digest(name) == digest(wanted)
    blob = repo.head(f"HEAD:{name}")
    (repo.path / name).touch()
    assert repo.status() == []
    repo.git("add", "--renormalize", name)
    assert repo.git("ls-files", "-s", name).stdout.split()[1] == blob
