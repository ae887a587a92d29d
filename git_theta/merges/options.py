"""The options of strategies: declared as a frozen dataclass, parsed from `key=value`, checked, listed."""

from __future__ import annotations

import math
import shlex
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from git_theta.errors import ThetaError
from git_theta.merges.interface import Strategy

PerModel = Literal["each", "shares", "own"]
"""How an option with one value per model is filled up: a single value goes to every model (`each`); a single
value is the share of the first model, ours, and the others share the rest of 1, while no value at all is
equal shares (`shares`); or every model must be given its own (`own`)."""

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_ALIASES = {"weights": "weight"}


def option(
    default: Any,
    text: str,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    per_model: PerModel = "each",
) -> Any:
    """Declare one option: a field of a strategy's dataclass of options.

    The type is the field's annotation: float, int, bool, a Literal of texts, `float | None`, or a tuple of
    floats or texts with one value per model. A trailing underscore is left out of the name that users type.

    Args:
        text: what it does, for users.
        least, above, most, below: bounds of numbers.
        per_model: see PerModel; for tuples.
    """
    limits = {"least": least, "above": above, "most": most, "below": below}
    return field(default=default, metadata={"text": text, "limits": limits, "per_model": per_model})


@dataclass(frozen=True)
class NoOptions:
    """The options of a strategy that has none."""


@dataclass(frozen=True)
class OptionInfo:
    """One option, as users see it.

    Attributes:
        name: kebab-case.
        kind: of value, in words.
        default: as it would be typed; "" for none.
        text: what it does.
    """

    name: str
    kind: str
    default: str
    text: str


def describe(strategy: Strategy[Any]) -> list[OptionInfo]:
    """The options of a strategy, in the order in which they are declared."""
    hints = get_type_hints(strategy.options)
    return [
        OptionInfo(_name(one), _kind(one, hints[one.name]), _typed(one.default), one.metadata["text"])
        for one in fields(strategy.options)
    ]


def canonical(name: str) -> str:
    """The name of an option or a strategy as git-theta writes it: lower case, hyphens."""
    return name.strip().lower().replace("_", "-")


def parse_pairs(pairs: Iterable[str], origin: str) -> dict[str, str]:
    """Values by option name from texts `key=value`; a key that comes again adds to a list of values.

    Args:
        origin: where they come from, for messages: "-o", "rule 'lm_head.*: ours'".

    Raises:
        ThetaError: a text has no '='.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        name = _ALIASES.get(canonical(key), canonical(key))
        if not equals or not name:
            raise ThetaError(f"{origin}: {pair!r} is not of the form key=value", "for example: density=0.2")
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def has_option(strategy: Strategy[Any], name: str) -> bool:
    """Whether a strategy has an option of this canonical name."""
    return any(_name(one) == name for one in fields(strategy.options))


def parse(strategy: Strategy[Any], values: Mapping[str, str], origin: str) -> Any:
    """The options of a strategy from texts.

    Args:
        values: by canonical name.
        origin: where they come from, for messages.

    Returns:
        A strategy.options.

    Raises:
        ThetaError: unknown option, wrong value, or values that do not go together; lists what is valid.
    """
    known = {_name(one): one for one in fields(strategy.options)}
    hints = get_type_hints(strategy.options)
    arguments = {}
    for name, text in values.items():
        found = known.get(name)
        if found is None:
            raise ThetaError(
                f"{origin}: the strategy {strategy.name} has no option {name!r}",
                f"its options: {', '.join(known) or 'none'}; see: git theta strategies {strategy.name}",
            )
        try:
            arguments[found.name] = _value(found, hints[found.name], text.strip())
        except ValueError as error:
            raise ThetaError(
                f"{origin}: {name}={text} of {strategy.name}: {error}",
                f"see: git theta strategies {strategy.name}",
            ) from None
    try:
        return strategy.options(**arguments)
    except ThetaError as error:
        raise ThetaError(f"{origin}: {error.message}", error.remedy) from None


def fit(strategy: Strategy[Any], options: Any, count: int, chosen: Sequence[int] | None = None) -> Any:
    """Options with one value per model for every option that has them.

    Args:
        count: number of models that the options were written for.
        chosen: which of them take part; all by default.

    Raises:
        ThetaError: an option has another number of values.
    """
    changes = {}
    for one in fields(options):
        values = getattr(options, one.name)
        if isinstance(values, tuple):
            full = _per_model(strategy, one, values, count)
            changes[one.name] = full if chosen is None else tuple(full[index] for index in chosen)
    return replace(options, **changes) if changes else options


def render(strategy: Strategy[Any], options: Any) -> str:
    """A strategy and its options as one types them in a rule, those left at their defaults left out."""
    words = [strategy.name]
    for one in fields(options):
        value = getattr(options, one.name)
        if value != one.default:
            words.append(shlex.quote(f"{_name(one)}={_typed(value)}"))
    return " ".join(words)


def _name(one: Field[Any]) -> str:
    return one.name.rstrip("_").replace("_", "-")


def _kind(one: Field[Any], hint: Any) -> str:
    hint = _without_none(hint)
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    if get_origin(hint) is tuple:
        base = "texts" if get_args(hint)[0] is str else "numbers"
        return f"{base}, one per model"
    return {bool: "true|false", int: "integer", float: "number"}[hint]


def _typed(value: Any) -> str:
    """A value as one types it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(_typed(one) for one in value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _value(one: Field[Any], hint: Any, text: str) -> Any:
    """Raises ValueError, saying what is expected."""
    hint = _without_none(hint)
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ValueError(f"expected one of {', '.join(get_args(hint))}")
        return text
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return tuple(_value(one, inner, part.strip()) for part in text.split(","))
    if hint is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError("expected true or false")
        return text.lower() in _TRUE
    if hint is str:
        if not text:
            raise ValueError("expected a text")
        return text
    return _number(one, hint, text)


def _number(one: Field[Any], hint: Any, text: str) -> float | int:
    limits = one.metadata["limits"]
    try:
        number: float | int = hint(text)
    except ValueError:
        number = math.nan
    if not (
        math.isfinite(number)
        and limits["least"] <= number <= limits["most"]
        and limits["above"] < number < limits["below"]
    ):
        raise ValueError(f"expected {'an integer' if hint is int else 'a number'}{_range(limits)}")
    return number


def _range(limits: Mapping[str, float]) -> str:
    words = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
    parts = [f"{words[key]} {value:g}" for key, value in limits.items() if math.isfinite(value)]
    return f" {' and '.join(parts)}" if parts else ""


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(inner for inner in get_args(hint) if inner is not type(None))
    return hint


def _per_model(
    strategy: Strategy[Any], one: Field[Any], values: tuple[Any, ...], count: int
) -> tuple[Any, ...]:
    if len(values) == count:
        return values
    rule: PerModel = one.metadata["per_model"]
    if rule == "each" and len(values) == 1:
        return values * count
    if rule == "shares" and not values:
        return (1.0 / count,) * count
    if rule == "shares" and len(values) == 1:
        return (values[0], *((1.0 - values[0]) / (count - 1),) * (count - 1))
    raise ThetaError(
        f"{_name(one)}={_typed(values)} of {strategy.name}: {len(values)} values for {count} models",
        "give one value per model, ours first, with commas between them",
    )
