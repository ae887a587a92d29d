"""Makes a golden repository: one whose manifests, objects and index are of today's format.

    python tests/e2e/golden/make.py tests/e2e/golden/version-1.tar.gz

Run once for each version of the format, with the program that writes it. What it has made is kept, and
test_golden.py reads it with each later program. The history has each kind of update, both formats that the
program knows, views, a file of no known format, a merge, and a remote that is a folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

ENVIRONMENT = {
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": "golden@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}
MODEL = "model.safetensors"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def base(random: np.random.Generator) -> dict[str, torch.Tensor]:
    tensors = {
        "embed.weight": random.normal(size=(96, 48)),
        "layer.attention.weight": random.normal(size=(128, 128)),
        "layer.mlp.weight": random.normal(size=(160, 96)),
        "layer.norm.weight": np.ones(96),
        "layer.bias": np.zeros(3),
        "scalar": random.normal(size=()),
        "empty": np.zeros((0, 4)),
    }
    found = {
        name: torch.from_numpy(np.asarray(one * 0.02)).to(torch.bfloat16) for name, one in tensors.items()
    }
    return found | {
        "ids": torch.arange(7),
        "mask": torch.tensor([True, False]),
        "wide": torch.ones(5).double(),
    }


def moved(tensor: torch.Tensor, by: np.ndarray) -> torch.Tensor:
    return (tensor.float() + torch.from_numpy(by.astype(np.float32))).to(tensor.dtype)


class History:
    """Commits, and the digest of each file in each of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = np.random.default_rng(1)
        self.files: dict[str, dict[str, str]] = {}

    def commit(self, message: str) -> None:
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "-q", "-m", message)
        self.note()

    def note(self) -> None:
        tracked = [path for path in git(self.folder, "ls-files").split() if not path.startswith(".")]
        digests = {path: hashlib.sha256((self.folder / path).read_bytes()).hexdigest() for path in tracked}
        self.files[git(self.folder, "rev-parse", "HEAD").strip()] = digests

    def save(self, tensors: dict[str, torch.Tensor], name: str = MODEL) -> None:
        save_file(tensors, self.folder / name, metadata={"format": "pt"})

    def make(self) -> None:
        tensors = base(self.random)
        self.save(tensors)
        self.commit("dense")
        attention, mlp = tensors["layer.attention.weight"], tensors["layer.mlp.weight"]

        left, right = self.random.normal(size=(128, 4)), self.random.normal(size=(4, 128))
        tensors["layer.attention.weight"] = moved(attention, left @ right * 0.002)
        self.save(tensors)
        self.commit("low-rank")

        tensors["layer.mlp.weight"] = moved(mlp, self.random.normal(size=(160, 96)) * 0.0005)
        self.save(tensors)
        self.commit("delta")

        sparse = np.zeros((160, 96))
        sparse[self.random.integers(0, 160, 60), self.random.integers(0, 96, 60)] = 0.01
        tensors["layer.mlp.weight"] = moved(tensors["layer.mlp.weight"], sparse)
        self.save(tensors)
        self.commit("sparse")

        vector = torch.from_numpy(1 + 0.1 * self.random.normal(size=128).astype(np.float32))
        tensors["layer.attention.weight"] = (tensors["layer.attention.weight"].float() * vector).to(
            torch.bfloat16
        )
        tensors["embed.weight"] = torch.cat([tensors["embed.weight"][:40], tensors["embed.weight"][44:]])
        self.save(tensors)
        self.commit("scale and rows")

        self.save(
            {name: one.to(torch.float16) for name, one in tensors.items() if one.dtype == torch.bfloat16},
            "half.safetensors",
        )
        shared = torch.from_numpy(self.random.normal(size=(64, 32)).astype(np.float32))
        torch.save(
            {"tied": shared, "head": shared.T, "part": shared[8:16], "step": 7}, self.folder / "model.pt"
        )
        (self.folder / "other.bin").write_bytes(b"of no known format" * 40)
        self.commit("cast, views, and no format")

        git(self.folder, "checkout", "-q", "-b", "side")
        self.save(self.tuned(tensors))
        self.commit("theirs")
        git(self.folder, "checkout", "-q", "main")
        self.save(self.tuned(tensors))
        self.commit("ours")
        git(self.folder, "theta", "merge", "side", "--strategy", "average", "-m", "merged")
        self.note()

    def tuned(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: moved(one, self.random.normal(size=tuple(one.shape)) * 0.0005)
            if one.is_floating_point() and one.numel() > 1000
            else one
            for name, one in tensors.items()
        }


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, remote = Path(temporary, "repository"), Path(temporary, "remote.git")
        git(Path(temporary), "init", "-q", "-b", "main", str(folder))
        git(Path(temporary), "init", "-q", "--bare", "-b", "main", str(remote))
        git(folder, "theta", "install", "--local")
        git(folder, "theta", "track", "*.safetensors", "*.pt", "*.bin")
        git(folder, "config", "theta.grouping", "on")
        history = History(folder)
        history.make()
        git(folder, "remote", "add", "origin", "../remote.git")
        git(folder, "push", "-q", "--all", "origin")
        with tarfile.open(target, "w:gz") as archive:
            for path, name in ((folder / ".git", "git"), (remote, "remote.git")):
                archive.add(path, name, filter=plain)
            listed = json.dumps(history.files, indent=1).encode()
            entry = tarfile.TarInfo("files.json")
            entry.size = len(listed)
            archive.addfile(entry, io.BytesIO(listed))


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is no part of the format: hooks, logs, and who has made it."""
    if "/hooks" in entry.name or "/logs" in entry.name or entry.name.endswith((".sample", "description")):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
