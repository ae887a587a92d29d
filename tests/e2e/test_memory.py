"""A tensor is never held whole: what is added and restored takes little memory, however large it is."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo

MODEL = "model.safetensors"
BLOCK, BLOCKS = 32 << 20, 20
MOST = 300 << 20
"""Bytes that a process may take; the tensor has twice as many."""


_WATCH = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""Runs a command and notes its peak. A process starts with the peak of that which has started it."""


def peak(command: list[str], repo: GitRepo, source: Path, target: Path) -> int:
    """Bytes of memory that git and what it starts took at most while they read one file and wrote another."""
    noted = target.with_suffix(".peak")
    with source.open("rb") as read, target.open("wb") as written:
        watched = [sys.executable, "-c", _WATCH, str(noted), "git", *command]
        subprocess.run(watched, stdin=read, stdout=written, cwd=repo.path, check=True)
    return int(noted.read_text()) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.slow
def test_a_large_tensor(repo: GitRepo, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    block = random.integers(0, 1 << 16, BLOCK // 2, np.uint16) & 0x3FFF
    path, text, restored = repo.path / MODEL, tmp_path / "text", tmp_path / "restored"
    header = {"w": {"dtype": "BF16", "shape": [BLOCKS * BLOCK // 2], "data_offsets": [0, BLOCKS * BLOCK]}}
    written = json.dumps(header).encode()
    manifests = []
    for step in range(2):
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(written)) + written)
            for number in range(BLOCKS):
                file.write((block + np.uint16(step * (number % 3))).data)
        assert peak(["theta", "clean", "--", MODEL], repo, path, text) < MOST
        assert peak(["theta", "smudge", "--", MODEL], repo, text, restored) < MOST
        with path.open("rb") as one, restored.open("rb") as other:
            while piece := one.read(BLOCK):
                assert other.read(BLOCK) == piece
            assert other.read() == b""
        repo.stage(text.read_bytes(), MODEL)
        manifests.append(text.read_text())
    assert '"update":"delta"' in manifests[1]
