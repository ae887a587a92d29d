"""Merging torch tensors that are in memory: strategies as plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from git_theta.dtypes import from_torch
from git_theta.errors import ThetaError
from git_theta.merges.engine import merge
from git_theta.merges.inputs import Job
from git_theta.merges.interface import Strategy
from git_theta.merges.registry import fit
from git_theta.tensors import ArrayTensor

if TYPE_CHECKING:
    import torch


def merge_tensors(
    strategy: Strategy[Any],
    base: torch.Tensor | None,
    models: Sequence[torch.Tensor],
    options: Any = None,
    *,
    name: str = "",
    statistics: Sequence[torch.Tensor] = (),
    device: str = "cpu",
    threads: int | None = None,
) -> torch.Tensor:
    """What a strategy makes of tensors; the same bits as in a merge of checkpoints.

    Args:
        base: the common ancestor, where the strategy needs one.
        models: ours first, of one shape and of float dtypes.
        options: a strategy.options; its defaults if None.
        name: of the tensor, which seeds random strategies.
        statistics: one tensor per model, where the strategy asks for them.

    Returns:
        A tensor of our dtype.

    Raises:
        ThetaError: a tensor is of no float dtype, or options do not fit the models.
    """
    import torch

    options = fit(strategy, strategy.options() if options is None else options, len(models))
    ours = _stored(models[0])
    job = Job(
        name,
        strategy,
        options,
        None if base is None else _stored(base),
        (ours, *map(_stored, models[1:])),
        ours.dtype,
        tuple(map(_stored, statistics)),
    )
    for merged in merge([job], device=device, threads=threads):
        bits = merged.tensor.bits.copy()
    signed = torch.from_numpy(bits.view(f"<i{bits.itemsize}"))
    return signed.view(models[0].dtype).reshape(models[0].shape)


def _stored(tensor: torch.Tensor) -> ArrayTensor:
    import torch

    dtype = from_torch(str(tensor.dtype).removeprefix("torch."))
    if dtype is None or dtype.kind != "float":
        raise ThetaError(f"tensors of {tensor.dtype} cannot be merged by arithmetic", "take ours or theirs")
    signed = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    bits = tensor.detach().cpu().contiguous().reshape(-1).view(signed).numpy()
    return ArrayTensor(dtype, tuple(tensor.shape), bits.data.cast("B") if bits.size else b"")
