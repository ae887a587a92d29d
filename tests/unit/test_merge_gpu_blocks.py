"""What merges on a GPU do, tried on the CPU: the same bits, in long ranges, rounded by torch."""

import numpy as np
import pytest

from git_theta.merges import engine, gpu_blocks, registry
from git_theta.merges.gpu_blocks import DeviceBlocks
from git_theta.merges.in_memory import merge_tensors

torch = pytest.importorskip("torch")

SUMMED = {"karcher", "multislerp", "nuslerp", "model-stock", "sce", "slerp"}
"""Their sums are added in blocks of other sizes, which float64 results show."""

BLOCKWISE = [name for name in registry.names() if name not in ("isotropic", "tsv")]
CASES = [
    (torch.bfloat16, False),
    (torch.bfloat16, True),
    (torch.float16, False),
    (torch.float32, True),
    (torch.float64, True),
    (torch.float8_e4m3fn, True),
    (torch.float8_e4m3fnuz, False),
    (torch.float8_e5m2, True),
    (torch.float8_e5m2fnuz, False),
]


@pytest.fixture
def on_device(monkeypatch):
    """Merges with DeviceBlocks, with ranges of a few rows."""

    def blocks(run, job, target, keep):
        return DeviceBlocks(job, run._crew, job.strategy.needs_base(job.options), keep, target)

    def switch():
        monkeypatch.setattr(engine._Run, "_blocks", blocks)
        monkeypatch.setattr(gpu_blocks, "_RANGE", 500)

    return switch


def inputs(dtype, holes):
    rng = np.random.default_rng(0)
    base = torch.from_numpy(rng.normal(size=(40, 30)))
    models = [base + torch.from_numpy(0.1 * rng.normal(size=(40, 30))) for _ in range(2)]
    if holes:
        base[3, 4] = models[0][20, 5] = float("nan")
        models[0][30, 1] = models[1][30, 1] = float("-inf") if "fn" not in str(dtype) else float("nan")
    return base.to(dtype), [model.to(dtype) for model in models]


def merged(name, base, models):
    strategy = registry.by_name(name)
    values = {"ties": {"density": (0.2,)}, "sce": {"select_topk": 0.5}, "fisher": {"fisher": ("a", "b")}}
    statistics = [model.double().abs().to(base.dtype) for model in models] if name == "fisher" else ()
    options = strategy.options(**values.get(name, {}))
    return merge_tensors(strategy, base, models, options, name="w", statistics=statistics)


@pytest.mark.parametrize("name", BLOCKWISE)
def test_the_same_as_on_the_cpu(name, on_device, subtests):
    on_the_cpu = [merged(name, *inputs(dtype, holes)) for dtype, holes in CASES]
    on_device()
    for (dtype, holes), expected in zip(CASES, on_the_cpu, strict=True):
        with subtests.test(dtype=dtype, holes=holes):
            found = merged(name, *inputs(dtype, holes))
            if name in SUMMED and dtype == torch.float64:
                torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14, equal_nan=True)
            else:
                signed = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[found.element_size()]
                assert torch.equal(found.view(signed), expected.view(signed))


def test_inputs_are_copied_once(on_device):
    base, models = inputs(torch.bfloat16, False)
    uploads = []
    on_device()
    original = DeviceBlocks._upload
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceBlocks, "_upload", lambda *a: uploads.append(a) or original(*a))
        merged("ties", base, models)
    ranges = -(-1200 // 500)
    assert len(uploads) == 3 * ranges
