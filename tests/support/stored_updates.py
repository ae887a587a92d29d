"""What the tests of the updates share: random tensors, and storing and reading one by a proposal."""

from __future__ import annotations

import json

import numpy as np

from git_theta.dtypes import _ALL, DType
from git_theta.settings import Grouping
from git_theta.tensors import ArrayTensor, Tensor, chunks
from git_theta.updates import registry, residual
from git_theta.updates.interface import Base, Parameters, Proposal, Target
from git_theta.values import carrier, from_float, is_number

DTYPES = list(_ALL)
FLOATS = [d for d in _ALL if d.kind == "float"]


def tensor_of(bits: np.ndarray, d: DType, shape: tuple[int, ...]) -> ArrayTensor:
    return ArrayTensor(d, shape, np.ascontiguousarray(bits).view(np.uint8).data)


def weights(d: DType, shape: tuple[int, ...], seed: int = 0, scale: float = 0.02) -> ArrayTensor:
    """A tensor like a model's weights."""
    count = d.nbytes(shape) // d.itemsize
    random = np.random.default_rng(seed)
    if not is_number(d) or d.kind in ("int", "uint", "bool"):
        items = np.frombuffer(random.bytes(count * d.itemsize), d.storage)
        return tensor_of(items & np.array(1, d.storage) if d.kind == "bool" else items, d, shape)
    return tensor_of(from_float(random.standard_normal(count) * scale, d), d, shape)


def number_tensor(values: np.ndarray, d: DType) -> ArrayTensor:
    """Numbers rounded to a dtype."""
    flat = np.ascontiguousarray(values, carrier(d)).ravel()
    return tensor_of(from_float(flat, d), d, values.shape)


def numbers_of(tensor: Tensor) -> np.ndarray:
    from git_theta.values import to_float

    return to_float(tensor.read(0, tensor.items), tensor.dtype).reshape(tensor.shape)


def base(tensor: Tensor, name: str = "base") -> Base:
    return Base(name, f"{id(tensor):064x}", tensor)


def read_back(parameters: Parameters) -> Parameters:
    """Parameters as they come out of an object."""
    return Parameters(
        json.loads(json.dumps(parameters.values)),
        {name: array.view(f"<u{array.itemsize}").copy() for name, array in parameters.arrays.items()},
    )


def predicted(proposal: Proposal, target: Target) -> np.ndarray:
    """All predicted bits."""
    predictor = registry.by_name(proposal.update).predictor(
        target.dtype, target.shape, [one.tensor for one in proposal.bases], read_back(proposal.parameters)
    )
    out = np.empty(target.tensor.items, target.dtype.storage)
    for start, stop in chunks(target.tensor):
        predictor.predict(start, stop, out[start:stop])
    return out


class Stored:
    """A tensor stored by a proposal: what an object would hold, read as objects are read."""

    def __init__(self, proposal: Proposal, target: Target, grouping: Grouping = "on") -> None:
        self.dtype, self.shape, self.items = target.dtype, target.shape, target.tensor.items
        self._predictor = registry.by_name(proposal.update).predictor(
            self.dtype, self.shape, [one.tensor for one in proposal.bases], read_back(proposal.parameters)
        )
        self._rows: dict[int, bytes] = {}
        self._width = min(self.items * self.dtype.itemsize, 4 << 20) + residual.MARGIN
        for start, stop in chunks(target.tensor):
            out = np.empty(stop - start, self.dtype.storage)
            self._predictor.predict(start, stop, out)
            row = residual.encode(out, target.tensor.read(start, stop), self.dtype, self._width, grouping)
            if row is not None:
                self._rows[start] = row
        self.residual_bytes = sum(map(len, self._rows.values()))

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        whole = np.empty(self.items, self.dtype.storage)
        for first, last in chunks(self):
            self._predictor.predict(first, last, whole[first:last])
            if first in self._rows:
                residual.decode(self._rows[first], self._width, whole[first:last], self.dtype)
        if out is None:
            return whole[start:stop]
        out[:] = whole[start:stop]
        return out


def assert_same(stored: Tensor, tensor: Tensor) -> None:
    assert stored.dtype == tensor.dtype
    assert np.array_equal(stored.read(0, tensor.items), tensor.read(0, tensor.items))
