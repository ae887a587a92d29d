"""Merging by strategies that must see a tensor whole: one tensor to a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from git_theta.merges.inputs import Inputs, Job, flat, number_type, read_tensors, write_result
from git_theta.merges.interface import Block
from git_theta.merges.workers import Crew
from git_theta.tensors import Tensor

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

T = TypeVar("T")


class WholeBlocks:
    """One tensor as one block, of which only one model at a time is in memory; merges.interface.Blocks."""

    def __init__(self, job: Job, crew: Crew, base: bool, device: torch.device) -> None:
        tensors, models = read_tensors(job, base)
        self.inputs = Inputs(tensors, models, job.dtype)
        self.name = job.name
        self.elements = job.elements
        self.models = len(job.models)
        self._job = job
        self._crew = crew
        self._device = device
        self._kind = number_type([tensor.dtype for tensor in tensors], job.dtype)
        self._holes: tuple[NDArray[np.intp], Bits, int] | None = None

    def map(self, function: Callable[[Block], T], step: int = 1) -> list[T]:
        return self._crew.each(lambda start, stop: function(self._block()), [(0, self.elements)])

    def write(self, function: Callable[[Block], torch.Tensor], out: Bits) -> int:
        """As HostBlocks.write."""
        [result] = self.map(function)
        values = flat(result, self.elements).cpu().numpy()

        def task(start: int, stop: int) -> int:
            bad = write_result(values[start:stop], None, self.inputs.result, out[start:stop])
            self._crew.advance((stop - start) * out.itemsize)
            return bad

        bad = sum(self._crew.each(task, self.inputs.ranges()))
        places, bits, lost = self._not_finite()
        out[places] = bits
        return bad + lost

    def close(self) -> None:
        """Do nothing: no block is kept."""

    def _block(self) -> Block:
        models = self.inputs.models
        base = self._load(self.inputs.tensors[0]) if models.start else None
        of_models, of_statistics = self.inputs.tensors[models], self.inputs.tensors[models.stop :]
        return Block(self._job.name, 0, base, _Lazy(of_models, self._load), _Lazy(of_statistics, self._load))

    def _load(self, tensor: Tensor) -> torch.Tensor:
        import torch

        values = np.empty(self.elements, self._kind)
        one = Inputs([tensor], slice(0, 1), self.inputs.result)
        for start, stop in one.ranges():
            self._crew.check()
            with one.read(start, stop) as arrays:
                one.values(arrays, 0, stop - start, [values[start:stop]])
        values[self._not_finite()[0]] = 0
        return torch.from_numpy(values).reshape(self._job.shape).to(self._device)

    def _not_finite(self) -> tuple[NDArray[np.intp], Bits, int]:
        """The places that are not finite in some input, the result's bits there, and how many are lost."""
        if self._holes is None:
            places, bits, lost = [], [], 0
            for start, stop in self.inputs.ranges():
                self._crew.check()
                with self.inputs.read(start, stop) as arrays:
                    holes = self.inputs.holes(arrays, 0, stop - start, self._kind)
                places.append(np.flatnonzero(holes.mask) + start)
                bits.append(holes.bits)
                lost += holes.lost
            self._holes = np.concatenate(places), np.concatenate(bits), lost
        return self._holes


class _Lazy(Sequence["torch.Tensor"]):
    """Tensors that are read when they are asked for."""

    def __init__(self, tensors: Sequence[Tensor], load: Callable[[Tensor], torch.Tensor]) -> None:
        self._tensors = tensors
        self._load = load

    def __len__(self) -> int:
        return len(self._tensors)

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[torch.Tensor]: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | Sequence[torch.Tensor]:
        if isinstance(index, slice):
            return _Lazy(self._tensors[index], self._load)
        return self._load(self._tensors[index])
