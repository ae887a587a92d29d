"""What every merge strategy must pass."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from git_theta.merges import registry
from git_theta.merges.in_memory import merge_tensors
from git_theta.merges.interface import Strategy
from git_theta.merges.options import describe, parse

if TYPE_CHECKING:
    import torch

_SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (7,), (6, 5), (3, 4, 2))


class StrategyContract:
    """The result is like ours, the same on every run, and nothing in it is spoiled by what is elsewhere."""

    options: Sequence[Mapping[str, str]] = ({},)
    """Options to try, as a user types them."""

    def strategy(self) -> Strategy[Any]:
        """A new instance of the strategy."""
        raise NotImplementedError

    def test_describes_itself(self) -> None:
        strategy = self.strategy()
        assert registry.flaw(strategy) == ""
        for name in ("summary", "formula", "reference", "use"):
            assert getattr(strategy, name), name
        for option in describe(strategy):
            assert option.text, option.name
        assert 1 <= strategy.least <= (strategy.most or strategy.least)
        # Strategies are listed without torch, which takes seconds to import.
        assert "torch" not in vars(sys.modules[type(strategy).__module__])

    def test_the_result_is_like_ours(self) -> None:
        torch = _torch()
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            for shape in _SHAPES:
                for result, models in self._merges(shape, dtype):
                    assert result.dtype == models[0].dtype, shape
                    assert result.shape == models[0].shape, shape

    def test_every_run_gives_the_same_bits(self) -> None:
        torch = _torch()
        for shape in ((40, 30), (1000,)):
            first = [result for result, _ in self._merges(shape, torch.float32, threads=1)]
            for threads in (1, 3):
                again = [result for result, _ in self._merges(shape, torch.float32, threads=threads)]
                assert all(map(torch.equal, first, again)), f"{shape} with {threads} threads"

    def test_inputs_stay_as_they_are(self) -> None:
        torch = _torch()
        for _, models in self._merges((6, 5), torch.float32):
            assert all(map(torch.equal, models, self._models((6, 5), torch.float32)))

    def test_models_that_did_not_change_stay_as_they_are(self) -> None:
        torch = _torch()
        same = self._models((6, 5), torch.float32)[0]
        for result, _ in self._merges((6, 5), torch.float32, [same] * self.strategy().least, same):
            torch.testing.assert_close(result, same)

    def test_what_is_not_finite_spoils_nothing_else(self) -> None:
        torch = _torch()
        models = self._models((6, 5), torch.float32)
        models[0][1, 2], models[-1][3, 0] = torch.nan, torch.inf
        whole = torch.stack(models).isfinite().all(0)
        for result, _ in self._merges((6, 5), torch.float32, models):
            assert result[whole].isfinite().all()

    def _models(self, shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
        torch = _torch()
        draw = torch.Generator().manual_seed(1)
        return [
            (torch.randn(shape, generator=draw) + 0.1 * number).to(dtype)
            for number in range(self.strategy().least)
        ]

    def _merges(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        models: Sequence[torch.Tensor] | None = None,
        base: torch.Tensor | None = None,
        threads: int = 2,
    ) -> list[tuple[torch.Tensor, Sequence[torch.Tensor]]]:
        """The result with each of the options, and the models that were merged."""
        torch, strategy = _torch(), self.strategy()
        models = self._models(shape, dtype) if models is None else models
        base = torch.full(shape, 0.05, dtype=dtype) if base is None else base
        statistics = [torch.ones(shape)] * len(models) if strategy.statistics else []
        found = []
        for values in self.options:
            options = parse(strategy, values, "options")
            result = merge_tensors(
                strategy, base, models, options, name="w", statistics=statistics, threads=threads
            )
            found.append((result, models))
        return found


def _torch() -> Any:
    """The module, without which the tests are left out."""
    import pytest

    return pytest.importorskip("torch")
