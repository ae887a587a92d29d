"""Linear combinations with given coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from git_theta.errors import ThetaError
from git_theta.merges.interface import Coefficients, Strategy
from git_theta.merges.options import option


def normalized(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Weights divided by their sum. Raises ThetaError where that is zero."""
    total = sum(weights)
    if total == 0:
        raise ThetaError(
            f"the weights {', '.join(map(str, weights))} add up to 0, and cannot be normalised",
            "give other weights, or normalize=false",
        )
    return tuple(weight / total for weight in weights)


_LORA = "merge the factors A and B of LoRA apart, or their products, which are cut to our rank"


@dataclass(frozen=True)
class AverageOptions:
    lora: Literal["apart", "product"] = option("apart", _LORA)


class Average(Strategy[AverageOptions]):
    name = "average"
    summary = "The mean of all models (a uniform soup)."
    formula = "θ = (1/n) Σᵢ θᵢ"
    reference = "Model Soups, 2022, arXiv:2203.05482"
    use = "Models fine-tuned from one base that are close to each other; the safe first choice."
    options = AverageOptions

    def coefficients(self, options: AverageOptions, count: int) -> Coefficients:
        return Coefficients((0.0, *(1.0 / count,) * count))


@dataclass(frozen=True)
class LinearOptions:
    weight: tuple[float, ...] = option(
        (),
        "weight of each model; a single value is ours' share of 1; none is equal shares",
        per_model="shares",
    )
    normalize: bool = option(True, "divide the weights by their sum")
    lora: Literal["apart", "product"] = option("apart", _LORA)


class Linear(Strategy[LinearOptions]):
    name = "linear"
    summary = "A weighted mean of all models."
    formula = "θ = Σᵢ wᵢ θᵢ / Σᵢ wᵢ (without the division if normalize=false)"
    reference = "Model Soups, 2022, arXiv:2203.05482"
    use = "As average, where one model deserves more weight."
    options = LinearOptions
    least = 1

    def coefficients(self, options: LinearOptions, count: int) -> Coefficients:
        weights = normalized(options.weight) if options.normalize else options.weight
        return Coefficients((0.0, *weights))


@dataclass(frozen=True)
class InterpolateOptions:
    alpha: float | None = option(None, "ours at 0 (default 0.5), theirs at 1; any real number")
    beta: float | None = option(None, "instead: ours + β (theirs − base)")
    a: float | None = option(None, "instead, with b: base + a (ours − base) + b (theirs − base)")
    b: float | None = option(None, "see a")

    def __post_init__(self) -> None:
        forms = (self.alpha is not None, self.beta is not None, self.a is not None or self.b is not None)
        if sum(forms) > 1:
            raise ThetaError(
                "alpha, beta, and a with b are three forms of interpolation that exclude each other",
                "give only one of them",
            )


class Interpolate(Strategy[InterpolateOptions]):
    name = "interpolate"
    summary = "A point on the line through ours and theirs, or on the plane through base, ours and theirs."
    formula = (
        "θ = (1 − α) ours + α theirs; or ours + β (theirs − base); "
        "or base + a (ours − base) + b (theirs − base)"
    )
    reference = (
        "Linear Interpolation in Parameter Space is Good Enough for Fine-Tuned Language Models, 2022, "
        "arXiv:2211.12092"
    )
    use = "Moving gradually from one model to another, or beyond it (α outside 0 to 1)."
    options = InterpolateOptions
    base = "optional"
    most = 2

    def needs_base(self, options: InterpolateOptions) -> bool:
        return options.beta is not None or options.a is not None or options.b is not None

    def coefficients(self, options: InterpolateOptions, count: int) -> Coefficients:
        if options.beta is not None:
            return Coefficients((-options.beta, 1.0, options.beta))
        if options.a is not None or options.b is not None:
            a, b = options.a or 0.0, options.b or 0.0
            return Coefficients((1.0 - a - b, a, b))
        alpha = 0.5 if options.alpha is None else options.alpha
        return Coefficients((0.0, 1.0 - alpha, alpha))


@dataclass(frozen=True)
class TaskArithmeticOptions:
    weight: tuple[float, ...] = option((1.0,), "weight of each task vector")
    normalize: bool = option(False, "divide the weights by their sum")
    lambda_: float = option(1.0, "factor on the sum of the task vectors")


class TaskArithmetic(Strategy[TaskArithmeticOptions]):
    name = "task-arithmetic"
    summary = "Add the weighted changes of all models to the base."
    formula = "θ = base + λ Σᵢ wᵢ τᵢ (wᵢ / Σⱼ wⱼ if normalize=true)"
    reference = "Editing Models with Task Arithmetic, 2022, arXiv:2212.04089"
    use = "Fine-tunes for different tasks; a negative weight takes a change away. Try λ of 0.3 to 1."
    options = TaskArithmeticOptions
    base = "required"
    least = 1

    def coefficients(self, options: TaskArithmeticOptions, count: int) -> Coefficients:
        weights = normalized(options.weight) if options.normalize else options.weight
        scaled = [options.lambda_ * weight for weight in weights]
        return Coefficients((1.0 - sum(scaled), *scaled))
