"""Taking one of several sides, by its name. It is in no list of strategies: it is about a merge's sides."""

from __future__ import annotations

from dataclasses import dataclass

from git_theta.merges.interface import Coefficients, Strategy
from git_theta.merges.options import option


@dataclass(frozen=True)
class SideOptions:
    name: str = option("", "of the side: as it is called in the merge, or its number, 1 for ours")


class NamedSide(Strategy[SideOptions]):
    """`side NAME`.

    Args:
        number: of the side, once a merge has said which one has that name; 0 before.
    """

    name = "side"
    summary = "Take the version of the side with a name: side NAME."
    formula = "θ = θₖ"
    reference = "mergekit, passthrough of one model"
    use = "Of several branches, one is known to be right for these tensors."
    options = SideOptions
    least = 1

    def __init__(self, number: int = 0) -> None:
        self.takes = f"{self.name} {number}" if number else None

    def coefficients(self, options: SideOptions, count: int) -> Coefficients:
        return Coefficients((0.0, *(float(options.name == str(side)) for side in range(1, count + 1))))
