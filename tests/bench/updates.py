"""Measure the updates: stored fraction, and speed of one thread.

    python tests/bench/updates.py [HISTORY]

Prints a table over synthetic tensors, and over some of a history that history.py made, if one is given. Each
line is a pair of versions stored in one way: bytes as a part of the tensor's, GB/s to encode (prediction,
residual, compression) and to decode (prediction and residual; a base in memory costs nothing), best of
several runs in processor time, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from timing import best

from git_theta.dtypes import DType, dtype
from git_theta.objects import codec
from git_theta.settings import Grouping
from git_theta.tensors import ArrayTensor, chunks
from git_theta.updates import chooser, registry, residual, sampling
from git_theta.updates.interface import Base, Proposal, Target
from git_theta.values import carrier, from_float, to_float

RUNS = 5
GROUPINGS: tuple[Grouping, ...] = ("off", "on")
PAIRS = (
    ("0_base", "1_lora"),
    ("1_lora", "2_branch_dense"),
    ("1_lora", "4_sparse"),
    ("1_lora", "5_trim"),
    ("2_branch_dense", "6_average"),
)
NAMES = ("attn.q.weight", "mlp.up.weight", "wte.weight")


def report(label: str, target: Target, bases: list[Base]) -> None:
    """A line for dense data, for each proposal without and with grouping, and for the choice itself."""
    tensor = target.tensor
    nbytes = target.dtype.nbytes(target.shape)
    ranges = chunks(tensor)
    step = ranges[0][1] - ranges[0][0]
    frames: list[bytes] = []

    def dense() -> None:
        frames[:] = [codec.encode(tensor.read(start, stop), step) for start, stop in ranges]

    def undense() -> None:
        for (start, stop), frame in zip(ranges, frames, strict=True):
            codec.decode(frame, step, out[: stop - start])

    out = np.empty(step, target.dtype.storage)
    seconds = best(dense, RUNS, time.thread_time)
    back = best(undense, RUNS, time.thread_time)
    print_line(label, "dense", sum(map(len, frames)) / nbytes, nbytes / seconds, nbytes / back)
    ranking = chooser.rank(target, bases)
    seconds = best(lambda: chooser.rank(target, bases), RUNS, time.thread_time)
    for proposal in ranking.proposals[:-1]:
        for grouping in GROUPINGS:
            line(label, proposal, target, grouping)
    print_line(label, "(choice)", 0, nbytes / seconds, 0)


def line(label: str, proposal: Proposal, target: Target, grouping: Grouping) -> None:
    nbytes, ranges = target.dtype.nbytes(target.shape), chunks(target.tensor)
    width = (ranges[0][1] - ranges[0][0]) * target.dtype.itemsize + residual.MARGIN
    predictor = registry.by_name(proposal.update).predictor(
        target.dtype, target.shape, [base.tensor for base in proposal.bases], proposal.parameters
    )
    out = np.empty(ranges[0][1], target.dtype.storage)
    rows: list[bytes | None] = []

    def encode() -> None:
        rows.clear()
        for start, stop in ranges:
            predictor.predict(start, stop, out[: stop - start])
            wanted = target.tensor.read(start, stop)
            rows.append(residual.encode(out[: stop - start], wanted, target.dtype, width, grouping))

    def decode() -> None:
        for (start, stop), row in zip(ranges, rows, strict=True):
            predictor.predict(start, stop, out[: stop - start])
            if row is not None:
                residual.decode(row, width, out[: stop - start], target.dtype)

    fixed = sum(sampling.codec_bytes(array) for array in proposal.parameters.arrays.values())
    seconds = best(encode, RUNS, time.thread_time)
    size = fixed + sum(len(row or b"") for row in rows)
    name = proposal.update + (", grouped" if grouping == "on" else "")
    print_line(label, name, size / nbytes, nbytes / seconds, nbytes / best(decode, RUNS, time.thread_time))


def print_line(label: str, name: str, fraction: float, encoded: float, decoded: float) -> None:
    print(f"{label:44} {name:20} {fraction:8.4f} {encoded / 1e9:8.3f} {decoded / 1e9 or float('nan'):8.3f}")


def synthetic() -> Iterator[tuple[str, Target, list[Base]]]:
    random = np.random.default_rng(0)
    shape = (4096, 2048)

    def made(values: np.ndarray, d: DType) -> ArrayTensor:
        flat = np.ascontiguousarray(values, carrier(d)).ravel()
        return ArrayTensor(d, values.shape, from_float(flat, d).data)

    for name in ("BF16", "F32"):
        d = dtype(name)
        before = made(random.standard_normal(shape, np.float32) * 0.02, d)
        values = to_float(before.bits, d).reshape(shape).astype(np.float32)
        noise = random.standard_normal(shape, np.float32)
        lora = (noise[:, :8] * 0.01) @ (noise[:8] * 0.01)
        tuned = made(values + noise * 4e-5, d)
        changes = {
            "full fine-tune": tuned,
            "LoRA of rank 8": made(values + lora, d),
            "1 % sparse": made(np.where(random.random(shape) < 0.01, values + noise * 0.01, values), d),
            "(IA)3": made(values * (1 + noise[:1] * 0.1), d),
        }
        for label, after in changes.items():
            yield f"{name} {label}", Target("weight", after), [Base("weight", "0" * 64, before)]
        mean = made((values + to_float(tuned.bits, d).reshape(shape)) / 2, d)
        both = [Base("weight", "0" * 64, before), Base("weight", "1" * 64, tuned)]
        yield f"{name} mean of two", Target("weight", mean), both
        if name == "F32":
            released = Target("weight", made(values, dtype("BF16")))
            yield "F32 released as BF16", released, [Base("weight", "0" * 64, before)]


def recorded(history: Path) -> Iterator[tuple[str, Target, list[Base]]]:
    for old, new in PAIRS:
        before, after = (opened(history / f"{name}.safetensors") for name in (old, new))
        for name in (next(one for one in after if one.endswith(ending)) for ending in NAMES):
            same = np.array_equal(before[name].bits, after[name].bits)
            if same or (name.endswith("wte.weight") and new != "5_trim"):
                continue  # the largest is of interest where its shape changes
            bases = [Base(name, "0" * 64, before[name])]
            if new == "6_average":
                bases.append(Base(name, "1" * 64, opened(history / "3_main_dense.safetensors")[name]))
            yield f"{new} {name}", Target(name, after[name]), bases


def opened(path: Path) -> dict[str, ArrayTensor]:
    data = np.memmap(path, np.uint8, "r")
    length = int(data[:8].view("<u8")[0])
    header = json.loads(bytes(data[8 : 8 + length]))
    header.pop("__metadata__", None)
    return {
        name: ArrayTensor(
            dtype(one["dtype"]), tuple(one["shape"]), data[8 + length :][slice(*one["data_offsets"])].data
        )
        for name, one in header.items()
    }


if __name__ == "__main__":
    print(f"{'':44} {'stored as':20} {'fraction':>8} {'encode':>8} {'decode':>8}")
    for one in synthetic():
        report(*one)
    for folder in sys.argv[1:]:
        for one in recorded(Path(folder)):
            report(*one)
