"""What a checkpoint holds besides the values of its tensors, in parts that a merge decides on one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    from git_theta.tensors import Tensor


@dataclass(frozen=True)
class Remainder:
    """The parts of one file. Values are digests: equal ones mean the same.

    Attributes:
        parts: what is no tensor, by name (the path that leads there).
        containers: those of them that hold others, and what the names of these begin with.
        flags: those of them that describe a tensor, such as that it needs no gradient: its name.
        bound: for tensors whose bytes mean nothing without it: how they are described, such as the scale of
            codes. It comes from the side that the bytes come from.
        together: for those of them that stand in one object: the name of that, which they are decided by.
        lists: those of the containers whose entries have numbers for names: how many these are.
        shown: short ones of the parts, as a user would write them.
    """

    parts: Mapping[str, str]
    containers: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    bound: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, int] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)


TYPE = ":type"
"""How the name of a container as a part ends: what it is, apart from what it holds."""

WHOLE = "skeleton"
"""The one part of a file whose format says nothing about parts: the bytes around the tensors."""


def undivided(digest: str) -> Remainder:
    """The remainder of a file as one part."""
    return Remainder({WHOLE: digest})


@runtime_checkable
class Divisible(Protocol):
    """A format that says what is in a file besides tensors, and writes what a merge makes of it.

    The interface of formats (see `checkpoints.layout.Format`) does not ask for this: what is no tensor in a
    file of another format is one part.
    """

    def remainder(self, skeleton: bytes) -> Remainder:
        """The parts of a file with this skeleton.

        Raises:
            ThetaError: it cannot be read.
        """
        ...

    def write_merged(
        self,
        target: BinaryIO,
        tensors: Sequence[tuple[str, Tensor]],
        skeletons: Mapping[int, bytes],
        like: int,
        chosen: Mapping[str, int],
    ) -> None:
        """Write a file, as `Format.write` does, with parts of several files.

        Args:
            skeletons: of files of this format, by number.
            like: the number of the file that the result is like, but for what is chosen.
            chosen: for every part and every tensor of these files and the result, the number of the file that
                says whether the result has it, and if so what it is but for a tensor's bytes.

        Raises:
            ThetaError: the format cannot hold this, or a part has no place in the result.
        """
        ...
