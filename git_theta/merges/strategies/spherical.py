"""Means on the sphere. All lie in the span of the models, so once the models' inner products are known the
result is a linear combination of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.merges import sums
from git_theta.merges.interface import Block, Blocks, Coefficients, Strategy, Unit
from git_theta.merges.options import option
from git_theta.merges.strategies.linear import normalized

if TYPE_CHECKING:
    import torch

_PARALLEL = 0.9995  # beyond this cosine the arc is as good as its chord
_COLLINEAR = 1e-8  # sine of an angle that is no angle


@dataclass(frozen=True)
class SlerpOptions:
    t: float = option(0.5, "ours at 0, theirs at 1")


class Slerp(Strategy[SlerpOptions]):
    name = "slerp"
    summary = "Move along the arc from ours to theirs rather than along the chord."
    formula = (
        "θ = sin((1−t)φ)/sin φ · ours + sin(tφ)/sin φ · theirs, φ the angle between them; "
        "a straight line where |cos φ| > 0.9995"
    )
    reference = "Animating Rotation with Quaternion Curves (Shoemake), 1985, doi:10.1145/325165.325242"
    use = "Two models far from each other, whose mean would be too short a vector."
    options = SlerpOptions
    most = 2

    def prepare(self, blocks: Blocks, options: SlerpOptions, survey: Any) -> Coefficients:
        gram = sums.gram(blocks, around_base=False)
        cosine = _cosine(gram, 0, 1)
        if abs(cosine) > _PARALLEL:
            return Coefficients((0.0, 1.0 - options.t, options.t))
        return Coefficients((0.0, *_arc(math.acos(cosine), options.t)))


@dataclass(frozen=True)
class NuslerpOptions:
    weight: tuple[float, ...] = option(
        (),
        "weight of each model; a single value is ours' share of 1; none is equal shares",
        per_model="shares",
    )
    nuslerp_flatten: bool = option(True, "take each tensor as one vector")
    nuslerp_row_wise: bool = option(
        False,
        "without flatten: vectors run along the first dimension, x[:, j], instead of x[i, :]; "
        "what has one dimension is one vector",
    )
    task_vectors: bool = option(False, "interpolate the task vectors and add the base again")


class Nuslerp(Strategy[NuslerpOptions]):
    name = "nuslerp"
    summary = "Slerp with weights, of whole tensors or of their rows or columns, also of task vectors."
    formula = "θ = slerp(ours, theirs; t), t = w₂/(w₁ + w₂); or base + slerp(τ₁, τ₂; t)"
    reference = "mergekit, nuslerp, 2024"
    use = "As slerp; with task-vectors=true for two fine-tunes of one base, which lie close together."
    options = NuslerpOptions
    base = "optional"
    most = 2

    def needs_base(self, options: NuslerpOptions) -> bool:
        return options.task_vectors

    def unit(self, options: NuslerpOptions) -> Unit:
        if options.nuslerp_flatten:
            return "element"
        return "tensor" if options.nuslerp_row_wise else "row"

    def prepare(self, blocks: Blocks, options: NuslerpOptions, survey: Any) -> Coefficients | None:
        if not options.nuslerp_flatten:
            return None
        gram = sums.gram(blocks, around_base=options.task_vectors)
        t, cosine = _turn(options), _cosine(gram, 0, 1)
        angle = math.acos(cosine)
        scales = _arc(angle, t) if math.sin(angle) >= _COLLINEAR else (1.0 - t, t)
        return _around(scales, options.task_vectors)

    def combine(self, block: Block, options: NuslerpOptions, state: None) -> torch.Tensor:
        import torch

        ours, theirs = (model.reshape(_matrix(model)) for model in block.models)
        base = None
        if options.task_vectors:
            assert block.base is not None
            base = block.base.reshape(ours.shape)
            ours, theirs = ours - base, theirs - base
        whole = block.models[0].ndim < 2  # one vector, whatever it would run along
        along = 0 if options.nuslerp_row_wise and not whole else 1
        t = _turn(options)
        one, other = sums.widest(ours), sums.widest(theirs)
        lengths = (one * one).sum(along, keepdim=True).sqrt() * (other * other).sum(
            along, keepdim=True
        ).sqrt()
        cosine = (
            (one * other).sum(along, keepdim=True) / lengths.clamp(min=torch.finfo(lengths.dtype).tiny)
        ).clamp(-1, 1)
        angle = torch.acos(cosine)
        sine = torch.sin(angle)
        bent = ((sine >= _COLLINEAR) & (lengths > 0)).to(sine.dtype)
        divisor = sine.clamp(min=_COLLINEAR)
        first = bent * torch.sin((1 - t) * angle) / divisor + (1 - bent) * (1 - t)
        second = bent * torch.sin(t * angle) / divisor + (1 - bent) * t
        result = ours * first.to(ours.dtype) + theirs * second.to(ours.dtype)
        if base is not None:
            result = base + result
        return result.reshape(block.models[0].shape)


@dataclass(frozen=True)
class MultislerpOptions:
    weight: tuple[float, ...] = option(
        (),
        "weight of each model; a single value is ours' share of 1; none is equal shares",
        per_model="shares",
    )
    normalize_weights: bool = option(True, "divide the weights by their sum")
    eps: float = option(1e-8, "lengths below this count as zero", above=0.0)
    task_vectors: bool = option(False, "interpolate the task vectors and add the base again")


class Multislerp(Strategy[MultislerpOptions]):
    name = "multislerp"
    summary = "Slerp of any number of models: one step towards their mean on the sphere."
    formula = (
        "uᵢ = θᵢ/‖θᵢ‖; m = Σ wᵢuᵢ, made a unit vector; θ = (Σ wᵢ‖θᵢ‖) exp_m(Σ wᵢ log_m uᵢ). "
        "With two models of one length this is slerp"
    )
    reference = "mergekit, multislerp, 2025"
    use = "As slerp, for more than two models."
    options = MultislerpOptions
    base = "optional"

    def needs_base(self, options: MultislerpOptions) -> bool:
        return options.task_vectors

    def prepare(self, blocks: Blocks, options: MultislerpOptions, survey: Any) -> Coefficients:
        weights = normalized(options.weight) if options.normalize_weights else options.weight
        gram = sums.gram(blocks, around_base=options.task_vectors)
        return _around(_spherical_mean(gram, weights, 1, options.eps), options.task_vectors)


@dataclass(frozen=True)
class KarcherOptions:
    max_iter: int = option(10, "steps at most", least=1, most=1000)
    tol: float = option(
        1e-5, "stop when a step is shorter than this; vectors shorter than this count as zero", above=0.0
    )


class Karcher(Strategy[KarcherOptions]):
    name = "karcher"
    summary = "The point of the sphere nearest to all models: their Karcher (Fréchet) mean."
    formula = "m ← exp_m((1/n) Σ log_m(θᵢ/‖θᵢ‖)) until it stays; θ = mean(‖θᵢ‖) · m"
    reference = (
        "Riemannian Center of Mass and Mollifier Smoothing (Karcher), 1977, doi:10.1002/cpa.3160300502"
    )
    use = "Averaging several models that are far from each other."
    options = KarcherOptions

    def prepare(self, blocks: Blocks, options: KarcherOptions, survey: Any) -> Coefficients:
        gram = sums.gram(blocks, around_base=False)
        equal = (1.0 / blocks.models,) * blocks.models
        return _around(_spherical_mean(gram, equal, options.max_iter, options.tol), False)


def _turn(options: NuslerpOptions) -> float:
    """How far from ours to theirs the weights lie."""
    return normalized(options.weight)[1]


def _arc(angle: float, t: float) -> tuple[float, float]:
    return math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _around(scales: Sequence[float], base: bool) -> Coefficients:
    """A combination of the models, or of their task vectors around the base."""
    return Coefficients((1.0 - math.fsum(scales) if base else 0.0, *scales))


def _cosine(gram: list[list[float]], i: int, j: int) -> float:
    """Of the angle between two models; 1 where one is zero."""
    length = math.sqrt(gram[i][i]) * math.sqrt(gram[j][j])
    return max(-1.0, min(1.0, gram[i][j] / length)) if length else 1.0


def _matrix(tensor: torch.Tensor) -> tuple[int, int]:
    return (tensor.shape[0], -1) if tensor.ndim > 1 else (1, -1)


def _spherical_mean(
    gram: list[list[float]], weights: Sequence[float], steps: int, tolerance: float
) -> list[float]:
    """Coefficients of the mean, by steps of the intrinsic gradient, from the models' inner products.

    Points are written in the models' directions uᵢ, of which only the inner products matter.
    """
    count = len(weights)
    lengths = [math.sqrt(gram[i][i]) for i in range(count)]
    valid = [i for i in range(count) if lengths[i] > tolerance]
    if not valid:
        return list(weights)
    unit = [[gram[i][j] / (lengths[i] * lengths[j]) for j in valid] for i in valid]
    share = normalized(tuple(weights[i] for i in valid))

    def dot(one: Sequence[float], other: Sequence[float]) -> float:
        return math.fsum(a * b * unit[i][j] for i, a in enumerate(one) for j, b in enumerate(other))

    def unit_vector(point: Sequence[float]) -> list[float]:
        length = math.sqrt(max(0.0, dot(point, point)))
        if length < tolerance:  # the models cancel each other out: start from the first
            return [1.0, *(0.0,) * (len(valid) - 1)]
        return [part / length for part in point]

    mean = unit_vector(share)
    axes = [[float(i == j) for j in range(len(valid))] for i in range(len(valid))]
    for _ in range(steps):
        step = [0.0] * len(valid)
        for weight, axis in zip(share, axes, strict=True):
            cosine = max(-1.0, min(1.0, dot(mean, axis)))
            angle = math.acos(cosine)
            sine = math.sin(angle)
            if sine < 1e-12:  # at the mean itself, or opposite to it, where no direction is better
                continue
            for j in range(len(valid)):
                step[j] += weight * angle / sine * (axis[j] - cosine * mean[j])
        length = math.sqrt(max(0.0, dot(step, step)))
        if length == 0.0:
            break
        mean = unit_vector(
            [math.cos(length) * m + math.sin(length) / length * s for m, s in zip(mean, step, strict=True)]
        )
        if length < tolerance:
            break
    scale = math.fsum(weight * length for weight, length in zip(weights, lengths, strict=True))
    result = [0.0] * count
    for place, i in enumerate(valid):
        result[i] = scale * mean[place] / lengths[i]
    return result
