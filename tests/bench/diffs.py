"""How fast tensors are compared, without decoding: gigabytes of both sides a second.

    python tests/bench/diffs.py                    tensors made here
    python tests/bench/diffs.py FOLDER             safetensors files of a folder, each with the next one
    python tests/bench/diffs.py --stat             two manifests of 300 tensors, without values

Prints the best of three runs: with all cores, then with one.
"""

from __future__ import annotations

import argparse
import mmap
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does

import numpy as np
from blake3 import blake3
from timing import best

from git_theta.checkpoints.layout import Layout
from git_theta.checkpoints.safetensors import Safetensors
from git_theta.diffs import stat, sweep
from git_theta.diffs.compare import Version, compare_checkpoints
from git_theta.diffs.metrics import Question, TwoTensors, compare_all
from git_theta.dtypes import dtype
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.tensors import ArrayTensor, Tensor
from git_theta.terminal.style import Style
from git_theta.values import from_float

Model = Mapping[str, ArrayTensor]


class _File:
    """A file as a format reads it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.size = len(data)

    def head(self, count: int) -> bytes:
        return self._data[:count]

    def file(self) -> mmap.mmap:
        return self._data


def read(path: Path) -> Model:
    """A safetensors file, mapped into memory."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    layout: Layout = Safetensors().layout(_File(data))  # type: ignore[arg-type]
    view = memoryview(data)
    return {
        span.name: ArrayTensor(span.dtype, span.shape, view[span.offset : span.offset + span.nbytes])
        for span in layout.spans
    }


def made(kind: str, megabytes: int) -> Iterator[tuple[str, Model, Model]]:
    """Pairs of models: a LoRA, a full fine-tune, a sparse edit."""
    rng = np.random.default_rng(0)
    form, side = dtype(kind), 1024
    number = max(1, (megabytes << 20) // (form.itemsize * side * side))
    weights = 0.03 * rng.standard_normal((side, side), dtype=np.float32)
    low = (
        0.0003
        * rng.standard_normal((side, 8), dtype=np.float32)
        @ rng.standard_normal((8, side), dtype=np.float32)
    )
    noise = 0.0003 * rng.standard_normal((side, side), dtype=np.float32)
    sparse = np.where(rng.random((side, side)) < 0.01, noise * 100, 0)
    old = {f"h.{n}.weight": _tensor(kind, np.roll(weights, n, 1)) for n in range(number)}
    for what, change in (("LoRA", low), ("full fine-tune", noise), ("1 % sparse", sparse)):
        new = {f"h.{n}.weight": _tensor(kind, np.roll(weights, n, 1) + change) for n in range(number)}
        yield f"{kind} {what}", old, new


def _tensor(kind: str, values: np.ndarray) -> ArrayTensor:
    bits = from_float(np.ascontiguousarray(values, np.float32).ravel(), dtype(kind))
    return ArrayTensor(dtype(kind), values.shape, bits.tobytes())


def measure(what: str, old: Model, new: Model) -> None:
    """Compare the tensors that differ, and print how fast that was."""
    names = [
        name
        for name in sorted(old.keys() & new.keys())
        if old[name].shape == new[name].shape and not np.array_equal(old[name].bits, new[name].bits)
    ]
    questions = [
        Question(
            name,
            old[name].dtype,
            new[name].dtype,
            new[name].shape,
            new[name].items,
            lambda name=name: TwoTensors(old[name], new[name]),
        )
        for name in names
    ]
    nbytes = sum(old[name].bits.nbytes + new[name].bits.nbytes for name in names)
    every, one = (
        best(lambda threads=threads: list(compare_all(questions, threads=threads)))
        for threads in (sweep.cores(), 1)
    )
    print(
        f"{what:32} {len(names):4} tensors {nbytes / 2e6:6.0f} MB  "
        f"{nbytes / every / 1e9:5.2f} GB/s ({every:.3f} s), one core {nbytes / one / 1e9:5.2f} GB/s"
    )


def measure_stat() -> None:
    """Two manifests of 300 tensors, with everything that `--stat` does but reading them from Git."""
    shown = best(lambda: stat.render(compare_checkpoints(_side(0), _side(1), values=False), Style()))
    print(f"--stat of 300 tensors: {1e3 * shown:.1f} ms")


def _side(seed: int) -> Version:
    lines = tuple(
        TensorLine(
            f"h.{n:03}.weight", dtype("BF16"), (1024, 1024), blake3(f"{seed} {n}".encode()).hexdigest()
        )
        for n in range(300)
    )
    storage = {line.digest: StorageLine(line.digest, line.digest, 1000, 0, "delta") for line in lines}
    manifest = Manifest("safetensors", 0, f"{seed:064}", lines, (), "0" * 64, 0, storage)

    def opener(line: TensorLine) -> Tensor:
        raise AssertionError("nothing is read")

    return Version(manifest, opener)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--megabytes", type=int, default=128, help="size of the models made here")
    parser.add_argument("--dtypes", nargs="+", default=["BF16", "F32", "F16"])
    parser.add_argument("--stat", action="store_true")
    options = parser.parse_args()
    if options.stat:
        measure_stat()
    elif options.folder is None:
        for kind in options.dtypes:
            for what, old, new in made(kind, options.megabytes):
                measure(what, old, new)
    else:
        paths = sorted(options.folder.glob("*.safetensors"))
        for before, after in pairwise(paths):
            measure(f"{before.stem} -> {after.stem}", read(before), read(after))


if __name__ == "__main__":
    main()
