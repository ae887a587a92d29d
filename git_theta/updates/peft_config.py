"""What peft's adapter_config.json says about an adapter.

It gives LoRA's scale: lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora ("A Rank Stabilization Scaling
Factor for Fine-Tuning with LoRA", arXiv:2312.03732). Its alpha_pattern and rank_pattern are matched as peft
does it: the first that fits the end of a module's name, as a regular expression, counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from git_theta.errors import ThetaError

# Ways to begin a LoRA in which peft takes the first product away from the weights, which are others then.
_CHANGED_WEIGHTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
_TYPES = ("LORA", "IA3", "TRAINABLE_TOKENS")
# Settings of LoRA's relatives that compute in other ways, or cannot be merged.
_NO_PLAIN_LORA = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "use_bdlora",
    "velora_config",
)
_REPEATED_GROUP, _REPETITION = re.compile(r"\)[*+{]"), re.compile(r"[*+{]")
_MOST_STEPS, _MOST_OPTIONAL, _MOST_BRANCHES, _MOST_GROUPS = 10**9, 12, 100, 5
_MOST = 1e300  # of a scale: any number larger is no scale
ELSEWHERE = "apply the adapter with the library that made it; git add then finds the update itself"


def check_understood(config: Mapping[str, Any]) -> None:
    """Refuse adapters of other kinds, and those that are for other weights than the model's."""
    kind = config.get("peft_type")
    if kind is not None and kind not in _TYPES:
        raise ThetaError(
            f"the adapter is of a kind that is not understood (peft_type is {kind!r})", ELSEWHERE
        )
    for key in _NO_PLAIN_LORA:
        if config.get(key):
            raise ThetaError(f"the adapter is of a kind that is not understood ({key} is set)", ELSEWHERE)
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

    def scale(self, rank: int) -> float:
        """How much a product of this rank counts; 1 where nothing is said."""
        if self.alpha is None:
            return 1.0
        return self.alpha / (sqrt(rank) if self.stabilised else rank)

    @staticmethod
    def of(config: Mapping[str, Any] | None, module: str) -> Config:
        if config is None:
            return Config(None, None, False, False, False)
        alpha = _of_pattern(config, "alpha_pattern", module, config.get("lora_alpha", 8))
        rank = _of_pattern(config, "rank_pattern", module, config.get("r"))
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not -_MOST < alpha < _MOST:
            raise ValueError(f"lora_alpha is {str(alpha)[:40]!r}")
        if rank is not None and type(rank) is not int:
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


def token_rows(config: Mapping[str, Any] | None, module: str) -> list[int]:
    """The rows of an embedding that were trained: trainable_token_indices, or token_indices of their kind."""
    own, beside = ((config or {}).get(key) for key in ("token_indices", "trainable_token_indices"))
    given = own if own is not None else beside
    if isinstance(given, dict):
        names = [name for name in given if module == name or module.endswith(f".{name}")]
        given = given[names[0]] if names else None
    if not isinstance(given, list) or not all(type(row) is int for row in given):
        raise ValueError("adapter_config.json does not say which of its rows were trained")
    return given


def by_input(config: Mapping[str, Any] | None, module: str) -> bool | None:
    """Whether (IA)³ scales a module's inputs, not its outputs; None where nothing is said."""
    given = (config or {}).get("feedforward_modules")
    if given is None:
        return None
    if isinstance(given, str):
        return _fits(given, module, "feedforward_modules", re.fullmatch)
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"feedforward_modules is {given!r}")
    return module.endswith(tuple(given))


def _fits(pattern: str, module: str, key: str, match: Callable[[str, str], re.Match[str] | None]) -> bool:
    if _takes_long(pattern, module):
        raise ValueError(f"{key} repeats too much in {pattern[:80]!r}")
    try:
        return match(pattern, module) is not None
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{key} has no regular expression in {pattern!r}: {error}") from None


def _takes_long(pattern: str, module: str) -> bool:
    """Whether to match a pattern may take longer than anybody waits: it comes with the adapter.

    What is repeated within a repetition takes time that doubles with each letter, and so do choices in a row.
    """
    repetitions, branches = len(_REPETITION.findall(pattern)), pattern.count("|")
    return (
        bool(_REPEATED_GROUP.search(pattern))
        or len(module) ** (1 + repetitions) > _MOST_STEPS
        or pattern.count("?") > _MOST_OPTIONAL
        or branches > _MOST_BRANCHES
        or (branches > 0 and pattern.count("(") > _MOST_GROUPS)
    )
