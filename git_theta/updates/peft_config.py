"""What peft's adapter_config.json says about an adapter.

It gives LoRA's scale: lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora ("A Rank Stabilization Scaling
Factor for Fine-Tuning with LoRA", arXiv:2312.03732). Its alpha_pattern and rank_pattern are matched as peft
does it: the first that fits the end of a module's name, as a regular expression, counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from git_theta.errors import ThetaError

# Ways to begin a LoRA in which peft takes the first product away from the weights, which are others then.
_CHANGED_WEIGHTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
ELSEWHERE = "apply the adapter with the library that made it; git add then finds the update itself"


def check_weights(config: Mapping[str, Any]) -> None:
    """Refuse adapters that are for other weights than the model's."""
    begun = config.get("init_lora_weights")
    if isinstance(begun, str) and begun.startswith(_CHANGED_WEIGHTS):
        raise ThetaError(
            f"the adapter is for weights that peft changed when it began (init_lora_weights is {begun!r})",
            ELSEWHERE,
        )
    if config.get("layer_replication"):
        raise ThetaError(
            "the adapter is for a model whose layers peft repeats (layer_replication)", ELSEWHERE
        )


@dataclass(frozen=True)
class Config:
    """What adapter_config.json says about a module; alpha is None where there is no such file."""

    alpha: float | None
    rank: int | None
    stabilised: bool
    transposed: bool
    directed: bool

    @staticmethod
    def of(config: Mapping[str, Any] | None, module: str) -> Config:
        if config is None:
            return Config(None, None, False, False, False)
        alpha = _of_pattern(config, "alpha_pattern", module, config.get("lora_alpha", 8))
        rank = _of_pattern(config, "rank_pattern", module, config.get("r"))
        if not isinstance(alpha, (int, float)) or not isfinite(alpha):
            raise ValueError(f"lora_alpha is {alpha!r}")
        if rank is not None and not isinstance(rank, int):
            raise ValueError(f"r is {rank!r}")
        flags = (bool(config.get(name)) for name in ("use_rslora", "fan_in_fan_out", "use_dora"))
        return Config(float(alpha), rank, *flags)


def _of_pattern(config: Mapping[str, Any], patterns: str, module: str, otherwise: Any) -> Any:
    """What the first pattern that fits a module says; peft.utils.other.get_pattern_key."""
    given = config.get(patterns) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{patterns} is {given!r}")
    for pattern, value in given.items():
        if _fits(rf"(.*\.)?({pattern})$", module, patterns, re.match):
            return value
    return otherwise


def by_input(config: Mapping[str, Any] | None, module: str) -> bool | None:
    """Whether (IA)³ scales a module's inputs, not its outputs; None where nothing is said."""
    given = (config or {}).get("feedforward_modules")
    if given is None:
        return None
    if isinstance(given, str):
        return _fits(given, module, "feedforward_modules", re.fullmatch)
    return module.endswith(tuple(given))


def _fits(pattern: str, module: str, key: str, match: Callable[[str, str], re.Match[str] | None]) -> bool:
    try:
        return match(pattern, module) is not None
    except re.error as error:
        raise ValueError(f"{key} has no regular expression in {pattern!r}: {error}") from None
