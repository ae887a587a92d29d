"""How far a tensor moved: norms, cosine, largest change, share of entries changed, rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, overload

from git_theta import scratch
from git_theta.diffs import blocks, rank
from git_theta.diffs.change import Change, comparable, cosine
from git_theta.diffs.sweep import Job, Progress, sweep
from git_theta.dtypes import DType
from git_theta.errors import ThetaError
from git_theta.tensors import CHUNK_BYTES, Tensor
from git_theta.values import is_number

if TYPE_CHECKING:
    from git_theta.tensors import Bits

K = TypeVar("K")


class Pair(Protocol):
    """An old and a new tensor that are read together, which can be cheaper than one after the other.

    Both have `items` items to compare; the matrix that they are, for the rank, has `shape`.
    """

    @property
    def old_dtype(self) -> DType: ...

    @property
    def new_dtype(self) -> DType: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def items(self) -> int: ...

    def read(self, start: int, stop: int, old: Bits, new: Bits) -> None:
        """Fill both arrays with the bits of items [start, stop). Thread-safe."""
        ...


class TwoTensors:
    """A pair read one side after the other.

    Where one tensor has more items, those at its end are left out: rows added to a vocabulary.
    """

    def __init__(self, old: Tensor, new: Tensor) -> None:
        self._old, self._new = old, new
        self.old_dtype, self.new_dtype = old.dtype, new.dtype
        self.shape = old.shape if old.items < new.items else new.shape
        self.items = min(old.items, new.items)

    def read(self, start: int, stop: int, old: Bits, new: Bits) -> None:
        self._old.read(start, stop, old)
        self._new.read(start, stop, new)


@dataclass(frozen=True)
class Question(Generic[K]):
    """Which pair to compare, and what a manifest says of it, so that it need not be opened to plan.

    Attributes:
        key: what the answer is called.
        old, new: dtypes.
        shape, items: see Pair.
        open: opens the pair; called in a thread.
    """

    key: K
    old: DType
    new: DType
    shape: tuple[int, ...]
    items: int
    open: Callable[[], Pair]


def compare(pair: Pair, *, binned: bool = False, threads: int | None = None) -> Change:
    """Compare one pair.

    Raises:
        MissingObject, DamagedObject: as reading it does.
        ValueError: the dtypes are not `comparable`.
    """
    question = Question(None, pair.old_dtype, pair.new_dtype, pair.shape, pair.items, lambda: pair)
    for _, answer in compare_all([question], binned=binned, threads=threads):
        if isinstance(answer, Change):
            return answer
        raise answer
    raise AssertionError("one question, one answer")


def compare_all(
    questions: Iterable[Question[K]],
    *,
    binned: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[K, Change | ThetaError | OSError]]:
    """Compare pairs one after the other, on all cores; see diffs.sweep.

    Args:
        binned: whether to count differences by sign and exponent as well.
    """
    return sweep((_job(question, binned) for question in questions), threads, progress)


class Ranges(Sequence[tuple[int, int]]):
    """Ranges of items [start, stop) to read at once: whole stored chunks of all of these dtypes.

    They are not listed: how many items there are is what a manifest says, until the tensor is open.
    """

    def __init__(self, items: int, *dtypes: DType) -> None:
        self._items = items
        self._step = CHUNK_BYTES // min(dtype.itemsize for dtype in dtypes)

    def __len__(self) -> int:
        return -(-self._items // self._step)

    @overload
    def __getitem__(self, number: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, number: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        start = range(0, self._items, self._step)[number]
        return start, min(start + self._step, self._items)


_Part = tuple[blocks.Sums, "rank.Sketch | None"]


def _job(question: Question[K], binned: bool) -> Job[K, Pair, _Part, Change]:
    if not comparable(question.old, question.new):
        raise ValueError(f"{question.old.name} and {question.new.name} cannot be compared")
    ranked = question.old == question.new and rank.applies(question.shape, question.new)
    columns = math.prod(question.shape[1:])

    def measure(pair: Pair, start: int, stop: int) -> _Part:
        count = stop - start
        with (
            scratch.borrow(count, question.old.storage) as old,
            scratch.borrow(count, question.new.storage) as new,
        ):
            pair.read(start, stop, old, new)
            sums = blocks.compare_bits(old, question.old, new, question.new, binned)
            if not ranked or not sums.changed:
                return sums, None
            return sums, rank.sketch(old, new, question.new, start, columns, sums.changed / count)

    def finish(parts: list[_Part]) -> Change:
        low = rank.rank([part for _, part in parts if part is not None], columns) if ranked else None
        return _change(blocks.total([sums for sums, _ in parts]), question.new, question.items, low)

    spans = Ranges(question.items, question.old, question.new)
    return Job(question.key, question.open, spans, measure, finish)


def _change(sums: blocks.Sums, dtype: DType, items: int, low_rank: int | None) -> Change:
    elements = items // dtype.components
    if not is_number(dtype):
        return Change(elements, sums.changed)
    return Change(
        elements,
        sums.changed,
        sums.difference,
        sums.old,
        sums.new,
        sums.largest,
        cosine(sums.old, sums.new, sums.difference, sums.product),
        sums.nans,
        sums.infinities,
        low_rank,
        sums.bins,
    )
