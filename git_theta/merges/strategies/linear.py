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


_OPTIONS = {1: ("alpha",), 2: ("beta",), 3: ("beta",), 4: ("a", "b")}
"""Of each form of interpolation."""


@dataclass(frozen=True)
class InterpolateOptions:
    alpha: float | None = option(None, "ours at 0 (default 0.5), theirs at 1; any real number")
    beta: float | None = option(None, "instead: ours + β (theirs − base), or form 3")
    a: float | None = option(None, "instead, with b: base + a (ours − base) + b (theirs − base)")
    b: float | None = option(None, "see a")
    form: int | None = option(
        None,
        "which of the formulas, by number: 1 with alpha, 2 and 3 with beta, 4 with a and b; without it, what "
        "is given says which: 1, 2 or 4",
        least=1,
        most=4,
    )

    @property
    def which(self) -> int:
        """The number of the formula."""
        if self.form is not None:
            return self.form
        return 2 if self.beta is not None else 4 if self.a is not None or self.b is not None else 1

    def __post_init__(self) -> None:
        forms = (self.alpha is not None, self.beta is not None, self.a is not None or self.b is not None)
        if sum(forms) > 1:
            raise ThetaError(
                "alpha, beta, and a with b are three forms of interpolation that exclude each other",
                "give only one of them",
            )
        given = {name for name in ("alpha", "beta", "a", "b") if getattr(self, name) is not None}
        wrong = sorted(given - set(_OPTIONS[self.which]))
        if wrong:
            words = " and ".join(_OPTIONS[self.which])
            raise ThetaError(f"form={self.form} has no {wrong[0]}", f"give {words} with it, or another form")
        if self.form in (2, 3) and self.beta is None:
            raise ThetaError(f"form={self.form} needs beta", f"give -o form={self.form} -o beta=0.5")


class Interpolate(Strategy[InterpolateOptions]):
    name = "interpolate"
    summary = "A point on the line through ours and theirs, or on the plane through base, ours and theirs."
    formula = (
        "θ = 1: (1 − α) ours + α theirs; 2: ours + β (theirs − base); 3: base + β (theirs − ours); "
        "4: base + a (ours − base) + b (theirs − base)"
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
        return options.which != 1

    def coefficients(self, options: InterpolateOptions, count: int) -> Coefficients:
        beta = options.beta or 0.0
        if options.which == 2:
            return Coefficients((-beta, 1.0, beta))
        if options.which == 3:
            return Coefficients((1.0, -beta, beta))
        if options.which == 4:
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
