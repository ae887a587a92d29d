"""From decisions to work: the tensors that a combination reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.manifest import TensorLine
from git_theta.merges.decisions import BASE, OURS, Decision
from git_theta.merges.inputs import Job
from git_theta.merges.surveyed import Surveyed
from git_theta.tensors import Tensor, Zeros

if TYPE_CHECKING:
    from git_theta.tensors import Bits


def job(
    decision: Decision,
    open_tensor: Callable[[int, TensorLine], Tensor],
    open_statistics: Callable[[str, str], Tensor] | None = None,
) -> Job:
    """The job that computes a tensor.

    Where numbers of rows differ, the rows that all inputs have are merged; each further row that the policy
    asks for is taken from the first side that has it, ours before theirs.

    Args:
        decision: of the action `combine`.
        open_tensor: opens the tensor of a side, by the side's number and line.
        open_statistics: opens a tensor of a checkpoint of statistics, by what the strategy's option names
            (REV:PATH) and the tensor's name.

    Raises:
        ThetaError: the strategy needs statistics that are not given, or have another shape.
    """
    combination = decision.combination
    assert combination is not None
    strategy, options = combination.strategy, combination.options
    needs_base = strategy.needs_base(options)
    lines = {}
    for side in ((BASE,) if needs_base else ()) + combination.sides:
        line = decision.lines[side]
        assert isinstance(line, TensorLine)
        lines[side] = line
    tensors = {side: open_tensor(side, line) for side, line in lines.items()}
    height = min((line.shape[0] for line in lines.values()), default=0) if combination.rows else None
    if height is not None:
        height = min(height, combination.shape[0])
    parts = {side: _rows(tensor, 0, height) for side, tensor in tensors.items()}
    models = tuple(parts[side] for side in combination.sides)
    statistics: tuple[Tensor, ...] = ()
    if strategy.statistics:
        statistics = _statistics(decision, models, open_statistics, height)
    further: tuple[Tensor, ...] = ()
    if height is not None:
        further = _further_rows(decision, open_tensor, height)
    return Job(
        decision.name,
        strategy,
        options,
        parts[BASE] if needs_base else None,
        models,
        combination.dtype,
        statistics,
        further,
        combination.sides,
    )


def survey_job(one: Surveyed, open_tensor: Callable[[int, TensorLine], Tensor]) -> Job:
    """A job that is measured, and never computed; `open_tensor` is as for `job`."""
    combination, like = one.combination, one.lines[0]
    base: Tensor
    if one.unchanged:
        base = Zeros(like.dtype, like.shape)
        models: tuple[Tensor, ...] = (base,) * len(combination.sides)
    else:
        tensors = zip((BASE, *combination.sides), one.lines, strict=True)
        base, *others = (_rows(open_tensor(side, line), 0, one.height) for side, line in tensors)
        models = tuple(others)
    return Job(
        one.name,
        combination.strategy,
        combination.options,
        base,
        models,
        like.dtype,
        sides=combination.sides,
    )


class Part:
    """Consecutive rows of a tensor, as a tensor."""

    def __init__(self, tensor: Tensor, start: int, stop: int) -> None:
        row = tensor.items // tensor.shape[0] if tensor.shape[0] else 0
        self.dtype: DType = tensor.dtype
        self.shape = (stop - start, *tensor.shape[1:])
        self.items = (stop - start) * row
        self._tensor = tensor
        self._first = start * row

    def read(self, start: int, stop: int, out: Bits | None = None) -> Bits:
        return self._tensor.read(self._first + start, self._first + stop, out)


def _rows(tensor: Tensor, start: int, stop: int | None) -> Tensor:
    if stop is None or (start == 0 and stop == tensor.shape[0]):
        return tensor
    return Part(tensor, start, stop)


def _further_rows(
    decision: Decision, open_tensor: Callable[[int, TensorLine], Tensor], height: int
) -> tuple[Tensor, ...]:
    """The rows of the result after the first `height` ones."""
    combination = decision.combination
    assert combination is not None
    parts = []
    for side in dict.fromkeys((*combination.sides, OURS)):
        line = decision.lines[side]
        stop = min(line.shape[0], combination.shape[0]) if isinstance(line, TensorLine) else 0
        if stop > height:
            assert isinstance(line, TensorLine)
            parts.append(_rows(open_tensor(side, line), height, stop))
            height = stop
    return tuple(parts)


def _statistics(
    decision: Decision,
    models: tuple[Tensor, ...],
    open_statistics: Callable[[str, str], Tensor] | None,
    height: int | None,
) -> tuple[Tensor, ...]:
    combination = decision.combination
    assert combination is not None
    strategy = combination.strategy
    sources = getattr(combination.options, strategy.statistics)
    if open_statistics is None:
        raise ThetaError(
            f"{strategy.name} needs a checkpoint of statistics for each side",
            f"give -o {strategy.statistics}=REV:PATH",
        )
    found = []
    for side, source, model in zip(combination.sides, sources, models, strict=True):
        line = decision.lines[side]
        assert line is not None
        tensor = open_statistics(source, line.name)
        if height is not None and tensor.shape[1:] == model.shape[1:] and tensor.shape[0] >= height:
            tensor = _rows(tensor, 0, height)
        if tensor.shape != model.shape or tensor.dtype.kind != "float":
            raise ThetaError(
                f"{source} has {line.name} as {tensor.dtype.name} {list(tensor.shape)}, which does not fit "
                f"the model's {list(model.shape)}",
                f"give statistics of the same model, or merge {line.name} with another strategy",
            )
        found.append(tensor)
    return tuple(found)
