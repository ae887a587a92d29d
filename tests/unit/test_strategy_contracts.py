"""git-theta's own merge strategies pass what those of other packages must."""

from __future__ import annotations

from typing import Any

import pytest

from git_theta.merges import registry
from git_theta.merges.interface import Strategy
from git_theta.merges.strategies.linear import Average
from git_theta.testing import StrategyContract

OPTIONS = {
    "fisher": [{"fisher": "a,b"}],
    "interpolate": [{"alpha": "0.3"}],
    "linear": [{}, {"weight": "0.3"}],
    "ties": [{}, {"density": "0.5"}],
}


@pytest.mark.parametrize("name", registry.names())
class TestStrategies(StrategyContract):
    @pytest.fixture(autouse=True)
    def _named(self, name: str) -> None:
        self.name = name
        self.options = OPTIONS.get(name, [{}])

    def strategy(self) -> Strategy[Any]:
        return type(registry.by_name(self.name))()


class Writing(Average):
    """Spoils its inputs and depends on the number of threads."""

    calls = 0

    def coefficients(self, options: Any, count: int) -> None:
        return None

    def combine(self, block: Any, options: Any, state: Any) -> Any:
        Writing.calls += 1
        return block.models[0] + Writing.calls


class Poisoned(Average):
    def coefficients(self, options: Any, count: int) -> None:
        return None

    def unit(self, options: Any) -> Any:
        return "tensor"

    def combine(self, block: Any, options: Any, state: Any) -> Any:
        return block.models[0] / (block.models[0] != 0).all()


class Wordless(Average):
    use = ""


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (Writing, StrategyContract.test_every_run_gives_the_same_bits),
        (Writing, StrategyContract.test_models_that_did_not_change_stay_as_they_are),
        (Poisoned, StrategyContract.test_what_is_not_finite_spoils_nothing_else),
        (Wordless, StrategyContract.test_describes_itself),
    ],
)
def test_finds_the_mistake(wrong: type[Strategy[Any]], check: Any) -> None:
    class Of(StrategyContract):
        def strategy(self) -> Strategy[Any]:
            return wrong()

    with pytest.raises(AssertionError):
        check(Of())
