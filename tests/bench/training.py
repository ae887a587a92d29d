"""Store the versions of a training run, each as the next commit: bytes, chains and times.

    python tests/bench/training.py [--versions 60] [--megabytes 50] [--step 4e-5] [--optimizer]

Each version moves all weights of a bf16 model by a random step of that size. With --optimizer it is a
training checkpoint: bf16 weights that are rounded float32 ones, these, and the two moments of Adam. Prints,
for each tenth of the run: what a version takes as a part of its bytes, the depth of its chains (mean,
deepest), seconds of processor time to add it and to check it out, and that against the first, dense version.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from roundtrip import fresh, stored
from timing import processor

Tensors = dict[str, np.ndarray]
Git = Callable[..., float]
"""See roundtrip.fresh."""
MODEL = "model.safetensors"
WIDTH = 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", type=int, default=60, help="commits (%(default)s)")
    parser.add_argument("--megabytes", type=int, default=50, help="of bf16 weights (%(default)s)")
    parser.add_argument("--step", type=float, default=4e-5, help="how far a weight moves (%(default)s)")
    parser.add_argument("--optimizer", action="store_true", help="with what Adam keeps")
    arguments = parser.parse_args()
    count = max(1, arguments.megabytes * 1_000_000 // (2 * WIDTH * WIDTH))
    made = trained if arguments.optimizer else tuned
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        git = fresh(repository)
        git("theta", "install", "--local")
        git("theta", "track", MODEL)
        git("add", ".gitattributes")
        print("version   stored    depth  deepest      add  checkout  of dense")
        versions = made(count, arguments.step)
        rows = [added(repository, git, versions, number) for number in range(arguments.versions)]
        for number, row in enumerate(rows):
            row["checkout"] = checkout(repository, git, f"v{number}")
        tenth = max(1, arguments.versions // 10)
        parts = [rows[:1], *(rows[at : at + tenth] for at in range(1, arguments.versions, tenth)), rows]
        for at, part in enumerate(parts):
            name = "all" if at == len(parts) - 1 else "0" if not at else f"{1 + (at - 1) * tenth}-"
            print(line(name, part, rows[0]["checkout"]))


def line(name: str, rows: list[dict[str, float]], dense: float) -> str:
    mean = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
    return (
        f"{name:>7} {mean['stored']:8.4f} {mean['depth']:8.1f} {max(row['deepest'] for row in rows):8.0f} "
        f"{mean['add']:8.2f} {mean['checkout']:9.3f} {mean['checkout'] / dense:9.2f}"
    )


def added(repository: Path, git: Git, versions: Iterator[Tensors], number: int) -> dict[str, float]:
    """Figures of the next version."""
    write(repository / MODEL, next(versions))
    before = held(repository)
    seconds = processor(lambda: git("add", MODEL))
    git("commit", "-q", "-m", str(number))
    git("tag", f"v{number}")
    found = subprocess.run(
        ["git", "theta", "ls-files", "HEAD", "-l", "--json"], cwd=repository, capture_output=True, check=True
    )
    depths = [tensor["chain"] for tensor in json.loads(found.stdout)[0]["tensors"]]
    return {
        "stored": (held(repository) - before) / (repository / MODEL).stat().st_size,
        "depth": statistics.fmean(depths),
        "deepest": max(depths),
        "add": seconds,
    }


def checkout(repository: Path, git: Git, version: str) -> float:
    (repository / MODEL).unlink()
    return processor(lambda: git("checkout", version, "--", MODEL))


def held(repository: Path) -> int:
    return sum(path.stat().st_size for path in stored(repository / ".git" / "theta" / "objects"))


def tuned(count: int, step: float) -> Iterator[Tensors]:
    """Weights that move in float32 and are rounded."""
    for weights in masters(np.random.default_rng(0), count, step):
        yield {f"layers.{n}.weight": rounded(one) for n, one in enumerate(weights)}


def trained(count: int, step: float) -> Iterator[Tensors]:
    """The same with Adam's moments of noisy gradients: betas .9 and .999, a version every 100 steps."""
    random = np.random.default_rng(0)
    first: dict[int, np.ndarray] = {}
    second: dict[int, np.ndarray] = {}
    for weights in masters(random, count, step):
        found: Tensors = {}
        for n, one in enumerate(weights):
            gradient = random.standard_normal(one.shape, np.float32) * np.float32(1e-3)
            first[n] = gradient * np.float32(0.44)  # 100 steps leave nothing of the moment before
            fresh_part = np.float32(1 - 0.999**100)
            noise = np.float32(1e-6) * (1 + random.standard_normal(one.shape, np.float32) / 10)
            second[n] = noise if n not in second else second[n] * (1 - fresh_part) + noise * fresh_part
            found[f"model.layers.{n}.weight"] = rounded(one)
            found[f"master.layers.{n}.weight"] = one
            found[f"optimizer.layers.{n}.exp_avg"] = first[n]
            found[f"optimizer.layers.{n}.exp_avg_sq"] = second[n]
        yield found


def masters(random: np.random.Generator, count: int, step: float) -> Iterator[list[np.ndarray]]:
    weights = [random.standard_normal((WIDTH, WIDTH), np.float32) * np.float32(0.02) for _ in range(count)]
    while True:
        yield weights
        for one in weights:
            one += random.standard_normal(one.shape, np.float32) * np.float32(step)


def rounded(values: np.ndarray) -> np.ndarray:
    """bf16 bits, to nearest, ties to even."""
    bits = values.view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def write(path: Path, tensors: Tensors) -> None:
    header: dict[str, object] = {}
    at = 0
    for name, values in tensors.items():
        dtype = {"<u2": "BF16", "<f4": "F32"}[values.dtype.str]
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).data)


if __name__ == "__main__":
    main()
