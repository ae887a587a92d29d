"""The tensors of all sides of a merge, by the names that they share, and what makes them equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from git_theta.checkpoints.remainder import Remainder
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest, TensorLine, View
from git_theta.merges.decisions import BASE, OURS, Line, lines_of
from git_theta.merges.rules import Rename
from git_theta.terminal.units import joined

Lines = Sequence[Line | None]
"""What each side has of one tensor, base first."""


@dataclass(frozen=True)
class Side:
    """A manifest by the names that all sides share.

    Attributes:
        lines: by common name.
        common: the common name of each own name.
    """

    lines: Mapping[str, Line]
    common: Mapping[str, str]

    @property
    def shown(self) -> set[str]:
        """The names of the tensors that views of this side refer to."""
        return {line.of for line in self.lines.values() if isinstance(line, View)}


class Compared:
    """The sides of a merge, base first.

    Args:
        remainders: what the sides have besides tensors.
        renames: the rules that make one tensor of two names.
        renamed: see Plan.

    Attributes:
        labels: what the sides are called.
        sides: what they have.

    Raises:
        ThetaError: a rename rule is ambiguous.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest | None],
        remainders: Sequence[Remainder | None],
        labels: Sequence[str],
        renames: Sequence[Rename],
        renamed: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._remainders = remainders
        self._renamed = renamed
        self.labels = labels
        self.sides = [_named(one, renames, label) for one, label in zip(manifests, labels, strict=True)]

    def shared_names(self) -> list[str]:
        """The names of all tensors that any side has."""
        return sorted({key for side in self.sides for key in side.lines})

    def lines(self, key: str) -> tuple[Line | None, ...]:
        """The line of each side for a common name, base first; None where a side has none."""
        return tuple(side.lines.get(key) for side in self.sides)

    def values(self, lines: Lines) -> list[object]:
        """What is equal where tensors are: dtype, shape and data; for views, which part of what they show.

        Bytes that mean nothing without a description are equal only with that, and what one object is made
        of only together.
        """
        values = [self._value(side, line) for side, line in enumerate(lines)]
        if len(set(map(type, filter(None, lines)))) < 2:
            return values
        # Where some side has bytes of its own here, others may have changed it by what their views show.
        return [
            (value, self._seen(side, line))
            for side, (value, line) in enumerate(zip(values, lines, strict=True))
        ]

    def values_of_sides(self) -> list[dict[str, object]]:
        """By side, and by common name: the values that are equal where tensors are; see `values`."""
        return [
            {key: self._value(number, line) for key, line in side.lines.items()}
            for number, side in enumerate(self.sides)
        ]

    def decided_by(self, lines: Lines) -> str:
        """The name of the tensor that decides for this one too, being part of one object; "" for none."""
        pairs = zip(lines, self._remainders, strict=True)
        owners = (
            one.together.get(line.name, "") for line, one in pairs if line is not None and one is not None
        )
        return next(filter(None, owners), "")

    def is_bound(self, lines: Lines) -> bool:
        """Whether some side's bytes need a description, such as the scale of codes, to mean anything."""
        pairs = zip(lines, self._remainders, strict=True)
        return any(line is not None and one is not None and line.name in one.bound for line, one in pairs)

    def is_renamed(self, side: int, lines: Lines) -> bool:
        """Whether a side that lacks a tensor has it under another name."""
        base = lines[BASE]
        return base is not None and side < len(self._renamed) and base.name in self._renamed[side]

    def names(self, sides: Sequence[int]) -> str:
        """What sides are called, in words."""
        return joined([self.labels[side] for side in sides])

    def dtypes(self, sides: Sequence[int], lines: Lines) -> str:
        """The dtypes that sides have, in words."""
        found = ((self.labels[side], lines[side]) for side in sides)
        return ", ".join(f"{label} {line.dtype.name}" for label, line in found if line is not None)

    def shapes(self, sides: Sequence[int], lines: Lines) -> str:
        """The shapes that sides have, in words."""
        found = ((self.labels[side], lines[side]) for side in sides)
        return ", ".join(f"{label} {list(line.shape)}" for label, line in found if line is not None)

    def _seen(self, side: int, line: Line | None) -> str:
        """The digest of the tensor that a view refers to; "" for a line that is no view."""
        if not isinstance(line, View):
            return ""
        seen = self._own(side, line.of)
        return seen.digest if isinstance(seen, TensorLine) else ""

    def _value(self, side: int, line: Line | None) -> object:
        remainder = self._remainders[side]
        if line is None or remainder is None or line.name not in remainder.bound:
            return self._content(side, line)
        owner = remainder.together.get(line.name)
        if owner is None:
            return self._content(side, line), remainder.bound[line.name]
        members = sorted(name for name, other in remainder.together.items() if other == owner)
        contents = tuple(self._content(side, self._own(side, name)) for name in members)
        return contents, remainder.bound[line.name]

    def _content(self, side: int, line: Line | None) -> object:
        if isinstance(line, View):
            return self.sides[side].common[line.of], line.dtype, line.shape, line.offset, line.strides
        return line and (line.dtype, line.shape, line.digest)

    def _own(self, side: int, name: str) -> Line | None:
        """The line that a side has under its own name for a tensor; None where it has none."""
        named = self.sides[side]
        return named.lines[named.common[name]] if name in named.common else None


def changed_sides(values: Sequence[object]) -> list[int]:
    """The sides that have another value than the base."""
    return [side for side in range(OURS, len(values)) if values[side] != values[BASE]]


def result_name(lines: Lines) -> str:
    """The name in the result: a rename is taken over as a change is; ours if several renamed it."""
    names = [line.name if line is not None else None for line in lines]
    renamed = [name for name in names[OURS:] if name is not None and name != names[BASE]]
    kept = [name for name in names[OURS:] if name is not None]
    return next(name for name in (*renamed, *kept, names[BASE]) if name is not None)


def _named(manifest: Manifest | None, renames: Sequence[Rename], label: str) -> Side:
    own = {line.name: line for line in lines_of(manifest)}
    common = {name: _common_name(name, renames) for name in own}
    lines: dict[str, Line] = {}
    for name, line in own.items():
        if common[name] in lines:
            raise ThetaError(
                f"the rename rules make one of the tensors {lines[common[name]].name!r} and {name!r}, "
                f"but {label} has both",
                "remove that rename rule",
            )
        lines[common[name]] = line
    return Side(lines, common)


def _common_name(name: str, renames: Sequence[Rename]) -> str:
    for rename in renames:
        new = rename.apply(name)
        if new is not None:
            return new
    return name
