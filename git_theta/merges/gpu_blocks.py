"""Merging on a GPU, of what can be merged block by block.

Long ranges are read by the worker threads into pinned memory, one ahead of the one that is computed, and
copied to the device on a stream of their own, so that reading, copying and computing overlap. Results are
rounded on the device; only bits travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from git_theta.dtypes import DType
from git_theta.merges.inputs import Inputs, Job, flat, nan_bits, number_type, read_tensors, unit_length
from git_theta.merges.interface import Block
from git_theta.merges.workers import Crew
from git_theta.tensors import CHUNK_BYTES, Tensor

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

T = TypeVar("T")

_RANGE = 32 << 20  # elements that are computed on at once
_SHARE = 4  # inputs stay on the device between passes if they fill at most 1/_SHARE of what is free
_LARGEST = {"F8_E4M3": 448.0, "F8_E4M3FNUZ": 240.0, "F8_E5M2": 57344.0, "F8_E5M2FNUZ": 57344.0}


@dataclass(frozen=True)
class _Range:
    """A range of elements on the device: the inputs in their own dtypes, and when they have arrived."""

    start: int
    stop: int
    inputs: list[torch.Tensor]
    arrived: Any


@dataclass(frozen=True)
class _Holes:
    """Entries that are not finite in some input, those where all models agree, and our values' bits."""

    mask: torch.Tensor
    same: torch.Tensor
    ours: torch.Tensor


