"""Real repositories for end-to-end tests, and small checkpoints to put in them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np

WITHOUT_HOOKS = ("-c", "core.hooksPath=/dev/null")
"""Options of git for what comes before a test's subject: hooks take longer than all the rest."""

_SECONDS = count(int(time.time()) - 40_000)
_NAMES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


class GitRepo:
    """A folder in which git runs. `path` is the work tree, or the bare repository."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(
        self, *command: str, check: bool = True, stdin: bytes | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here; its output as text (undecodable bytes replaced)."""
        done = subprocess.run(
            command, cwd=self.path, env=os.environ | environment, input=stdin, capture_output=True
        )
        output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{output}\n{errors}")
        return subprocess.CompletedProcess(command, done.returncode, output, errors)

    def git(
        self, *arguments: str, check: bool = True, stdin: bytes | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run git here."""
        return self.run("git", *arguments, check=check, stdin=stdin, **environment)

    def theta(
        self, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run git theta here."""
        return self.run("git", "theta", *arguments, check=check, **environment)

    def refused(self, *command: str, **environment: str) -> str:
        """All that a command says that has to fail, and not as a bug."""
        done = self.run(*command, check=False, **environment)
        said = done.stdout + done.stderr
        assert done.returncode, f"{' '.join(command)} ended well:\n{said}"
        assert "Traceback" not in said
        assert "did not expect" not in said
        return said

    def commit(self, message: str = "commit", *paths: str) -> str:
        """Add these paths (everything, unless given), commit, and return the commit's oid.

        Without hooks: tests that are about them say `git commit`.
        """
        self.git(*WITHOUT_HOOKS, "add", *(paths or ["--all"]))
        return self.commit_index(message)

    def commit_index(self, message: str = "commit") -> str:
        """Commit what is staged, without hooks, and return the commit's oid."""
        self.git(*WITHOUT_HOOKS, "commit", "-q", "-m", message)
        return self.head()

    def commit_as_it_is(self, data: bytes, path: str = "model.safetensors") -> str:
        """Stage and commit a blob as it is, and return the commit's oid."""
        self.stage(data, path)
        return self.commit_index("as it is")

    def stage(self, data: bytes, path: str = "model.safetensors") -> str:
        """Stage a blob as it is, as where git-theta is not installed, and return its oid."""
        oid = self.hash_object(data)
        self.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{path}")
        return oid

    def hash_object(self, data: bytes) -> str:
        """The oid of a blob that has been written as it is, without a filter."""
        return self.git("hash-object", "-w", "--stdin", stdin=data).stdout.strip()

    def head(self, revision: str = "HEAD") -> str:
        return self.git("rev-parse", revision).stdout.strip()

    def blob(self, name: str) -> bytes:
        """What git has stored under a name like HEAD:model.safetensors."""
        return subprocess.run(
            ["git", "cat-file", "blob", name], cwd=self.path, capture_output=True, check=True
        ).stdout

    def write(self, name: str, data: bytes | str) -> Path:
        """Write a file, which is older than the index will be, and of another second than any other.

        Git takes a file that is as young as its index for one that may have changed since, and commit and
        checkout have our filter read it again: whether a test waits for that would depend on the clock.
        """
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        written = next(_SECONDS)
        os.utime(path, (written, written))
        return path

    def digest(self, name: str) -> str:
        """The SHA-256 of a file of the work tree."""
        return digest((self.path / name).read_bytes())

    def objects(self) -> list[Path]:
        """The stored objects of this repository."""
        folder = self.git("rev-parse", "--git-common-dir").stdout.strip()
        return sorted((self.path / folder / "theta" / "objects").glob("??/??/*"))

    def staged(self) -> list[str]:
        """The paths that are not in the index as in HEAD."""
        return self.git("diff", "--cached", "--name-only", "-z").stdout.split("\0")[:-1]

    def status(self) -> list[str]:
        """The lines of git status --short."""
        return self.git("status", "--short").stdout.splitlines()

    def follow(self, said: str, words: str) -> None:
        """Run the commands that stand behind these words in a message, as they stand there."""
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {words}")]
        self.run("sh", "-e", "-c", line.partition(": ")[2])

    def remedy(
        self,
        said: str,
        command: str,
        check: bool = True,
        put: Mapping[str, str] | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Type a command here that a message tells the user to type, as it stands in the message.

        tests/e2e/remedies finds the commands that no test has typed by the literals given here.

        Args:
            put: what the user puts in place of words such as NAME.
        """
        does(said, command)
        for word, value in (put or {}).items():
            assert word in command
            command = command.replace(word, value)
        return self.run("sh", "-e", "-c", command, check=check, **environment)

    def add_remote(self, name: str) -> GitRepo:
        """A new bare repository beside this one, set up as its remote."""
        bare = GitRepo(self.path.parent / f"{name}.git")
        bare.path.mkdir()
        bare.git("init", "-q", "--bare")
        self.git("remote", "add", name, str(bare.path))
        return bare

    def clone(self, name: str, *options: str, source: str = "") -> GitRepo:
        """A clone of this repository (or of a url), beside it."""
        target = self.path.parent / name
        self.git("clone", "-q", *options, source or str(self.path), str(target))
        return GitRepo(target)


Once = Callable[[Callable[[GitRepo], object]], GitRepo]
"""Of the fixture `once`, which calls a function for a repository, or copies what that has once made."""


def does(said: str, words: str) -> None:
    """Check that a message advises what a test does next by hand, for it is no command: with these words.

    tests/e2e/remedies finds the advice that no test has followed by the literals given here.
    """
    assert words in said, f"no remedy {words!r} in:\n{said}"


def safetensors_bytes(
    tensors: Mapping[str, np.ndarray | tuple[str, tuple[int, ...], bytes]],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A safetensors file. Tensors are arrays, or (dtype, shape, bytes) for what NumPy has no type for."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = bytearray()
    for name, value in tensors.items():
        if isinstance(value, (np.ndarray, np.generic)):
            value = _NAMES[value.dtype.name], value.shape, np.ascontiguousarray(value).tobytes()
        kind, shape, raw = value
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data)


def weights(seed: int = 0, count: int = 4, shape: tuple[int, ...] = (160, 128)) -> dict[str, np.ndarray]:
    """Tensors of a model: `layer.N.weight`, and one small `bias`."""
    random = np.random.default_rng(seed)
    found = {
        f"layer.{number}.weight": (random.standard_normal(shape) * 0.02).astype("float32")
        for number in range(count)
    }
    return found | {"bias": random.standard_normal(16).astype("float32")}


def changed(tensors: Mapping[str, np.ndarray], *names: str, seed: int = 1) -> dict[str, np.ndarray]:
    """The same tensors, but those that are named (all, unless any is) moved a little, as by fine-tuning."""
    random = np.random.default_rng(seed)
    return {
        name: value + (0.001 * random.standard_normal(value.shape)).astype(value.dtype)
        if name in names or not names
        else value
        for name, value in tensors.items()
    }


def version(number: int) -> bytes:
    """The versions of `history`'s model: 0 has the tensors of weights(0); in 1, layer.1.weight is another."""
    return safetensors_bytes(changed(weights(0), "layer.1.weight") if number else weights(0))


def digest(data: bytes) -> str:
    """The SHA-256 of bytes."""
    return sha256(data).hexdigest()
