"""Every strategy on tensors small enough to compute by hand."""

import math

import pytest

from git_theta.errors import ThetaError
from git_theta.merges import registry
from git_theta.merges.in_memory import merge_tensors
from git_theta.merges.options import parse

torch = pytest.importorskip("torch")

HALF = math.sqrt(0.5)
THIRD = math.sqrt(1 / 3)
ZERO2, ZERO3, ZERO4 = [0.0] * 2, [0.0] * 3, [0.0] * 4
T4 = [[4, -1, 3, 0.5], [2, 5, -4, 0.25]]
UP_TO_TEN = [[1, -2, 3, -4, 5, -6, 7, -8, 9, -10]]
ORTHOGONAL = [[[3, 0], [0, 0]], [[0, 0], [0, 1]]]

# strategy and options, base, models, result
BY_HAND = [
    ("ours", [9, 9], [[1, 2], [3, 6]], [1, 2]),
    ("theirs", [9, 9], [[1, 2], [3, 6]], [3, 6]),
    ("base", [9, 8], [[1, 2], [3, 6]], [9, 8]),
    ("passthrough scale=2", None, [[1, 2], [3, 6]], [2, 4]),
    ("passthrough scale=0", None, [[1, 2]], [0, 0]),
    ("average", None, [[1, 2], [3, 6]], [2, 4]),
    ("average", None, [[1, 2], [3, 6], [5, 4]], [3, 4]),
    ("linear", None, [[1, 2], [3, 6]], [2, 4]),
    ("linear weight=3,1", None, [[1, 2], [3, 6]], [1.5, 3]),
    ("linear weight=0.75", None, [[1, 2], [3, 6]], [1.5, 3]),
    ("linear weight=0.5", None, [[2, 2], [4, 8], [8, 4]], [4, 4]),
    ("linear weight=2,-1 normalize=false", None, [[1, 2], [3, 6]], [-1, -2]),
    ("interpolate", None, [[1, 2], [3, 6]], [2, 4]),
    ("interpolate alpha=-1", None, [[1, 2], [3, 6]], [-1, -2]),
    ("interpolate alpha=0", None, [[1, 2], [3, 6]], [1, 2]),
    ("interpolate alpha=1.5", None, [[1, 2], [3, 6]], [4, 8]),
    ("interpolate beta=0.5", [1, 1], [[1, 2], [3, 6]], [2, 4.5]),
    ("interpolate form=1 alpha=1.5", None, [[1, 2], [3, 6]], [4, 8]),
    ("interpolate form=1", None, [[1, 2], [3, 6]], [2, 4]),
    ("interpolate form=2 beta=0.5", [1, 1], [[1, 2], [3, 6]], [2, 4.5]),
    ("interpolate form=3 beta=0.5", [1, 1], [[1, 2], [3, 6]], [2, 3]),
    ("interpolate form=3 beta=-1", [1, 1], [[1, 2], [3, 6]], [-1, -3]),
    ("interpolate form=4 a=1 b=2", [1, 1], [[1, 2], [3, 6]], [5, 12]),
    ("interpolate form=4 b=1", [1, 1], [[1, 2], [3, 6]], [3, 6]),
    ("interpolate a=1 b=2", [1, 1], [[1, 2], [3, 6]], [5, 12]),
    ("interpolate b=1", [1, 1], [[1, 2], [3, 6]], [3, 6]),
    ("slerp", None, [[1, 0], [0, 1]], [HALF, HALF]),
    ("slerp t=0.3333333333333333", None, [[1, 0], [0, 1]], [math.sqrt(0.75), 0.5]),
    ("slerp t=0.25", None, [[1, 0], [2, 0]], [1.25, 0]),
    ("slerp", None, [[0, 0], [2, 4]], [1, 2]),
    ("nuslerp", None, [[2, 0], [0, 1]], [2 * HALF, HALF]),
    ("nuslerp weight=2,1", None, [[1, 0], [0, 1]], [math.sqrt(0.75), 0.5]),
    ("nuslerp task-vectors=true", [1, 1], [[2, 1], [1, 2]], [1 + HALF, 1 + HALF]),
    ("nuslerp nuslerp-flatten=false", None, [[[1, 0], [0, 1]], [[0, 1], [0, 3]]], [[HALF, HALF], [0, 2]]),
    (
        "nuslerp nuslerp-flatten=false nuslerp-row-wise=true",
        None,
        [[[1, 0], [0, 1]], [[0, 0], [1, 3]]],
        [[HALF, 0], [HALF, 2]],
    ),
    ("nuslerp nuslerp-flatten=false", None, [[[0, 0]], [[2, 4]]], [[1, 2]]),
    ("nuslerp nuslerp-flatten=false nuslerp-row-wise=true", None, [[2, 0], [0, 1]], [2 * HALF, HALF]),
    ("nuslerp nuslerp-flatten=false nuslerp-row-wise=true", None, [2, 4], 3),
    ("multislerp", None, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [THIRD, THIRD, THIRD]),
    ("multislerp weight=2,1", None, [[1, 0], [0, 1]], [math.sqrt(0.75), 0.5]),
    ("multislerp", None, [[2, 0], [0, 4]], [3 * HALF, 3 * HALF]),
    ("multislerp task-vectors=true", [1, 1], [[2, 1], [1, 2]], [1 + HALF, 1 + HALF]),
    ("multislerp weight=1,1 normalize-weights=false", None, [[1, 0], [0, 1]], [2 * HALF, 2 * HALF]),
    ("karcher", None, [[2, 0, 0], [0, 2, 0], [0, 0, 2]], [2 * THIRD, 2 * THIRD, 2 * THIRD]),
    ("karcher", None, [[1, 0], [0, 3]], [2 * HALF, 2 * HALF]),
    ("karcher", None, [[0, 0], [0, 0]], [0, 0]),
    ("task-arithmetic", [1, 1], [[2, 1], [1, 3]], [2, 3]),
    ("task-arithmetic lambda=0.5", [1, 1], [[2, 1], [1, 3]], [1.5, 2]),
    ("task-arithmetic weight=1,-1", [1, 1], [[2, 1], [1, 3]], [2, -1]),
    ("task-arithmetic weight=3,1 normalize=true", [0, 0], [[4, 0], [0, 4]], [3, 1]),
    ("task-arithmetic lambda=0", [1, 1], [[2, 1], [1, 3]], [1, 1]),
    ("ties density=0.5", ZERO4, T4, [4, 5, -4, 0]),
    ("ties", ZERO4, T4, [3, 5, -4, 0.375]),
    ("ties density=0.5 lambda=0.5", [1.0] * 4, [[x + 1 for x in t] for t in T4], [3, 3.5, -1, 1]),
    ("ties elect=count", ZERO4, T4, [3, 0, 0, 0.375]),
    ("ties normalize=false", ZERO4, T4, [6, 5, -4, 0.75]),
    ("ties density=0.5,0.25", ZERO4, T4, [4, 5, 3, 0]),
    ("ties weight=1,0.5", ZERO4, T4, [10 / 3, 5, 3, (0.5 + 0.125) / 1.5]),
    ("ties density=0.5 rescale=true", ZERO4, T4, [4 * 8.5 / 7, 6.25, -5, 0]),
    ("ties density=0.01", ZERO4, T4, [4, 5, 0, 0]),
    ("ties", [0, 0], [[1, 1], [-1, 2]], [0, 1.5]),
    ("ties density=0.5", ZERO4, [[2, -2, 2, 1]], [2, -2, 0, 0]),
    ("ties density=0.5", ZERO4, [[1, -1, -1, 1]], [1, -1, 0, 0]),
    ("ties density=0.75", ZERO4, [[0, -1, 0, 0]], [0, -1, 0, 0]),
    ("breadcrumbs density=0.5 gamma=0.25", ZERO4, [[1, -1, -1, 1]], [0, -1, -1, 0]),
    ("breadcrumbs density=0.5 gamma=0.25", ZERO4, [[2, 1, 2, -1]], [0, 1, 2, 0]),
    ("ties density=0.5 rescale=true", ZERO4, [[1, -1, -1, 1]], [2, -2, 0, 0]),
    ("breadcrumbs density=0.6 gamma=0.2", [0] * 10, UP_TO_TEN, [0, 0, 3, -4, 5, -6, 7, -8, 0, 0]),
    ("breadcrumbs density=0.9 gamma=0.5", [0] * 10, UP_TO_TEN, [*UP_TO_TEN[0][:9], 0]),
    ("breadcrumbs", ZERO4, T4, [6, 4, -1, 0.75]),
    ("breadcrumbs density=0.5 gamma=0.25", ZERO4, T4, [2, -1, -1, 0]),
    ("breadcrumbs density=0.5 gamma=0.25 normalize=true", ZERO4, T4, [1, -0.5, -0.5, 0]),
    ("breadcrumbs-ties density=0.5 gamma=0.25", ZERO4, T4, [2, -1, -4, 0]),
    ("breadcrumbs-ties", ZERO4, T4, [6, 5, -4, 0.75]),
    ("dare-linear density=1", ZERO4, T4, [6, 4, -1, 0.75]),
    ("dare-ties density=1", ZERO4, T4, [6, 5, -4, 0.75]),
    ("dare-ties density=1 normalize=true", ZERO4, T4, [3, 5, -4, 0.375]),
    ("della density=1 epsilon=0", ZERO4, T4, [3, 5, -4, 0.375]),
    ("della-linear density=1 epsilon=0", ZERO4, T4, [6, 4, -1, 0.75]),
    ("sce", ZERO2, [[1, 2], [3, -1]], [7 / 3, 2]),
    ("sce select-topk=0.5", ZERO2, [[1, 2], [3, -1]], [0, 2]),
    ("sce", ZERO2, [[0, 0], [0, 0]], [0, 0]),
    ("sce select-topk=0.5", ZERO4, [[1, 1, 2, 3], [-3, -3, -2, 5]], [-3, -3, 0, 0]),
    ("sce select-topk=0.75", ZERO4, [[1, 2, 1, 1], [1, 2, -3, 1]], [1, 2, -3, 0]),
    ("model-stock", ZERO2, [[1, 0], [0, 1]], [0, 0]),
    ("model-stock", ZERO2, [[1, 0], [1, 1]], [2 * HALF / (1 + HALF), HALF / (1 + HALF)]),
    ("model-stock", [1, 1], [[2, 1], [2, 1], [2, 1]], [2, 1]),
    ("model-stock", [1, 1], [[1, 1], [2, 1]], [1, 1]),
    (
        "model-stock filter-wise=true",
        [ZERO2, ZERO2],
        [[[1, 0], [2, 2]], [[0, 1], [2, 2]]],
        [[0, 0], [2, 2]],
    ),
    ("nearswap t=1", None, [ZERO4, [0.5, 2, -4, 0]], [0.5, 1, -1, 0]),
    ("arcee-fusion", None, [[0] * 8, [1, 2, 3, 4, 5, 6, 7, 100]], [0, 0, 0, 0, 0, 0, 0, 100]),
    ("arcee-fusion", None, [[0] * 4, [0, 0, 0, 0]], [0] * 4),
    ("ram", ZERO3, [[1, 0, 2], [3, 5, 0]], [2, 5, 2]),
    ("ram epsilon=1", ZERO3, [[1, 0, 2], [3, 5, 0]], [3, 5, 2]),
    ("ramplus-tl", ZERO3, [[1, 0, 2], [3, 5, 0]], [2, 5.1, 2.04]),
    ("ramplus-tl r=1 alpha=3", [0.0] * 5, [[1, 0, 2, 4, 6], [3, 5, 0, 4, 6]], [2, 20, 8, 4, 6]),
    ("magmax", ZERO3, [[1, -5, 2], [-3, 2, -2]], [-3, -5, 2]),
    ("magmax lambda=0.5", [1, 1], [[2, -4], [-2, 3]], [-0.5, -1.5]),
    ("consensus", ZERO2, [[1, 0.1], [1, 2]], [2, 0]),
    ("consensus k=1", ZERO2, [[1, 0.1], [1, 2]], [2, 2.1]),
    ("consensus tall-lambda=0.05", [1, 1], [[2, 1.1], [2, 3]], [3, 3.1]),
    ("isotropic", [ZERO2, ZERO2], ORTHOGONAL, [[2, 0], [0, 2]]),
    ("isotropic lambda=0.5", [[1, 0], [0, 0]], [[[4, 0], [0, 1]]], [[2, 0], [0, 1]]),
    ("isotropic", ZERO2, [[1, 2], [3, 6]], [2, 4]),
    ("isotropic", [ZERO3, ZERO3], [[[0, 0, 4], [0, -2, 0]]], [[0, 0, 3], [0, -3, 0]]),
    ("tsv", [ZERO2, ZERO2], ORTHOGONAL, [[3, 0], [0, 1]]),
    ("tsv", [ZERO2, ZERO2], [[[0, 2], [0, 0]], [[0, 0], [1, 0]]], [[0, 2], [1, 0]]),
    ("tsv", ZERO2, [[1, 2], [3, 6]], [2, 4]),
    ("tsv", [ZERO2, ZERO2], [[ZERO2, ZERO2], [ZERO2, ZERO2]], [ZERO2, ZERO2]),
]


