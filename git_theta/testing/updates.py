"""What every update kind must pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from git_theta.dtypes import BYTES, DType, dtype
from git_theta.errors import DamagedObject
from git_theta.tensors import ArrayTensor, Tensor, chunks
from git_theta.updates import registry, residual
from git_theta.updates.interface import Base, Parameters, Predictor, Proposal, Target, Update

if TYPE_CHECKING:
    from git_theta.tensors import Bits

Case = tuple[Tensor, Sequence[Tensor]]
"""A tensor to store, and stored ones that it may be predicted from, the likeliest first."""
_DTYPES = ("BF16", "F16", "F32", "F64", "C64", "I64", "BOOL", "F8_E4M3")
_SHAPES = ((), (0,), (1,), (7,), (24, 16), (4, 1, 30))
_STRANGE: tuple[object, ...] = (None, -1, 1 << 80, 0.5, "x", [], {})


def tensor_of(array: np.ndarray[Any, Any], kind: str = "") -> ArrayTensor:
    """An array as a tensor, of the dtype that its items have unless another is named."""
    known = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8"}
    data = np.ascontiguousarray(array)
    return ArrayTensor(dtype(kind or known[data.dtype.name]), data.shape, data.reshape(-1).view("u1").data)


def stored(kind: Update, target: Tensor, proposal: Proposal) -> tuple[int, Bits]:
    """The bytes that a tensor takes by a proposal, and its bits as they are read back."""
    parameters = _read_back(proposal.parameters)
    bases = [base.tensor for base in proposal.bases]
    writer, reader = (kind.predictor(target.dtype, target.shape, bases, parameters) for _ in range(2))
    width = min(target.items * target.dtype.itemsize, 4 << 20) + residual.MARGIN
    nbytes = sum(array.nbytes for array in proposal.parameters.arrays.values())
    whole = np.empty(target.items, target.dtype.storage)
    for start, stop in chunks(target):
        row = residual.encode(
            _predicted(writer, target, start, stop), target.read(start, stop), target.dtype, width, "off"
        )
        nbytes += len(row or b"")
        whole[start:stop] = _predicted(reader, target, start, stop)
        if row is not None:
            residual.decode(row, width, whole[start:stop], target.dtype)
    return nbytes, whole


class UpdateContract:
    """Predictions are exact with their residuals, the same in every range, and refuse what does not fit."""

    def kind(self) -> Update:
        """A new instance of the kind."""
        raise NotImplementedError

    def cases(self) -> Mapping[str, Case]:
        """Tensors that it is for, some kilobytes each, by a word about what is special in them."""
        raise NotImplementedError

    def test_describes_itself(self) -> None:
        assert registry.flaw(self.kind()) == ""

    def test_makes_small_what_it_is_for(self) -> None:
        for case, (target, bases) in self.cases().items():
            found = self._proposals(target, bases)
            assert found, case
            least = min(stored(self.kind(), target, proposal)[0] for proposal in found)
            assert least < target.dtype.nbytes(target.shape), case

    def test_tensors_come_back_bit_by_bit(self) -> None:
        for case, target, proposal in self._all():
            assert np.array_equal(stored(self.kind(), target, proposal)[1], target.read(0, target.items)), (
                case
            )

    def test_proposes_the_same_every_time(self) -> None:
        for case, (target, bases) in self.cases().items():
            first, second = (self._proposals(target, bases) for _ in range(2))
            assert len(first) == len(second), case
            for one, other in zip(first, second, strict=True):
                assert one.bases == other.bases, case
                assert one.parameters.values == other.parameters.values, case
                for name, array in one.parameters.arrays.items():
                    assert array.tobytes() == other.parameters.arrays[name].tobytes(), case

    def test_ranges_are_parts_of_the_whole(self) -> None:
        for case, target, proposal in self._all():
            predicted = partial(_predicted, self._predictor(target, proposal), target)
            whole = predicted(0, target.items)
            cuts = sorted({0, 1, target.items // 3, target.items // 2, target.items})
            ranges = list(pairwise(cuts)) * 8
            with ThreadPoolExecutor(4) as threads:
                parts = list(threads.map(predicted, *zip(*ranges, strict=True)))
            for (start, stop), part in zip(ranges, parts, strict=True):
                assert np.array_equal(part, whole[start:stop]), f"{case}, items {start} to {stop}"

    def test_any_tensors_may_be_asked_about(self) -> None:
        for target, bases in _any_tensors():
            for proposal in self._proposals(target, bases):
                _, back = stored(self.kind(), target, proposal)
                name = f"{target.dtype.name}{list(target.shape)}"
                assert np.array_equal(back, target.read(0, target.items)), name

    def test_parameters_that_do_not_fit_are_refused(self) -> None:
        # As a damaged or hostile object has them: a prediction, whatever it is worth, or DamagedObject.
        for _, target, proposal in self._all():
            for parameters in _damaged(_read_back(proposal.parameters)):
                self._try(target, proposal, parameters)
            strangers = [tensor_of(np.zeros((3, 5), "f4")), tensor_of(np.zeros(0, "u1"))]
            for bases in ([], strangers[:1], strangers[1:], [*strangers, *strangers]):
                others = tuple(_base(number, one) for number, one in enumerate(bases))
                self._try(target, replace(proposal, bases=others), _read_back(proposal.parameters))

    def _try(self, target: Tensor, proposal: Proposal, parameters: Parameters) -> None:
        try:
            predictor = self._predictor(target, replace(proposal, parameters=parameters))
            _predicted(predictor, target, 0, target.items)
        except DamagedObject:
            pass

    def _proposals(self, target: Tensor, bases: Sequence[Tensor]) -> list[Proposal]:
        known = [_base(number, tensor) for number, tensor in enumerate(bases)]
        return list(self.kind().propose(Target("weight", target), known))

    def _all(self) -> Iterator[tuple[str, Tensor, Proposal]]:
        for case, (target, bases) in self.cases().items():
            for proposal in self._proposals(target, bases):
                assert proposal.update == self.kind().name, case
                yield case, target, proposal

    def _predictor(self, target: Tensor, proposal: Proposal) -> Predictor:
        bases = [base.tensor for base in proposal.bases]
        return self.kind().predictor(target.dtype, target.shape, bases, proposal.parameters)


def _base(number: int, tensor: Tensor) -> Base:
    return Base(f"base.{number}", f"{number:064x}", tensor)


def _predicted(predictor: Predictor, target: Tensor, start: int, stop: int) -> Bits:
    out: Bits = np.empty(stop - start, target.dtype.storage)
    predictor.predict(start, stop, out)
    return out


def _read_back(parameters: Parameters) -> Parameters:
    """Parameters as they come out of an object."""
    return Parameters(
        json.loads(json.dumps(parameters.values)),
        {name: array.view(f"<u{array.itemsize}").copy() for name, array in parameters.arrays.items()},
    )


def _damaged(parameters: Parameters) -> Iterator[Parameters]:
    """The parameters with one thing in them gone or changed."""
    for name in parameters.values:
        for strange in _STRANGE:
            yield replace(parameters, values={**parameters.values, name: strange})
    for name, array in parameters.arrays.items():
        for other in (array[:-1], array[:0], np.concatenate([array, array]), ~array, array.view("u1")):
            yield replace(parameters, arrays={**parameters.arrays, name: other})
    for field in ("values", "arrays"):
        for name in getattr(parameters, field):
            left = {key: value for key, value in getattr(parameters, field).items() if key != name}
            yield replace(parameters, **{field: left})


def _any_tensors() -> Iterator[Case]:
    random = np.random.default_rng(1)

    def tensor(kind: DType, shape: tuple[int, ...]) -> ArrayTensor:
        nbytes = kind.nbytes(shape)
        limit = 2 if kind.kind == "bool" else 256
        return ArrayTensor(kind, shape, random.integers(0, limit, nbytes, "u1").data if nbytes else b"")

    for name in _DTYPES:
        for shape in _SHAPES:
            same = [tensor(dtype(name), shape) for _ in range(2)]
            grown = tensor(dtype(name), (shape[0] + 2, *shape[1:])) if shape else same[0]
            other = tensor(dtype("F32") if name != "F32" else dtype("BF16"), shape)
            yield same[0], (same[1], grown, other, tensor(BYTES, (5,)))
            yield same[0], (other,)
            yield same[0], ()
