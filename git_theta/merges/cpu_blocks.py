"""Merging on the CPU.

Ranges are read, converted and computed on in worker threads; torch uses one thread in each of them, so
the sums inside a block have the same order however many there are. Blocks are small enough for a core's
cache, and computed in buffers that are used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from git_theta import kernels, scratch
from git_theta.merges.arithmetic import Linear, float_type
from git_theta.merges.inputs import (
    Holes,
    Inputs,
    Job,
    flat,
    number_type,
    read_tensors,
    unit_length,
    write_result,
)
from git_theta.merges.interface import Block
from git_theta.merges.workers import Crew
from git_theta.updates.arithmetic import in_kernels, weighted_sum, widened

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

    Floats = NDArray[np.floating[Any]]

T = TypeVar("T")

_BLOCK = 512 << 10  # bytes of one input of a block, as numbers
_LINEAR_BLOCK = 128 << 10


def write_linear(inputs: Inputs, linear: Linear, crew: Crew, out: Bits) -> tuple[bool, int]:
    """Fill `out` with a linear combination of inputs, one coefficient each; see merges.arithmetic.

    Inputs with coefficient 0 add nothing, but where they are not finite, the result is not either.

    Returns:
        Whether every entry is regular (see Linear), and how many entries are NaN or infinite, and were not
        so in all models alike.
    """
    kind = float_type(linear.arithmetic)
    used = [place for place, coefficient in enumerate(linear.coefficients) if coefficient]
    unused = [place for place, coefficient in enumerate(linear.coefficients) if not coefficient]
    coefficients = tuple(linear.coefficients[place] for place in used)
    compiled = not unused and len(used) <= kernels.MOST_INPUTS and in_kernels(inputs.result)
    compiled = compiled and all(tensor.dtype == inputs.result for tensor in inputs.tensors)

    def task(start: int, stop: int) -> tuple[bool, int]:
        part = out[start:stop]
        with inputs.read(start, stop) as arrays:
            found = None
            if compiled:
                found = _all_at_once(tuple(arrays[place] for place in used), coefficients, kind, part)
            if found is None:
                found = _block_by_block(inputs, used, coefficients, unused, kind, arrays, part)
        crew.advance(part.nbytes)
        return found

    found = crew.each(task, inputs.ranges())
    return all(regular for regular, _ in found), sum(bad for _, bad in found)


def _all_at_once(
    arrays: tuple[Bits, ...], coefficients: tuple[float, ...], kind: np.dtype[Any], out: Bits
) -> tuple[bool, int] | None:
    """One range by compiled loops; as `write_linear`, None where a sum is not finite."""
    wild, lost = kernels.weighted_sum(arrays, coefficients, kind == np.float64, out)
    return None if wild else (True, lost)


def _block_by_block(
    inputs: Inputs,
    used: Sequence[int],
    coefficients: Sequence[float],
    unused: Sequence[int],
    kind: np.dtype[Any],
    arrays: Sequence[Bits],
    out: Bits,
) -> tuple[bool, int]:
    """One range of any dtypes, with holes; as `write_linear`."""
    regular, bad = True, 0
    items = _LINEAR_BLOCK // kind.itemsize
    with scratch.borrow(2 * items, kind) as room:
        for first, last in inputs.split(0, out.size, items):
            result, values = room[: last - first], room[items : items + last - first]
            numbers = (
                widened(arrays[place][first:last], inputs.tensors[place].dtype, values) for place in used
            )
            weighted_sum(coefficients, numbers, result)
            rest = (
                widened(arrays[place][first:last], inputs.tensors[place].dtype, values) for place in unused
            )
            finite = np.isfinite(result).all() and all(np.isfinite(one).all() for one in rest)
            holes = None if finite else inputs.holes(arrays, first, last, kind)
            regular &= holes is None
            bad += write_result(result, holes, inputs.result, out[first:last])
    return regular, bad


class HostBlocks:
    """The blocks of one tensor on the CPU; merges.interface.Blocks.

    Args:
        base: whether the strategy needs the base.
        keep: whether there is more than one pass.
    """

    def __init__(self, job: Job, crew: Crew, base: bool, keep: bool) -> None:
        tensors, models = read_tensors(job, base)
        self._unit = job.strategy.unit(job.options)
        row = unit_length(self._unit, job.shape, job.elements)
        self._job = job
        self._crew = crew
        self._kind = number_type([tensor.dtype for tensor in tensors], job.dtype)
        self.inputs = Inputs(tensors, models, job.dtype, row, keep)
        self.name = job.name
        self.elements = job.elements
        self.models = len(job.models)

    def map(self, function: Callable[[Block], T], step: int = 1) -> list[T]:
        def task(start: int, stop: int) -> list[T]:
            return [function(block) for block, _, _ in self._blocks(start, stop, step)]

        return [value for values in self._crew.each(task, self.inputs.ranges()) for value in values]

    def write(self, function: Callable[[Block], torch.Tensor], out: Bits) -> int:
        """Fill `out` with the bits of what `function` makes of each block.

        Returns:
            How many entries are NaN or infinite, and were not so in all models alike.
        """

        def task(start: int, stop: int) -> int:
            bad = 0
            for block, holes, last in self._blocks(start, stop, 1):
                values = flat(function(block), last - block.start).numpy()
                bad += write_result(values, holes, self.inputs.result, out[block.start : last])
            self._crew.advance((stop - start) * out.itemsize)
            return bad

        return sum(self._crew.each(task, self.inputs.ranges()))

    def close(self) -> None:
        """Give up what was kept in memory."""
        self.inputs.close()

    def _blocks(self, start: int, stop: int, step: int) -> Iterator[tuple[Block, Holes | None, int]]:
        """Blocks of a range, their holes, and where they end."""
        row = self.inputs.row
        skip = -(start // row) % step
        count = -(-((stop - start) // row - skip) // step)  # rows that a sample with this step takes
        items = max(row, _BLOCK // self._kind.itemsize)
        with self.inputs.read(start, stop) as arrays, ExitStack() as stack:
            room = [stack.enter_context(scratch.borrow(min(items, stop - start), self._kind)) for _ in arrays]
            if step > 1:
                arrays = [bits.reshape(-1, row)[skip::step].reshape(-1) for bits in arrays]
            for first, last in self.inputs.split(0, count * row, items):
                self._crew.check()
                values = self.inputs.values(arrays, first, last, room)
                holes = None
                if not all(np.isfinite(one).all() for one in values):
                    holes = self.inputs.holes(arrays, first, last, self._kind)
                    for one in values:
                        one[holes.mask] = 0
                yield self._block(start + first, values), holes, start + last

    def _block(self, start: int, values: Sequence[Floats]) -> Block:
        import torch

        shapes = {"element": (-1,), "row": (-1, self.inputs.row), "tensor": self._job.shape}
        tensors = [torch.from_numpy(one).reshape(shapes[self._unit]) for one in values]
        models = self.inputs.models
        base = tensors[0] if models.start else None
        return Block(self._job.name, start, base, tensors[models], tensors[models.stop :])
