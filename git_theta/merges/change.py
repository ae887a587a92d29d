"""Applying changes entry by entry.

What one side alone has changed is taken from it bit by bit: an infinity or NaN beside a change, the sign of a
zero. Where several have changed an entry it becomes the sum of all models less the surplus of the base, in
float64, rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from git_theta import scratch
from git_theta.dtypes import DType
from git_theta.merges.arithmetic import round_to_odd
from git_theta.merges.inputs import Inputs, agree, not_finite, write_result
from git_theta.merges.workers import Crew
from git_theta.updates.arithmetic import weighted_sum, widened
from git_theta.values import from_float, to_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from git_theta.tensors import Bits

_BLOCK = 16 << 10  # items


def write_changes(inputs: Inputs, crew: Crew, out: Bits) -> int:
    """Fill `out` with what the changes of all models make of the base.

    Args:
        inputs: the base, then the models.

    Returns:
        How many entries are NaN or infinite, and were not so in all models alike.
    """

    def task(start: int, stop: int) -> int:
        part, bad = out[start:stop], 0
        with inputs.read(start, stop) as arrays, scratch.borrow(2 * _BLOCK, np.dtype(np.float64)) as room:
            for first, last in inputs.split(0, part.size, _BLOCK):
                block = [bits[first:last] for bits in arrays]
                _add_up(inputs, block, room[:_BLOCK], room[_BLOCK:], part[first:last])
                _take_single(inputs, block, part[first:last])
                bad += _lost(inputs, block, part[first:last])
        crew.advance(part.nbytes)
        return bad

    return sum(crew.each(task, inputs.ranges()))


def _add_up(
    inputs: Inputs, arrays: Sequence[Bits], total: NDArray[np.float64], room: NDArray[np.float64], out: Bits
) -> None:
    """The models' sum less the base, once for each model but one; in this order."""
    total, room = total[: out.size], room[: out.size]
    base, *models = zip(arrays, inputs.tensors, strict=True)
    coefficients = (*(1.0 for _ in models), 1.0 - len(models))
    numbers = (widened(bits, tensor.dtype, room) for bits, tensor in (*models, base))
    weighted_sum(coefficients, numbers, total)
    if inputs.result.itemsize < 4:
        round_to_odd(total)
    finite = np.isfinite(total).all()
    holes = None if finite else inputs.holes(arrays, 0, out.size, np.dtype(np.float64))
    write_result(total, holes, inputs.result, out)


def _take_single(inputs: Inputs, arrays: Sequence[Bits], out: Bits) -> None:
    """The bits of the model that alone has changed an entry; of the first where none has."""
    base, *models = zip(arrays, (tensor.dtype for tensor in inputs.tensors), strict=True)
    changed = np.stack([bits != _as_dtype(*base, dtype) for bits, dtype in models])
    single = np.count_nonzero(changed, axis=0) < 2
    for number, (bits, dtype) in enumerate(models):
        mine = single & changed[number] if number else single
        out[mine] = _as_dtype(bits[mine], dtype, inputs.result)


def _lost(inputs: Inputs, arrays: Sequence[Bits], out: Bits) -> int:
    marked = not_finite(out, inputs.result)
    if not marked.any():
        return 0
    models = zip(arrays[inputs.models], inputs.tensors[inputs.models], strict=True)
    return int(np.count_nonzero(~agree([to_float(bits[marked], one.dtype) for bits, one in models])))


def _as_dtype(bits: Bits, dtype: DType, wanted: DType) -> Bits:
    return bits if dtype == wanted else from_float(to_float(bits, dtype), wanted, overflow="saturate")
