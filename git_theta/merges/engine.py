"""Merging tensors, one after the other, out of core.

Results come in the order of the jobs. While one is being used, the next ones are computed; how many is
limited by their size, so that memory stays within a few times the largest tensor, whatever the number and
the size of the models. Linear combinations are computed with NumPy on the CPU, whatever the device: moving
the numbers to another one would take longer than the arithmetic. Everything else is computed with torch.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from git_theta import scratch
from git_theta.merges import device as devices
from git_theta.merges import registry
from git_theta.merges.arithmetic import Linear, arithmetic_for
from git_theta.merges.change import write_changes
from git_theta.merges.cpu_blocks import HostBlocks, write_linear
from git_theta.merges.gpu_blocks import DeviceBlocks
from git_theta.merges.inputs import Inputs, Job, copy_rows
from git_theta.merges.interface import Block, Blocks, Coefficients, Strategy
from git_theta.merges.whole_tensors import WholeBlocks
from git_theta.merges.workers import Crew, Progress
from git_theta.tensors import ArrayTensor
from git_theta.threads import cores

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

T = TypeVar("T")

_AHEAD = 64 << 20  # bytes of results that may be under way besides twice the largest one


@dataclass(frozen=True)
class Merged:
    """A merged tensor.

    Attributes:
        name: of the job.
        tensor: valid until the next result is asked for: its memory is used again.
        linear: how it follows from [base, *models], where it is a linear combination.
        not_finite: how many entries are NaN or infinite, and were not so in all models alike.
    """

    name: str
    tensor: ArrayTensor
    linear: Linear | None
    not_finite: int


def merge(
    jobs: Sequence[Job],
    *,
    beside: Sequence[Job] = (),
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> Generator[Merged, None, None]:
    """Merge tensors.

    Args:
        jobs: what to merge.
        beside: further tensors of the models, for strategies that measure all of them (`survey`).
        device: auto, cpu, cuda, cuda:N or mps.
        threads: for reading and for computing on the CPU; by default as many as there are cores.
        progress: told how many bytes of results are done, and how many there are.
        warn: told once when the device has too little memory and the CPU is used; by default stderr is.

    Yields:
        One result per job, in their order. When the caller stops, or an exception reaches the generator,
        all threads have ended before it does.

    Raises:
        MissingTorch: a strategy needs torch. Raised before anything is computed.
        BrokenPlugin: a strategy of a package has failed.
        ThetaError: no such device; inputs that cannot be read; options that do not fit.
    """
    devices.check_name(device)
    target = None
    if any(job.elements and _fixed(job) is None for job in jobs):
        target = devices.choose(device)
    run = _Run(target, threads or cores(), sum(job.nbytes for job in jobs), progress, warn or _to_stderr)
    try:
        yield from run.results(jobs, beside)
    finally:
        run.close()


@dataclass(frozen=True)
class _Made:
    """A result, and the memory that it lies in."""

    merged: Merged
    buffer: NDArray[np.uint8]


class _Run:
    """One call of `merge`."""

    def __init__(
        self,
        target: torch.device | None,
        threads: int,
        total: int,
        progress: Progress | None,
        warn: Callable[[str], None],
    ) -> None:
        self._target = target
        self._threads = threads
        self._warn = warn
        self._warned = False
        self._torch_threads = devices.load_torch().get_num_threads() if target is not None else 0
        each_thread = _one_thread if target is not None else _nothing
        self._crew = Crew(threads, total, progress, each_thread)
        self._leaders = ThreadPoolExecutor(max(2, threads), "theta-merge-tensor", each_thread)
        self._pending: deque[Future[_Made]] = deque()

    def results(self, jobs: Sequence[Job], beside: Sequence[Job]) -> Iterator[Merged]:
        surveys = self._surveys(jobs, beside)
        limit = 2 * max((job.nbytes for job in jobs), default=0) + _AHEAD
        under_way = 0
        waiting = deque(zip(jobs, surveys, strict=True))
        sizes: deque[int] = deque()
        while waiting or self._pending:
            while waiting and len(self._pending) <= self._threads:
                job, survey = waiting[0]
                if sizes and under_way + job.nbytes > limit:
                    break
                waiting.popleft()
                self._pending.append(self._leaders.submit(self._merge, job, survey))
                sizes.append(job.nbytes)
                under_way += job.nbytes
            made = self._pending[0].result()
            self._pending.popleft()
            try:
                yield made.merged
            finally:
                scratch.give(made.buffer)
            under_way -= sizes.popleft()

    def close(self) -> None:
        """End all threads, and give back their memory."""
        self._crew.close()
        self._leaders.shutdown(wait=True, cancel_futures=True)
        for future in self._pending:
            if not future.cancelled() and future.exception() is None:
                scratch.give(future.result().buffer)
        if self._target is not None:
            devices.load_torch().set_num_threads(self._torch_threads)

    def _surveys(self, jobs: Sequence[Job], beside: Sequence[Job]) -> list[Any]:
        """What each job's strategy found out about all tensors of its models."""
        asking = [job if job.elements and job.strategy.surveys(job.options) else None for job in jobs]
        asked = {_models(job) for job in asking if job}
        groups: dict[Any, list[Job]] = {key: [] for key in asked}
        for job in sorted([*filter(None, asking), *beside], key=lambda one: one.name):
            if job.elements and _models(job) in asked:
                groups[_models(job)].append(job)
        found = {key: self._survey(group) for key, group in groups.items()}
        return [found[_models(job)] if job else None for job in asking]

    def _survey(self, group: Sequence[Job]) -> Any:
        strategy, options = group[0].strategy, group[0].options

        def survey(target: torch.device) -> Any:
            return strategy.survey([self._blocks(job, target, keep=False) for job in group], options)

        with registry.calling(strategy):
            return self._on_device(survey)

    def _merge(self, job: Job, survey: Any) -> _Made:
        buffer = scratch.take(job.nbytes)
        try:
            out: Bits = buffer.view(job.dtype.storage)
            with registry.calling(job.strategy):
                linear, bad = self._fill(job, survey, out[: job.elements])
            if job.further:
                linear = None
                copy_rows(job.further, job.dtype, out[job.elements :])
                self._crew.advance(out[job.elements :].nbytes)
        except BaseException:
            scratch.give(buffer)
            raise
        tensor = ArrayTensor(job.dtype, job.result_shape, out)
        return _Made(Merged(job.name, tensor, linear, bad), buffer)

    def _fill(self, job: Job, survey: Any, out: Bits) -> tuple[Linear | None, int]:
        if not job.elements:
            return None, 0
        fixed = _fixed(job)
        if fixed is not None and job.strategy.adds_changes and job.base is not None:
            inputs = Inputs([job.base, *job.models], slice(1, 1 + len(job.models)), job.dtype)
            return Linear(fixed.values, "f64", regular=False), write_changes(inputs, self._crew, out)
        if fixed is not None:
            return self._linear(job, fixed, None, out)
        return self._on_device(lambda target: self._compute(job, survey, target, out))

    def _linear(
        self, job: Job, coefficients: Coefficients, measured: Inputs | None, out: Bits
    ) -> tuple[Linear, int]:
        """Compute a linear combination, of inputs that may have been read before."""
        pairs = [
            (coefficient, tensor)
            for coefficient, tensor in zip(coefficients.values, (job.base, *job.models), strict=True)
            # A model that was found to count for nothing may be so because it holds no numbers.
            if tensor is not None and (coefficient or (measured and tensor is not job.base))
        ]
        tensors = [tensor for _, tensor in pairs]
        arithmetic = arithmetic_for([job.dtype, *(tensor.dtype for tensor in tensors)])
        linear = Linear(coefficients.values, arithmetic)
        if not tensors:
            out.fill(0)
            return linear, 0
        first = int(tensors[0] is job.base and len(tensors) > 1)  # a base alone stands for the models
        models = slice(first, len(tensors))
        inputs = measured.only(tensors, models) if measured else Inputs(tensors, models, job.dtype)
        used = Linear(tuple(coefficient for coefficient, _ in pairs), arithmetic)
        regular, bad = write_linear(inputs, used, self._crew, out)
        return replace(linear, regular=regular), bad

    def _compute(self, job: Job, survey: Any, target: torch.device, out: Bits) -> tuple[Linear | None, int]:
        strategy, options = job.strategy, job.options
        blocks = self._blocks(job, target, keep=type(strategy).prepare is not Strategy.prepare)
        try:
            state = strategy.prepare(blocks, options, survey)
            if isinstance(state, Coefficients):
                return self._linear(job, state, blocks.inputs, out)
            return None, blocks.write(lambda block: strategy.combine(block, options, state), out)
        finally:
            blocks.close()

    def _blocks(self, job: Job, target: torch.device, keep: bool) -> _Writable:
        base = job.strategy.needs_base(job.options)
        if job.strategy.unit(job.options) == "tensor":
            return WholeBlocks(job, self._crew, base, target)
        if target.type != "cpu" and devices.computes_in(target, job.wide):
            return DeviceBlocks(job, self._crew, base, keep, target)
        return HostBlocks(job, self._crew, base, keep)

    def _on_device(self, work: Callable[[torch.device], T]) -> T:
        """Do something on the device, or where that has too little memory on the CPU."""
        assert self._target is not None
        if self._target.type != "cpu":
            try:
                return work(self._target)
            except RuntimeError as error:
                if not devices.out_of_memory(error):
                    raise
                self._warn_once(f"{self._target} has too little memory; merging on the CPU")
        return work(devices.load_torch().device("cpu"))

    def _warn_once(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(message)


class _Writable(Blocks, Protocol):
    """Blocks that a result can be computed from."""

    inputs: Inputs

    def write(self, function: Callable[[Block], torch.Tensor], out: Bits) -> int: ...

    def close(self) -> None: ...


def _fixed(job: Job) -> Coefficients | None:
    return job.strategy.coefficients(job.options, len(job.models))


def _models(job: Job) -> tuple[str, Any, tuple[int, ...], int]:
    """What jobs have in common whose tensors are measured together."""
    return job.strategy.name, job.options, job.sides, len(job.models)


def _one_thread() -> None:
    devices.load_torch().set_num_threads(1)


def _nothing() -> None:
    pass


def _to_stderr(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
