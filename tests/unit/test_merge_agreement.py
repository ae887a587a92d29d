"""Every strategy against its definition in float64 (merge_reference), on random tensors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_reference import REFERENCES

from git_theta.merges import registry
from git_theta.merges.in_memory import merge_tensors

torch = pytest.importorskip("torch")

DTYPES = {
    "float32": 2e-6,
    "float64": 1e-12,
    "bfloat16": 2**-8,
    "float16": 2**-11,
    "float8_e4m3fn": 2**-4,
    "float8_e5m2": 2**-3,
    "float8_e4m3fnuz": 2**-4,
    "float8_e5m2fnuz": 2**-3,
}
"""Relative error that is allowed: half a unit in the last place, but for the widest two, where it is what
computing in them costs."""

SHAPES = [(), (1,), (7,), (40,), (1, 1), (1, 9), (9, 1), (5, 8), (8, 5), (12, 12), (2, 3, 4)]

OPTIONS = {
    "linear": [{}, {"weight": (0.75,)}, {"weight": (1.0, 2.0, 1.0)}, {"normalize": False}],
    "interpolate": [
        {},
        {"alpha": 1.5},
        {"alpha": -0.25},
        {"beta": 0.5},
        {"form": 3, "beta": 0.5},
        {"a": 0.5, "b": -1.0},
    ],
    "passthrough": [{}, {"scale": -0.5}],
    "slerp": [{}, {"t": 0.25}, {"t": 1.5}],
    "nuslerp": [
        {},
        {"weight": (3.0, 1.0), "task_vectors": True},
        {"nuslerp_flatten": False},
        {"nuslerp_flatten": False, "nuslerp_row_wise": True, "task_vectors": True},
    ],
    "multislerp": [{}, {"weight": (1.0, 2.0, 1.0)}, {"task_vectors": True}],
    "karcher": [{}, {"max_iter": 1}, {"tol": 1e-9}],
    "task-arithmetic": [{}, {"lambda_": 0.5}, {"weight": (0.5, -1.0, 2.0)}, {"normalize": True}],
    "ties": [
        {},
        {"density": (0.5,)},
        {"density": (0.5, 0.25, 1.0), "elect": "count"},
        {"density": (0.75,), "rescale": True, "lambda_": 0.5},
        {"normalize": False},
        {"weight": (0.5, 2.0, -1.0)},
    ],
    "breadcrumbs": [{}, {"density": (0.5,), "gamma": (0.25,)}, {"density": (0.5,), "rescale": True}],
    "breadcrumbs-ties": [{}, {"density": (0.5,), "gamma": (0.25,)}, {"normalize": True}],
    "dare-linear": [{}, {"density": (0.25,), "seed": 3}, {"rescale": False, "normalize": True}],
    "dare-ties": [{}, {"density": (0.75,)}, {"normalize": True, "lambda_": 0.5}],
    "della": [{}, {"density": (0.5,), "epsilon": (0.25,), "rescale": False}],
    "della-linear": [{}, {"density": (0.75,), "epsilon": (0.25,), "seed": 7}],
    "sce": [{}, {"select_topk": 0.5}, {"select_topk": 0.125}],
    "model-stock": [{}, {"filter_wise": True}],
    "nearswap": [{"t": 0.5}, {"t": 0.001}],
    "ram": [{}, {"epsilon": 0.5}],
    "ramplus-tl": [{}, {"epsilon": 0.5, "r": 0.5, "alpha": 2.0}],
    "magmax": [{}, {"lambda_": 0.5}],
    "consensus": [{}, {"k": 1}, {"tall_lambda": 0.25, "k": 3}],
    "isotropic": [{}, {"lambda_": 0.5}],
    "tsv": [{}, {"lambda_": 0.5}],
    "fisher": [{}, {"weight": (0.75,)}],
}

ON_GRID = {
    "consensus",
    "sce",
    "ties",
    "dare-ties",
    "della",
    "breadcrumbs-ties",
    "magmax",
    "ram",
    "ramplus-tl",
}
"""Strategies that jump where sums are equal: inputs are multiples of 1/64, whose sums are exact."""


def random_inputs(name, shape, count, dtype, seed):
    """Base, models and further tensors of a dtype."""
    rng = np.random.default_rng(seed)

    def draw(scale):
        values = rng.normal(size=shape) * scale
        if name in ON_GRID:
            values = np.round(values * 64) / 64
        return torch.from_numpy(np.asarray(values)).to(dtype)

    base = draw(1.0)
    return base, [(base.double() + draw(0.5).double()).to(dtype) for _ in range(count)]


def compare(name, options, shape, count, dtype_name, seed):
    strategy = registry.by_name(name)
    dtype = getattr(torch, dtype_name)
    base, models = random_inputs(name, shape, count, dtype, seed)
    wide = base.double().numpy(), [model.double().numpy() for model in models]
    further, typed = {}, dict(options)
    if name == "fisher":
        fishers = [torch.from_numpy(np.random.default_rng(seed + i).random(shape)) for i in range(count)]
        further, typed["fisher"] = {"fishers": [one.numpy() for one in fishers]}, ("x:y",) * count
    else:
        fishers = []
    if "seed" in {field.name for field in strategy.options.__dataclass_fields__.values()}:
        further["name"] = "layer.weight"
    with np.errstate(all="ignore"):
        expected = REFERENCES[name](*wide, **options, **further)
    merged = merge_tensors(
        strategy, base, models, strategy.options(**typed), name="layer.weight", statistics=fishers
    )
    assert merged.dtype == dtype
    assert merged.shape == base.shape
    found = merged.double().numpy()
    scale = max(np.abs(wide[0]).max(), *(np.abs(model).max() for model in wide[1]), 1.0)
    allowed = DTYPES[dtype_name] * 1.01
    absolute = scale * (allowed if dtype.itemsize > 2 else 4e-6)
    if dtype.itemsize == 1:
        absolute = 2**-6
        limit = torch.finfo(dtype).max
        expected = np.clip(expected, -limit, limit)
    np.testing.assert_allclose(found, expected, rtol=allowed, atol=absolute)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data(), shape=st.sampled_from(SHAPES), seed=st.integers(0, 10_000))
def test_agrees_with_its_definition(name, data, shape, seed):
    strategy = registry.by_name(name)
    options = data.draw(st.sampled_from(OPTIONS.get(name, [{}])))
    fixed = {len(value) for value in options.values() if isinstance(value, tuple)} - {1}
    most = strategy.most or 4
    count = fixed.pop() if fixed else data.draw(st.integers(max(2, strategy.least), most))
    compare(name, options, shape, count, data.draw(st.sampled_from(["float32", "float64"])), seed)


@pytest.mark.parametrize("name", sorted(set(REFERENCES) - ON_GRID - {"arcee-fusion", "della-linear"}))
def test_every_float_dtype(name, subtests):
    for dtype in DTYPES:
        with subtests.test(dtype=dtype):
            compare(name, {}, (6, 10), 2, dtype, 5)


@pytest.mark.parametrize("name", sorted(ON_GRID | {"della-linear"}))
def test_strategies_that_jump_in_narrow_dtypes(name, subtests):
    for dtype in ("bfloat16", "float16", "float8_e4m3fn"):
        with subtests.test(dtype=dtype):
            compare(name, {}, (6, 10), 2, dtype, 5)


def test_names_of_references():
    assert sorted(REFERENCES) == registry.names()


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_empty_tensors(name, subtests):
    for shape in ((0,), (0, 4), (4, 0)):
        with subtests.test(shape=shape):
            strategy = registry.by_name(name)
            options = strategy.options(fisher=("a", "b")) if name == "fisher" else strategy.options()
            empty = torch.zeros(shape, dtype=torch.bfloat16)
            merged = merge_tensors(strategy, empty, [empty, empty], options, statistics=[empty, empty])
            assert merged.shape == shape
            assert merged.dtype == torch.bfloat16
