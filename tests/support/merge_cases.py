"""Diverged histories for the tests of merging."""

from __future__ import annotations

import json
import struct
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


BASE = model(a=1, b=2, c=3, d=4)
OURS = model(a=10, b=20, c=3, d=40)
THEIRS = model(a=30, b=40, c=50, d=4)
MERGED = model(a=10, b=20, c=50, d=40)
AVERAGE = model(a=20, b=30, c=50, d=40)
MEAN = model(a=20, b=30, c=26.5, d=22)  # of all tensors, as a strategy that is typed gives it
BOTH = model(a=10, b=20, c=3)  # of the fixture `disjoint`
COUNTS = counts(a=1, b=2), counts(a=10, b=2), counts(a=30, b=4)
"""Integers of base, ours and theirs: no change is applied to those that both have changed."""


def tensors_of(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, floats of NumPy's or int64."""
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, stop = (8 + length + offset for offset in about["data_offsets"])
            kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I64": "<i8"}[about["dtype"]]
            found[name] = np.frombuffer(data[start:stop], kind).reshape(about["shape"])
    return found


def written(repo: GitRepo, name: str = MODEL) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file of the work tree."""
    return tensors_of((repo.path / name).read_bytes())


def has(repo: GitRepo, wanted: Mapping[str, object], name: str = MODEL) -> None:
    """The file has just these tensors, bit for bit."""
    found = written(repo, name)
    assert found.keys() == wanted.keys()
    for tensor, value in wanted.items():
        np.testing.assert_array_equal(found[tensor], np.asarray(value).reshape(-1), err_msg=tensor)


def clean_and_equal(repo: GitRepo, wanted: bytes, name: str = MODEL) -> None:
    """The work tree holds these bytes, and git agrees, also when it cleans the file again."""
    assert repo.digest(name) == digest(wanted)
    blob = repo.head(f"HEAD:{name}")
    (repo.path / name).touch()
    assert repo.status() == []
    repo.git("add", "--renormalize", name)
    assert repo.git("ls-files", "-s", name).stdout.split()[1] == blob


def answer(repo: GitRepo, *lines: str) -> tuple[int, str]:
    """Answer what git theta mergetool asks; its exit code and what it says."""
    repo.write(".git/answers", "\n".join(lines))
    done = repo.theta("mergetool", "--answers", ".git/answers", check=False)
    return done.returncode, done.stdout + done.stderr