class DeviceBlocks:
    """The blocks of one tensor on a device; merges.interface.Blocks.

    Args:
        base: whether the strategy needs the base.
        keep: whether there is more than one pass.
    """

    def __init__(self, job: Job, crew: Crew, base: bool, keep: bool, device: torch.device) -> None:
        import torch

        self.name = job.name
        self.elements = job.elements
        self.models = len(job.models)
        self._job = job
        self._crew = crew
        self._device = device
        tensors, self._of_models = read_tensors(job, base)
        row = unit_length(job.strategy.unit(job.options), job.shape, job.elements)
        self.inputs = Inputs(tensors, self._of_models, job.dtype, row)
        kind = number_type([tensor.dtype for tensor in tensors], job.dtype)
        self._kind = torch.float64 if kind == np.float64 else torch.float32
        self._row_blocks = job.strategy.unit(job.options) == "row"
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        stored = sum(tensor.dtype.nbytes(job.shape) for tensor in tensors)
        self._keep = keep and stored * _SHARE <= _free_memory(device)
        self._kept: dict[int, _Range] = {}

    def map(self, function: Callable[[Block], T], step: int = 1) -> list[T]:
        return [function(block) for block, _, _ in self._blocks(step)]

    def write(self, function: Callable[[Block], torch.Tensor], out: Bits) -> int:
        """As HostBlocks.write."""
        bad = 0
        for block, holes, stop in self._blocks(1):
            result = _rounded(flat(function(block), stop - block.start), self._job.dtype)
            bits = result.view(_integer(result))
            finite = result.to(self._kind).isfinite()
            if holes is not None:
                nan = int(nan_bits(self._job.dtype).view(f"<i{result.element_size()}"))
                bits = bits.masked_fill(holes.mask, nan).where(~holes.same, holes.ours)
                finite |= holes.mask & holes.same
            bad += int((~finite).sum())
            out[block.start : stop] = self._download(bits).view(out.dtype)
        self._crew.advance(out.nbytes)
        return bad

    def close(self) -> None:
        """Give up what was kept on the device."""
        self._kept.clear()

    def _blocks(self, step: int) -> Iterator[tuple[Block, _Holes | None, int]]:
        ranges = self.inputs.split(0, self.elements, _RANGE)
        with ThreadPoolExecutor(1) as stager:
            ahead = stager.submit(self._stage, *ranges[0])
            for following in [*ranges[1:], None]:
                self._crew.check()
                current = ahead.result()
                if following is not None:
                    ahead = stager.submit(self._stage, *following)
                yield from self._block(current, step)

    def _block(self, current: _Range, step: int) -> Iterator[tuple[Block, _Holes | None, int]]:
        """One block, or none where a sample has nothing in its range."""
        row = self.inputs.row
        stored = current.inputs
        if current.arrived is not None:
            import torch

            here = torch.cuda.current_stream(self._device)
            here.wait_event(current.arrived)
            for tensor in stored:
                tensor.record_stream(here)
        if step > 1:
            skip = -(current.start // row) % step
            stored = [tensor.reshape(-1, row)[skip::step].reshape(-1) for tensor in stored]
        values = [tensor.to(self._kind) for tensor in stored]
        if not values[0].numel():
            return
        holes = self._holes(stored, values)
        if holes is not None:
            values = [one.masked_fill(holes.mask, 0) for one in values]
        if self._row_blocks:
            values = [one.reshape(-1, row) for one in values]
        of_models = self._of_models
        base = values[0] if of_models.start else None
        block = Block(self._job.name, current.start, base, values[of_models], values[of_models.stop :])
        yield block, holes, current.stop

    def _holes(self, stored: list[torch.Tensor], values: list[torch.Tensor]) -> _Holes | None:
        mask = ~values[0].isfinite()
        for one in values[1:]:
            mask |= ~one.isfinite()
        if not bool(mask.any()):
            return None
        models = values[self._of_models]
        same = mask.clone()
        for other in models[1:]:
            same &= (other == models[0]) | (other.isnan() & models[0].isnan())
        ours = stored[self._of_models][0]
        if self.inputs.tensors[self._of_models][0].dtype != self._job.dtype:
            ours = _rounded(models[0], self._job.dtype)
        return _Holes(mask, same, ours.view(_integer(ours)))

    def _stage(self, start: int, stop: int) -> _Range:
        """Read a range of all inputs, and start copying it to the device."""
        if start in self._kept:
            return self._kept[start]
        import torch

        with torch.cuda.stream(self._copies) if self._copies is not None else nullcontext():
            inputs = [self._upload(tensor, start, stop) for tensor in self.inputs.tensors]
            arrived = self._copies.record_event() if self._copies is not None else None
        staged = _Range(start, stop, inputs, arrived)
        if self._keep:
            self._kept[start] = staged
        return staged

    def _download(self, bits: torch.Tensor) -> NDArray[Any]:
        import torch

        pinned = self._device.type == "cuda"
        host = torch.empty(bits.shape, dtype=bits.dtype, pin_memory=pinned).copy_(bits)
        array: NDArray[Any] = host.numpy()
        return array

    def _upload(self, tensor: Tensor, start: int, stop: int) -> torch.Tensor:
        import torch

        # Torch's allocator keeps pinned memory for the next time, and knows when a copy from it is done.
        pinned = self._device.type == "cuda"
        host = torch.empty((stop - start) * tensor.dtype.itemsize, dtype=torch.uint8, pin_memory=pinned)
        bits = host.numpy().view(tensor.dtype.storage)

        def read(first: int, last: int) -> None:
            tensor.read(first, last, bits[first - start : last - start])

        items = CHUNK_BYTES // tensor.dtype.itemsize
        self._crew.each(read, [(at, min(at + items, stop)) for at in range(start, stop, items)])
        typed = host.view(getattr(torch, tensor.dtype.torch))
        return typed.to(self._device, non_blocking=True)


def _rounded(values: torch.Tensor, dtype: DType) -> torch.Tensor:
    """Values in a dtype; 8-bit floats saturate."""
    import torch

    if dtype.name in _LARGEST:
        values = values.clamp(-_LARGEST[dtype.name], _LARGEST[dtype.name])
    return values.to(getattr(torch, dtype.torch))


def _integer(tensor: torch.Tensor) -> torch.dtype:
    """The integer type as wide as a tensor's items."""
    import torch

    return {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]


def _free_memory(device: torch.device) -> int:
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 4 << 30
