"""How fast strategies merge: gigabytes of parameters (of the result) a second, against a copy.

    python tests/bench/merges.py                            on the CPU
    python tests/bench/merges.py --device cuda              on a GPU
    python tests/bench/merges.py --strategies ties,average --megabytes 512

Two models and their base are made here, of matrices of one shape. Columns:

    whole       the engine, from tensors in memory to a tensor in memory, with all cores
    on device   (GPUs) the strategy alone, on tensors that lie on the device, rounding included
    of a copy   the column before it, as a share of copying a tensor of the same size there

Prints the best of three runs.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does

import numpy as np
import torch
from timing import best

from git_theta.dtypes import dtype
from git_theta.merges import registry
from git_theta.merges.engine import merge
from git_theta.merges.gpu_blocks import DeviceBlocks, _rounded
from git_theta.merges.inputs import Job
from git_theta.merges.interface import Block, Coefficients
from git_theta.merges.options import fit, parse
from git_theta.merges.workers import Crew
from git_theta.tensors import ArrayTensor
from git_theta.values import from_float

OPTIONS = {
    "ties": "density=0.2",
    "sce": "select-topk=0.5",
    "breadcrumbs": "density=0.5",
    "fisher": "fisher=a,b",
}


def made(kind: str, megabytes: int, rows: int, columns: int) -> list[list[ArrayTensor]]:
    """Base, ours and theirs: lists of matrices of a dtype."""
    rng = np.random.default_rng(0)
    form = dtype(kind)
    number = max(1, (megabytes << 20) // form.nbytes((rows, columns)))
    base = 0.03 * rng.standard_normal((rows, columns), dtype=np.float32)
    steps = [0.0003 * rng.standard_normal((rows, columns), dtype=np.float32) for _ in range(2)]
    sides = [base, base + steps[0], base + steps[1]]
    tensors = [from_float(side.ravel(), form) for side in sides]
    return [[ArrayTensor(form, (rows, columns), bits.tobytes()) for _ in range(number)] for bits in tensors]


def jobs_of(name: str, sides: list[list[ArrayTensor]]) -> list[Job]:
    """One job per matrix."""
    strategy = registry.by_name(name)
    text = OPTIONS.get(name, "")
    options = fit(strategy, parse(strategy, dict([text.split("=")]) if text else {}, name), 2)
    return [
        Job(
            f"h.{place}",
            strategy,
            options,
            base,
            (ours, theirs),
            ours.dtype,
            (ours, theirs) if strategy.statistics else (),
        )
        for place, (base, ours, theirs) in enumerate(zip(*sides, strict=True))
    ]


def whole(jobs: list[Job], device: str) -> float:
    """Seconds that the engine takes."""

    def run() -> None:
        for _ in merge(jobs, device=device):
            pass

    return best(run, runs=4)


def on_device(job: Job, device: torch.device) -> float:
    """Seconds that one tensor takes on the device."""
    strategy, options = job.strategy, job.options
    crew = Crew(4, 0, None, lambda: None)
    try:
        if strategy.unit(options) == "tensor":
            base, *models = (
                torch.from_numpy(np.array(from_bits(one))).to(device) for one in (job.base, *job.models)
            )

            def merged() -> None:
                block = Block(job.name, 0, base, [model.clone() for model in models])
                _rounded(strategy.combine(block, options, None), job.dtype)
                wait(device)

            return best(merged, runs=4)
        blocks = DeviceBlocks(job, crew, True, True, device)
        blocks._keep = True
        blocks.map(lambda block: None)

        def run() -> None:
            state = strategy.coefficients(options, 2) or strategy.prepare(blocks, options, None)
            if isinstance(state, Coefficients):
                blocks.map(lambda block: _rounded(weighted(block, state), job.dtype))
            else:
                blocks.map(lambda block: _rounded(strategy.combine(block, options, state), job.dtype))
            wait(device)

        return best(run, runs=4)
    finally:
        crew.close()


def from_bits(tensor: ArrayTensor) -> np.ndarray:
    from git_theta.values import to_float

    return to_float(tensor.bits, tensor.dtype).reshape(tensor.shape)


def weighted(block: Block, coefficients: Coefficients) -> torch.Tensor:
    """A linear combination by torch."""
    total = None
    for factor, values in zip(coefficients.values, (block.base, *block.models), strict=True):
        if factor:
            total = values * factor if total is None else total + values * factor
    return total


def copy(nbytes: int, device: torch.device) -> float:
    """Seconds that copying so much takes on the device."""
    source = torch.ones(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return best(lambda: (target.copy_(source), wait(device)), runs=4)


def wait(device: torch.device) -> None:
    """Until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="BF16")
    parser.add_argument("--megabytes", type=int, default=64, help="size of each model")
    parser.add_argument("--shape", type=int, nargs=2, default=(4096, 1024), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--strategies", default=",".join(registry.names()))
    given = parser.parse_args()
    device = torch.device(given.device)
    sides = made(given.dtype, given.megabytes, *given.shape)
    nbytes = sum(tensor.bits.nbytes for tensor in sides[0])
    per_tensor = sides[0][0].bits.nbytes
    copied = copy(per_tensor if device.type != "cpu" else nbytes, device)
    rate = (per_tensor if device.type != "cpu" else nbytes) / copied / 1e9
    print(f"{given.dtype}, {len(sides[0])} matrices of {tuple(given.shape)}; a copy: {rate:.2f} GB/s")
    for name in given.strategies.split(","):
        jobs = jobs_of(name, sides)
        speed = nbytes / whole(jobs, given.device) / 1e9
        line = f"{name:18} whole {speed:6.2f} GB/s"
        if device.type == "cpu":
            line += f", {100 * speed / rate:5.1f} % of a copy"
        else:
            alone = per_tensor / on_device(jobs[0], device) / 1e9
            line += f", on device {alone:8.2f} GB/s, {100 * alone / rate:5.1f} % of a copy"
        print(line, flush=True)


if __name__ == "__main__":
    main()