@pytest.mark.parametrize(("text", "base", "models", "result"), BY_HAND)
def test_by_hand(text, base, models, result, subtests):
    for dtype in (torch.float32, torch.float64):
        with subtests.test(dtype=dtype):
            name, *pairs = text.split()
            strategy = registry.by_name(name)
            options = parse(strategy, dict(pair.split("=") for pair in pairs), "test")
            merged = merge_tensors(
                strategy,
                None if base is None else torch.tensor(base, dtype=dtype),
                [torch.tensor(model, dtype=dtype) for model in models],
                options,
            )
            assert merged.dtype == dtype
            expected = torch.tensor(result, dtype=dtype)
            torch.testing.assert_close(
                merged, expected, rtol=4e-7 if dtype == torch.float32 else 1e-14, atol=1e-7
            )


def test_every_strategy_has_an_answer_by_hand():
    tried = {text.split()[0] for text, *_ in BY_HAND} | {"fisher"}
    assert tried == set(registry.names())


def test_fisher_by_hand():
    strategy = registry.by_name("fisher")
    models = [torch.tensor([1.0, 2, 5, 8]), torch.tensor([3.0, 4, 6, 2])]
    fishers = [torch.tensor([1.0, 0, 0, 1e-30]), torch.tensor([3.0, 0, 7, 3e-30])]
    options = strategy.options(fisher=("a", "b"))
    merged = merge_tensors(strategy, None, models, options, statistics=fishers)
    torch.testing.assert_close(merged, torch.tensor([2.5, 3, 6, 3.5]))


