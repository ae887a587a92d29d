"""What a training run notes about itself, of which no mean makes sense: counters, and the state of a trainer.

Where several sides have changed it, it stays as in ours, unless a strategy takes a side; the summary of the
merge says so. What Lightning's callbacks and loops have noted means something only together, such as the
score of the best model and the path of its file: it is all from one side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from git_theta.checkpoints.layout import STORAGE
from git_theta.checkpoints.remainder import TYPE, Remainder

_COUNTER = re.compile(r"(?:.*\.)?(?:num_batches_tracked|state\.[^.]+\.step)")
_TRAINER = ("callbacks.", "loops.")
_MODEL = f"state_dict{TYPE}"
"""What Lightning writes these beside."""


def is_counter(name: str) -> bool:
    """Whether a tensor or value counts steps."""
    return _COUNTER.fullmatch(name) is not None


class TrainerState:
    """Finds the saved state of a trainer in each side of a merge, so that it is taken from one side whole.

    Args:
        tensors: of each side by name, as what makes them equal; base first.
        remainders: what else the sides have.
    """

    def __init__(
        self, tensors: Sequence[Mapping[str, object]], remainders: Sequence[Remainder | None]
    ) -> None:
        self._noted: dict[str, list[object]] = {}
        parts = [one.parts if one is not None else {} for one in remainders]
        if any(_MODEL in one for one in parts):
            sides = [{**one, **other} for one, other in zip(tensors, parts, strict=True)]
            self._noted = {prefix: [_of(prefix, side) for side in sides] for prefix in _TRAINER}

    def values(self, name: str) -> list[object] | None:
        """Each side's whole trainer state that a name belongs to; None if the name belongs to none."""
        plain = name.removeprefix(STORAGE)
        return next((sides for prefix, sides in self._noted.items() if plain.startswith(prefix)), None)


def _of(prefix: str, side: Mapping[str, object]) -> object:
    return frozenset(
        (name, one) for name, one in side.items() if name.removeprefix(STORAGE).startswith(prefix)
    )
