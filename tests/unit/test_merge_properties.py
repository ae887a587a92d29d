"""What must hold for strategies whatever the numbers."""

import pytest

from git_theta.merges import registry
from git_theta.merges.in_memory import merge_tensors

torch = pytest.importorskip("torch")

TASK_VECTORS = [name for name in registry.names() if registry.by_name(name).base == "required"]
RANDOM = {"dare-linear", "dare-ties", "della", "della-linear"}
SUMS = {"task-arithmetic", "breadcrumbs", "breadcrumbs-ties", "consensus"}
"""Of equal changes these make more than one of them."""

SPECTRAL = {"isotropic", "tsv"}
EXACT = {"average", "linear", "interpolate", "ours", "theirs", "passthrough", "slerp", "karcher"}
WITH_LAMBDA = [
    name for name in TASK_VECTORS if "lambda_" in registry.by_name(name).options.__dataclass_fields__
]
SYMMETRIC = [
    "average",
    "karcher",
    "task-arithmetic",
    "ties",
    "breadcrumbs",
    "breadcrumbs-ties",
    "sce",
    "model-stock",
    "ram",
    "ramplus-tl",
    "consensus",
    "isotropic",
    "tsv",
]


def tensors(count, dtype=torch.bfloat16, seed=0, shape=(16, 12)):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    models = [base + 0.1 * torch.randn(shape, generator=generator) for _ in range(count)]
    return base.to(dtype), [model.to(dtype) for model in models]


def merged(name, base, models, **options):
    strategy = registry.by_name(name)
    statistics = ()
    if name == "fisher":
        options["fisher"] = ("a:b",) * len(models)
        statistics = [torch.rand(base.shape, generator=torch.Generator().manual_seed(1)) for _ in models]
    return merge_tensors(strategy, base, models, strategy.options(**options), statistics=statistics)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (name, count)
        for name in sorted(set(registry.names()) - RANDOM - SUMS - SPECTRAL - {"base"})
        for count in (2, 3)
        if count <= (registry.by_name(name).most or count)
    ],
)
def test_equal_models_give_that_model(name, count, subtests):
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        with subtests.test(dtype=dtype):
            base, [model] = tensors(1, dtype)
            result = merged(name, base, [model] * count)
            if dtype == torch.float32 and name not in EXACT:
                torch.testing.assert_close(result, model, rtol=1e-6, atol=1e-6)
            else:
                assert torch.equal(result, model)


@pytest.mark.parametrize("name", TASK_VECTORS)
def test_models_that_changed_nothing_give_the_base(name):
    base, _ = tensors(0)
    assert torch.equal(merged(name, base, [base, base]), base)


@pytest.mark.parametrize("name", WITH_LAMBDA)
def test_lambda_zero_gives_the_base(name):
    base, models = tensors(2)
    assert torch.equal(merged(name, base, models, lambda_=0.0), base)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_order_of_models_does_not_matter(name):
    base, models = tensors(3, torch.float64)
    result = merged(name, base, models)
    for order in ((1, 0, 2), (2, 1, 0)):
        again = merged(name, base, [models[place] for place in order])
        torch.testing.assert_close(again, result, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["linear", "multislerp", "ties", "della"])
def test_normalised_weights_can_be_scaled(name):
    base, models = tensors(3, torch.float64)
    one = merged(name, base, models, weight=(1.0, 2.0, 3.0))
    other = merged(name, base, models, weight=(10.0, 20.0, 30.0))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "option"), [("interpolate", "alpha"), ("slerp", "t")])
def test_the_ends_of_an_interpolation(name, option):
    base, (ours, theirs) = tensors(2)
    assert torch.equal(merged(name, base, [ours, theirs], **{option: 0.0}), ours)
    assert torch.equal(merged(name, base, [ours, theirs], **{option: 1.0}), theirs)


def test_forms_of_interpolation_are_each_other():
    base, models = tensors(2, torch.float64)
    line = merged("interpolate", base, models, alpha=0.25)
    torch.testing.assert_close(line, merged("interpolate", base, models, a=0.75, b=0.25))
    torch.testing.assert_close(
        merged("interpolate", base, models, beta=0.5), merged("interpolate", base, models, a=1.0, b=0.5)
    )


def test_relatives_agree():
    base, models = tensors(2, torch.float64)
    average = merged("average", base, models)
    for name in ("linear", "interpolate"):
        torch.testing.assert_close(merged(name, base, models), average)
    half = merged("task-arithmetic", base, models, lambda_=0.5)
    torch.testing.assert_close(half, average)
    torch.testing.assert_close(
        merged("dare-linear", base, models, density=(1.0,)), merged("task-arithmetic", base, models)
    )
    torch.testing.assert_close(
        merged("breadcrumbs", base, models, density=(1.0,)), merged("task-arithmetic", base, models)
    )
    equally_long = [model / model.norm() for model in models]
    torch.testing.assert_close(
        merged("nuslerp", base, equally_long, weight=(3.0, 1.0)),
        merged("multislerp", base, equally_long, weight=(3.0, 1.0)),
    )
    torch.testing.assert_close(
        merged("multislerp", base, models), merged("karcher", base, models, max_iter=1), rtol=1e-9, atol=1e-9
    )


def test_isotropic_has_one_singular_value():
    base, models = tensors(2, torch.float64, shape=(20, 8))
    values = torch.linalg.svdvals(merged("isotropic", base, models) - base)
    torch.testing.assert_close(values, values.mean().expand(8))


def test_isotropic_leaves_out_directions_that_nobody_used():
    base = torch.zeros(20, 8)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=generator) for shape in ((20, 2), (2, 8)))
    result = merged("isotropic", base, [left @ right, torch.zeros(20, 8)])
    values = torch.linalg.svdvals(result)
    torch.testing.assert_close(values[:2], values[0].expand(2))
    assert values[2] < 1e-5 * values[0]
