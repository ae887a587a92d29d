"""What a merge strategy is.

A strategy is a pure function of (base, models, options). It sees its inputs in blocks, so that tensors of
any size and any number of models can be merged: it may first measure all of them (`prepare`), then it
combines them, block by block. Nothing here imports torch; blocks hold torch tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
O = TypeVar("O")  # noqa: E741  the options of a strategy

Unit = Literal["element", "row", "tensor"]
"""What a strategy must see whole. Rows are those of the matrix [shape[0], everything else]; a tensor of
fewer than two dimensions is one row."""

BaseUse = Literal["unused", "optional", "required"]


@dataclass(frozen=True)
class Coefficients:
    """A linear combination of [base, *models], one coefficient each; the base's is 0 where it is unused."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class Block:
    """The numbers of one part of a tensor, the same part for every input.

    All tensors are float32, or float64 where an input is; on one device; finite: entries that are NaN or
    infinite in any input are 0 in all. They must not be written to. Their shape is [elements] for the unit
    "element", [rows, elements] for "row", and that of the tensor for "tensor". There, each access to an item
    of `models` or `statistics` reads it anew, so that one at a time is in memory; the caller may write to it.

    Attributes:
        name: of the tensor.
        start: position of the first element in the flattened tensor.
        base: None where there is none, or the strategy does not need it.
        models: ours first.
        statistics: one further tensor per model, for strategies that ask for them (`statistics`).
    """

    name: str
    start: int
    base: torch.Tensor | None
    models: Sequence[torch.Tensor]
    statistics: Sequence[torch.Tensor] = ()


class Blocks(Protocol):
    """All blocks of one tensor; they can be gone through as often as needed.

    Attributes:
        name: of the tensor.
        elements: of the tensor.
        models: how many there are.
    """

    name: str
    elements: int
    models: int

    def map(self, function: Callable[[Block], T], step: int = 1) -> list[T]:
        """What `function` makes of every block, in order; it is called in several threads at once.

        Args:
            step: with n > 1, a sample: blocks hold every n-th element or row only, and `start` means
                nothing.
        """
        ...


class Strategy(Generic[O]):
    """A merge strategy: the plug-in interface of the entry-point group `git_theta.plugins.merges`.

    The entry point names a subclass without constructor arguments. Modules that define strategies import
    torch inside functions only: strategies are listed without it.

    Attributes:
        name: kebab-case, what users type.
        summary: one sentence: what it does.
        formula: in plain text. θ is a model, τ = θ - base its task vector, λ, w, ... are options.
        reference: paper, year and arXiv number, or what else defines it.
        use: one sentence: when to use it.
        options: a frozen dataclass, its fields made by merges.options.option; where they do not go together,
            its __post_init__ raises ThetaError. Options with one value per model have as many as there are
            models when a method is called.
        base: whether it computes with the common ancestor.
        least, most: how many models it can merge; None for any number.
        takes: for strategies that take one side as it is, which: base, ours, theirs, or a number after
            "side "; they apply to tensors of any dtype.
        statistics: the option that names a checkpoint of statistics per model, or "".
        adds_changes: for the linear combination that adds all changes up, whether it is computed entry by
            entry (merges.change), in float64 whatever the inputs' dtype.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    formula: ClassVar[str]
    reference: ClassVar[str]
    use: ClassVar[str]
    options: ClassVar[type[Any]]
    base: ClassVar[BaseUse] = "unused"
    least: ClassVar[int] = 2
    most: ClassVar[int | None] = None
    takes: str | None = None
    statistics: ClassVar[str] = ""
    adds_changes: ClassVar[bool] = False

    def needs_base(self, options: O) -> bool:
        """Whether the result depends on the base."""
        return self.base == "required"

    def unit(self, options: O) -> Unit:
        """What a block must hold whole."""
        return "element"

    def coefficients(self, options: O, count: int) -> Coefficients | None:
        """The result as a linear combination, where it is one that does not depend on values.

        Args:
            count: number of models.
        """
        return None

    def survey(self, tensors: Sequence[Blocks], options: O) -> Any:
        """Measure all tensors of the models, before the first is merged with these options.

        Args:
            tensors: in the order of their names: also those that are not merged, or otherwise, if the base
                and all models have them as numbers of one shape.

        Returns:
            What `prepare` is given for each tensor that is merged; None where nothing is to be measured.
        """
        return None

    def surveys(self, options: O) -> bool:
        """Whether `survey` has something to do."""
        return False

    def prepare(self, blocks: Blocks, options: O, survey: Any) -> Any:
        """Measure one tensor.

        Returns:
            What `combine` is given for each of its blocks. If it is `Coefficients`, the result is that
            linear combination.
        """
        return None

    def combine(self, block: Block, options: O, state: Any) -> torch.Tensor:
        """Merge one block: a tensor of the block's shape and type."""
        raise NotImplementedError
