"""Whether to look for updates of a tensor: in a model that was trained anew there are none to be found.

To look takes about a third of the time of storing dense data. So when nothing has been found for a number of
tensors in a row, only one in a few is looked at, until something is found again. What is decided for a tensor
depends on those a fixed number before it alone: the choice is the same in whatever order threads finish.
"""

from __future__ import annotations

import threading

_LAG = 8  # tensors; what the last ones gave may not be known yet
_IN_VAIN = 4  # in a row, after which looking is given up
_STEP = 13  # one in so many is looked at nevertheless; a prime, because layers repeat


class Prospects:
    """What was found for the tensors of one file, which are numbered in its order. Thread-safe.

    Every number must be told of with `note`, of which the first time counts; lower ones must be begun first.
    """

    def __init__(self) -> None:
        self._found: dict[int, bool | None] = {}
        self._in_vain: list[int] = []
        self._awaited: list[int] = []
        self._changed = threading.Condition()

    def good(self, number: int) -> bool:
        """Whether to look for an update of a tensor. Waits until what that depends on is known."""
        before = number - _LAG
        if before < 0 or number % _STEP == 0:
            return True
        with self._changed:
            if len(self._in_vain) <= before:
                self._awaited.append(before)
                self._changed.wait_for(lambda: len(self._in_vain) > before)
                self._awaited.remove(before)
            return self._in_vain[before] < _IN_VAIN

    def note(self, number: int, found: bool | None) -> None:
        """Tell whether an update of a tensor was found; None if nothing was looked for."""
        with self._changed:
            if number >= len(self._in_vain):
                self._found.setdefault(number, found)
            while (following := len(self._in_vain)) in self._found:
                one = self._found.pop(following)
                so_far = self._in_vain[-1] if self._in_vain else 0
                self._in_vain.append(so_far if one is None else 0 if one else so_far + 1)
            if self._awaited and min(self._awaited) < len(self._in_vain):
                self._changed.notify_all()