def test_dare_keeps_about_the_density_and_scales_it_up():
    strategy = registry.by_name("dare-linear")
    base, ours = torch.zeros(10_000), torch.arange(1.0, 10_001)
    merged = merge_tensors(strategy, base, [ours], strategy.options(density=(0.25,)), name="w")
    kept = merged != 0
    torch.testing.assert_close(merged[kept], ours[kept] * 4)
    assert abs(int(kept.sum()) - 2500) < 200
    plain = merge_tensors(strategy, base, [ours], strategy.options(density=(0.25,), rescale=False), name="w")
    torch.testing.assert_close(plain[kept], ours[kept])
    other = merge_tensors(strategy, base, [ours], strategy.options(density=(0.25,), seed=1), name="w")
    assert not torch.equal(other != 0, kept)
    elsewhere = merge_tensors(strategy, base, [ours], strategy.options(density=(0.25,)), name="v")
    assert not torch.equal(elsewhere != 0, kept)


def test_della_keeps_large_changes_more_often():
    strategy = registry.by_name("della-linear")
    row = torch.tensor([[1.0, -3, 2], [5, 5, 4]])
    options = strategy.options(density=(0.5,), epsilon=(0.2,))
    torch.testing.assert_close(
        strategy.chances(row, options, 0), torch.tensor([[0.3, 0.7, 0.5], [0.5, 0.7, 0.3]])
    )
    ours = torch.arange(1.0, 1001).repeat(40, 1)
    options = strategy.options(density=(0.5,), epsilon=(0.4,), rescale=False)
    kept = merge_tensors(strategy, torch.zeros(40, 1000), [ours], options) != 0
    assert kept[:, :100].float().mean() < 0.2
    assert kept[:, 900:].float().mean() > 0.8


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("interpolate", {"alpha": 0.5, "beta": 1.0}),
        ("interpolate", {"beta": 0.5, "a": 1.0}),
        ("interpolate", {"form": 3, "alpha": 0.5}),
        ("interpolate", {"form": 1, "beta": 0.5}),
        ("interpolate", {"form": 3}),
        ("della", {"density": (0.9,), "epsilon": (0.2,)}),
        ("della-linear", {"density": (0.5, 0.1), "epsilon": (0.15,)}),
    ],
)
def test_options_that_exclude_each_other(name, values):
    with pytest.raises(ThetaError):
        registry.by_name(name).options(**values)


def test_weights_that_add_up_to_nothing():
    for name in ("linear", "task-arithmetic", "nuslerp", "multislerp", "breadcrumbs"):
        strategy = registry.by_name(name)
        values = {"normalize": "true"} if name in ("task-arithmetic", "breadcrumbs") else {}
        options = parse(strategy, {"weight": "1,-1", **values}, "test")
        with pytest.raises(ThetaError, match="add up to 0"):
            merge_tensors(strategy, torch.zeros(2), [torch.ones(2), torch.ones(2)], options)
