"""Strategies that take one side: nothing is computed, so they apply to tensors of every dtype."""

from __future__ import annotations

from dataclasses import dataclass

from git_theta.merges.interface import Coefficients, Strategy
from git_theta.merges.options import NoOptions, option


class Ours(Strategy[NoOptions]):
    name = "ours"
    summary = "Take our version."
    formula = "θ = ours"
    reference = "git merge -X ours"
    use = "One side is known to be right for these tensors."
    options = NoOptions
    least = 1
    takes = "ours"

    def coefficients(self, options: NoOptions, count: int) -> Coefficients:
        return Coefficients((0.0, 1.0, *(0.0,) * (count - 1)))


class Theirs(Strategy[NoOptions]):
    name = "theirs"
    summary = "Take their version; of two sides."
    formula = "θ = theirs"
    reference = "git merge -X theirs"
    use = "One side is known to be right for these tensors."
    options = NoOptions
    most = 2
    takes = "theirs"

    def coefficients(self, options: NoOptions, count: int) -> Coefficients:
        return Coefficients((0.0, 0.0, 1.0))


class Base(Strategy[NoOptions]):
    name = "base"
    summary = "Go back to the common ancestor."
    formula = "θ = base"
    reference = "git checkout --base of a conflict's path"
    use = "Both changes are unwanted: a head to be trained again, a counter."
    options = NoOptions
    base = "required"
    least = 1
    takes = "base"

    def coefficients(self, options: NoOptions, count: int) -> Coefficients:
        return Coefficients((1.0, *(0.0,) * count))


@dataclass(frozen=True)
class PassthroughOptions:
    scale: float = option(1.0, "factor on our tensor")


class Passthrough(Strategy[PassthroughOptions]):
    name = "passthrough"
    summary = "Take our version, scaled."
    formula = "θ = scale · ours"
    reference = "mergekit, passthrough"
    use = "Scaling single layers, for instance residual branches of stacked models."
    options = PassthroughOptions
    least = 1

    def coefficients(self, options: PassthroughOptions, count: int) -> Coefficients:
        return Coefficients((0.0, options.scale, *(0.0,) * (count - 1)))
