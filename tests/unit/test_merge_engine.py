"""The engine: same bits always, bounded memory, ranges, holes, rows, interruption."""

import os
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.manifest import TensorLine
from git_theta.merges import cpu_blocks, engine, inputs, registry
from git_theta.merges.arithmetic import arithmetic_for, linear_coefficients
from git_theta.merges.decisions import Combination, Decision
from git_theta.merges.device import check_name, choose, computes_in
from git_theta.merges.engine import merge
from git_theta.merges.inputs import Job
from git_theta.merges.jobs import job
from git_theta.merges.options import fit
from git_theta.tensors import ArrayTensor
from git_theta.values import from_float, to_float

torch = pytest.importorskip("torch")

FLOATS = [
    "BF16",
    "F16",
    "F32",
    "F64",
    "F8_E4M3",
    "F8_E4M3FNUZ",
    "F8_E5M2",
    "F8_E5M2FNUZ",
]


class Stored:
    """A tensor that is not simply in memory; counts what is read."""

    def __init__(self, tensor):
        self.tensor, self.dtype, self.shape, self.items = tensor, tensor.dtype, tensor.shape, tensor.items
        self.read_items = 0

    def read(self, start, stop, out=None):
        self.read_items += stop - start
        return self.tensor.read(start, stop, out)


def tensor(values, kind="F32"):
    """A tensor of a dtype from numbers."""
    values = np.asarray(values)
    wide = np.float64 if dtype(kind).itemsize == 8 else np.float32
    bits = from_float(np.ascontiguousarray(values, wide).reshape(-1), dtype(kind))
    return ArrayTensor(dtype(kind), values.shape, bits)


def numbers(found):
    return to_float(found.bits, found.dtype).reshape(found.shape)


def random_job(
    name="average", count=2, shape=(300, 40), kind="BF16", seed=0, wrap=lambda one: one, **options
):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=shape)
    models = [base + 0.1 * rng.normal(size=shape) for _ in range(count)]
    strategy = registry.by_name(name)
    if name == "fisher":
        options["fisher"] = ("x:y",) * count
    statistics = [rng.random(shape) for _ in models] if name == "fisher" else []
    return Job(
        "layer.weight",
        strategy,
        fit(strategy, strategy.options(**options), count),
        wrap(tensor(base, kind)),
        tuple(wrap(tensor(model, kind)) for model in models),
        dtype(kind),
        tuple(wrap(tensor(one, kind)) for one in statistics),
    )


def result(one, **arguments):
    [made] = [made.tensor.bits.copy() for made in merge([one], **arguments)]
    return made


@pytest.fixture
def small_ranges(monkeypatch):
    """Many ranges and blocks even in small tensors."""
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 1 << 12)
    monkeypatch.setattr(cpu_blocks, "_BLOCK", 1 << 10)


def options_for(name):
    return {"ties": {"density": (0.2,)}, "sce": {"select_topk": 0.5}}.get(name, {})


@pytest.mark.parametrize("name", registry.names())
def test_the_same_bits_for_any_number_of_threads(name, small_ranges):
    before = torch.get_num_threads()
    try:
        found = []
        for threads, torch_threads in ((1, 1), (2, 2), (3, 4)):
            torch.set_num_threads(torch_threads)
            found.append(result(random_job(name, **options_for(name)), threads=threads).tobytes())
            assert torch.get_num_threads() == torch_threads
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", registry.names())
def test_ranges_do_not_show_in_the_result(name, monkeypatch):
    whole = result(random_job(name, **options_for(name)))
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 1 << 12)
    monkeypatch.setattr(cpu_blocks, "_BLOCK", 1 << 10)
    assert result(random_job(name, wrap=Stored, **options_for(name))).tobytes() == whole.tobytes()


def test_stored_tensors_are_read_once_where_they_fit():
    one = random_job("ties", wrap=Stored, density=(0.2,))
    result(one)
    assert [read.read_items for read in (one.base, *one.models)] == [one.elements] * 3
    turned = random_job("slerp", wrap=Stored)
    result(turned)
    assert [read.read_items for read in turned.models] == [turned.elements] * 2
    many = random_job("ties", count=9, wrap=Stored, density=(0.2,))
    result(many)
    assert many.base.read_items == 4 * many.elements  # once more for which of equal changes are kept


def test_only_what_counts_is_read():
    one = random_job("linear", wrap=Stored, weight=(1.0, 0.0))
    result(one)
    assert [read.read_items for read in (one.base, *one.models)] == [0, one.elements, 0]


def test_the_mean_of_two_is_the_rounded_mean(subtests):
    for kind in FLOATS:
        with subtests.test(kind=kind):
            one = random_job(kind=kind)
            ours, theirs = (to_float(model.bits, model.dtype).astype(np.float64) for model in one.models)
            mean = (ours + theirs) / 2
            expected = mean.astype(np.float32) if kind not in ("F32", "F64") else mean
            assert result(one).tobytes() == from_float(expected, dtype(kind)).tobytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("average", {}),
        ("linear", {"weight": (0.3, 0.5, 0.2)}),
        ("linear", {"weight": (1.7,), "normalize": False}),
        ("task-arithmetic", {"lambda_": 0.4, "weight": (1.0, -0.5, 0.3)}),
        ("passthrough", {"scale": 1.1}),
    ],
)
def test_numpy_and_torch_give_the_same_bits(name, options, subtests):
    for kind in FLOATS:
        with subtests.test(kind=kind):
            one = random_job(name, 3, kind=kind, **options)
            coefficients = linear_coefficients(one.strategy, one.options, 3)
            wide = torch.float32 if arithmetic_for([one.dtype]) == "f32" else torch.float64
            total = None
            for coefficient, source in zip(coefficients, (one.base, *one.models), strict=True):
                if coefficient:
                    signed = torch.from_numpy(source.bits.copy().view(f"<i{source.dtype.itemsize}"))
                    term = signed.view(getattr(torch, source.dtype.torch)).to(wide) * coefficient
                    total = term if total is None else total + term
            expected = total.to(getattr(torch, one.dtype.torch)).view(signed.dtype).numpy()
            assert result(one).tobytes() == expected.tobytes()


def test_linear_results_say_how_they_were_made():
    [made] = merge([random_job("task-arithmetic", lambda_=0.5)])
    assert made.linear.coefficients == (0.0, 0.5, 0.5)
    assert made.linear.arithmetic == "f32"
    [made] = merge([random_job("interpolate", kind="F32", beta=0.5)])
    assert (made.linear.coefficients, made.linear.arithmetic) == ((-0.5, 1.0, 0.5), "f64")
    [made] = merge([random_job("karcher")])
    assert made.linear.coefficients[0] == 0
    assert sum(made.linear.coefficients) == pytest.approx(1, abs=0.02)
    [made] = merge([random_job("nuslerp", task_vectors=True)])
    assert sum(made.linear.coefficients) == pytest.approx(1)
    [made] = merge([random_job("ties")])
    assert made.linear is None
    ties = registry.by_name("ties")
    assert linear_coefficients(ties, fit(ties, ties.options(), 2), 2) is None


def test_coefficients():
    def of(name, count=2, **options):
        strategy = registry.by_name(name)
        return linear_coefficients(strategy, fit(strategy, strategy.options(**options), count), count)

    assert of("average", 4) == (0, 0.25, 0.25, 0.25, 0.25)
    assert of("linear", weight=(3.0, 1.0)) == (0, 0.75, 0.25)
    assert of("interpolate", alpha=-0.5) == (0, 1.5, -0.5)
    assert of("interpolate", a=0.5, b=0.25) == (0.25, 0.5, 0.25)
    assert of("task-arithmetic", 3, lambda_=0.5) == (-0.5, 0.5, 0.5, 0.5)
    assert of("base") == (1, 0, 0)
    assert of("slerp") is None


def test_results_come_in_order_and_random_ones_do_not_depend_on_it():
    jobs = []
    for number in range(12):
        one = random_job("dare-ties", shape=(number + 1, 50), seed=number)
        jobs.append(Job(f"layer.{number}", one.strategy, one.options, one.base, one.models, one.dtype))
    found = {made.name: made.tensor.bits.tobytes() for made in merge(jobs)}
    assert list(found) == [one.name for one in jobs]
    again = {made.name: made.tensor.bits.tobytes() for made in merge(jobs[::-1], threads=1)}
    assert again == found
    assert len(set(found.values())) == 12


def test_trimming_over_all_tensors():
    strategy = registry.by_name("ties")
    options = fit(strategy, strategy.options(density=(0.5,), trim="global"), 1)

    def one(name, values):
        zero = tensor(np.zeros(len(values)))
        return Job(name, strategy, options, zero, (tensor(values),), dtype("F32"))

    jobs = [one("a", [1, 2, 3, 40]), one("b", [10, -20, 30, 4])]
    found = [numbers(made.tensor).tolist() for made in merge(jobs)]
    assert found == [[0, 0, 0, 40], [10, -20, 30, 0]]
    local = fit(strategy, strategy.options(density=(0.5,)), 1)
    alone = [Job(x.name, strategy, local, x.base, x.models, x.dtype) for x in jobs]
    assert [numbers(made.tensor).tolist() for made in merge(alone)] == [[0, 0, 3, 40], [0, -20, 30, 0]]


def test_models_of_other_sides_are_ranked_apart():
    strategy = registry.by_name("ties")
    options = fit(strategy, strategy.options(density=(0.5,), trim="global"), 1)
    zero = tensor([0.0, 0.0])
    jobs = [
        Job(name, strategy, options, zero, (tensor(values),), dtype("F32"), sides=sides)
        for name, values, sides in (("a", [1.0, 2.0], (1,)), ("b", [30.0, 40.0], (2,)))
    ]
    assert [numbers(made.tensor).tolist() for made in merge(jobs)] == [[0, 2], [0, 40]]


def test_dtypes_may_differ():
    strategy = registry.by_name("average")
    ours, theirs = tensor([1.0, 2.5], "BF16"), tensor([1.0 + 2**-12, 3.5], "F32")
    one = Job("w", strategy, strategy.options(), None, (ours, theirs), dtype("BF16"))
    [made] = merge([one])
    assert made.linear.arithmetic == "f64"
    assert numbers(made.tensor).tolist() == [1.0, 3.0]
    ties = registry.by_name("ties")
    one = Job("w", ties, fit(ties, ties.options(), 2), tensor([0.0, 0.0], "F64"), (ours, theirs), ours.dtype)
    [made] = merge([one])
    assert numbers(made.tensor).tolist() == [1.0, 3.0]


INF, NAN = np.inf, np.nan
NOT_FINITE = [
    *((0, -INF, -INF), (0, NAN, NAN), (0, NAN, 1), (0, 1, INF), (0, INF, -INF)),
    *((INF, 1, 1), (NAN, 1, 2)),
]
"""Base, ours and theirs."""


@pytest.mark.parametrize("name", registry.names())
def test_what_is_not_finite(name, subtests):
    """Where an input is NaN or infinite: our value if all models have the same, else NaN."""
    for kind in ("BF16", "F32", "F64", "F8_E5M2"):
        with subtests.test(kind=kind):
            one = random_job(name, shape=(6, 8), kind=kind, **options_for(name))
            used = [*([one.base] if one.strategy.needs_base(one.options) else []), *one.models]
            plain = result(one)
            for place, (base, ours, theirs) in enumerate(NOT_FINITE):
                for source, value in zip((one.base, *one.models), (base, ours, theirs), strict=True):
                    bits = source.bits = source.bits.copy()
                    bits[place] = from_float(np.array([value], np.float32), source.dtype)[0]
            [made] = merge([one])
            bits, values = made.tensor.bits, numbers(made.tensor).reshape(-1)
            if name in ("ours", "theirs", "base", "passthrough"):
                source = {"theirs": one.models[1], "base": one.base}.get(name, one.models[0])
                np.testing.assert_array_equal(values[:7], to_float(source.bits, source.dtype)[:7])
                continue
            assert values[0] == -INF
            assert np.isnan(values[1:5]).all()
            assert made.not_finite == 3 + (len(used) == 3)
            if len(used) == 3:
                assert values[5] == 1
                assert np.isnan(values[6])
            else:
                assert np.isfinite(values[5:]).all()
            assert np.isfinite(values[7:]).all()
            if name in ("average", "task-arithmetic", "magmax", "nearswap", "ram"):
                assert bits[7:].tobytes() == plain[7:].tobytes()


@pytest.mark.parametrize(("kind", "values"), [("BF16", [NAN, NAN, NAN]), ("F32", [1, -1, NAN])])
@pytest.mark.parametrize("name", ["model-stock", "multislerp", "karcher"])
def test_a_model_that_was_found_to_count_for_nothing_does_not_lose_its_nan(name, kind, values):
    """Model Stock stays at the base between opposite changes; spherical means leave out what is zero."""
    theirs = values if name == "model-stock" else [0 * x for x in values]
    strategy = registry.by_name(name)
    base, ours = tensor([0, 0, 0], kind), tensor([1, 1, 1], kind)
    for count in (2, 12):  # by compiled loops, and by others
        models = (ours, tensor(theirs, kind), *[ours] * (count - 2))
        options = fit(strategy, strategy.options(), count)
        [made] = merge([Job("w", strategy, options, base, models, dtype(kind))])
        lost = np.isnan(values)
        np.testing.assert_array_equal(np.isnan(numbers(made.tensor)), lost)
        assert made.not_finite == lost.sum()


def test_results_too_large():
    strategy = registry.by_name("passthrough")

    def scaled(kind, value):
        one = Job("w", strategy, strategy.options(scale=4.0), None, (tensor([value], kind),), dtype(kind))
        [made] = merge([one])
        return numbers(made.tensor)[0], made.not_finite

    assert scaled("F16", 60000) == (INF, 1)
    assert scaled("BF16", 2.0**127) == (INF, 1)
    assert scaled("F32", -3e38) == (-INF, 1)
    assert scaled("F8_E4M3", 400) == (448, 0)
    assert scaled("F8_E5M2", -50000) == (-57344, 0)
    assert scaled("F8_E4M3FNUZ", 200) == (240, 0)


def combined(rows, shape, heights, strategy="average", kinds=("F32", "F32", "F32"), **options):
    """The rows policy applied to tensors of these heights, base first, with values 100 * side + row."""
    found = registry.by_name(strategy)
    options = fit(found, found.options(**options), 2)
    lines = tuple(
        TensorLine("w", dtype(kind), (height, 2), "0" * 64)
        for kind, height in zip(kinds, heights, strict=True)
    )
    combination = Combination(found, options, (1, 2), rows, dtype(kinds[1]), shape)
    decision = Decision("w", "combine", "changed differently", lines, combination=combination)

    def opened(side, line):
        values = 100.0 * side + np.arange(line.shape[0]).repeat(2).reshape(line.shape)
        return tensor(values, line.dtype.name)

    [made] = merge([job(decision, opened)])
    assert made.tensor.shape == shape
    assert made.linear is None or rows is None or made.tensor.shape[0] == min(heights[1:])
    return numbers(made.tensor)[:, 0].tolist()


def test_rows():
    assert combined("common", (2, 2), (9, 2, 3)) == [150, 151]
    assert combined("pad", (3, 2), (9, 2, 3)) == [150, 151, 202]
    assert combined("ours", (2, 2), (9, 2, 3)) == [150, 151]
    assert combined("ours", (4, 2), (9, 4, 3)) == [150, 151, 152, 103]
    assert combined("pad", (4, 2), (2, 3, 4), "task-arithmetic") == [300, 301, 102, 203]
    assert combined("pad", (3, 2), (9, 0, 3)) == [200, 201, 202]
    assert combined("pad", (3, 2), (9, 2, 3), kinds=("F32", "BF16", "F32")) == [150, 151, 202]
    assert combined(None, (2, 2), (2, 2, 2)) == [150, 151]


def test_fishers_are_opened_by_name():
    strategy = registry.by_name("fisher")
    options = fit(strategy, strategy.options(fisher=("main:f", "topic:f")), 2)
    lines = (None, *(TensorLine(name, dtype("F32"), (2,), "0" * 64) for name in ("ours.w", "theirs.w")))
    combination = Combination(strategy, options, (1, 2), None, dtype("F32"), (2,))
    decision = Decision("w", "combine", "added differently", lines, combination=combination)
    asked = []

    def statistics(source, name):
        asked.append((source, name))
        return tensor([1.0, 3.0] if source == "main:f" else [3.0, 1.0])

    def opened(side, line):
        return tensor([4.0 * side, 4.0 * side])

    [made] = merge([job(decision, opened, statistics)])
    assert asked == [("main:f", "ours.w"), ("topic:f", "theirs.w")]
    assert numbers(made.tensor).tolist() == [7.0, 5.0]
    with pytest.raises(ThetaError, match="needs a checkpoint of statistics"):
        job(decision, opened)
    with pytest.raises(ThetaError, match=r"main:f has ours.w as F32 \[3\]"):
        job(decision, opened, lambda source, name: tensor([1.0, 2.0, 3.0]))


def test_progress():
    told = []
    jobs = [random_job("ties"), random_job("average"), random_job("isotropic"), random_job(shape=(0, 3))]
    for _ in merge(jobs, progress=lambda done, total: told.append((done, total))):
        pass
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (3 * 24000, 3 * 24000)


def threads_at_work():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("theta-merge")]


@pytest.mark.parametrize("name", ["average", "ties", "isotropic"])
def test_nothing_runs_on_when_the_caller_stops(name, small_ranges):
    running = merge([random_job(name, seed=seed) for seed in range(20)])
    next(running)
    assert threads_at_work()
    running.close()
    assert not threads_at_work()
    running = merge([random_job(name, seed=seed) for seed in range(20)])
    next(running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert not threads_at_work()


@pytest.mark.parametrize("name", ["average", "ties", "isotropic", "slerp"])
def test_inputs_that_cannot_be_read(name):
    class Damaged(Stored):
        def read(self, start, stop, out=None):
            raise ThetaError("the object is damaged")

    good, bad = random_job(name), random_job(name, wrap=Damaged)
    running = merge([good, bad, good])
    assert next(running).name == "layer.weight"
    with pytest.raises(ThetaError, match="the object is damaged"):
        next(running)
    assert not threads_at_work()


def test_memory_does_not_grow_with_the_number_of_models():
    class Endless:
        """A large tensor that takes no memory."""

        dtype, shape, items = dtype("BF16"), (4 << 20,), 4 << 20

        def read(self, start, stop, out=None):
            out[:] = 0x3F80
            return out

    strategy = registry.by_name("average")
    peaks = []
    for count in (2, 40):
        one = Job("w", strategy, strategy.options(), None, (Endless(),) * count, Endless.dtype)
        tracemalloc.start()
        right = [(made.tensor.bits == 0x3F80).all() for made in merge([one, one], threads=2)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert right == [True, True]
    assert peaks[1] < 120 << 20  # all models together are 320 MiB


PEAK = """\
import resource, sys
import numpy as np
from git_theta.dtypes import dtype
from git_theta.merges import registry
from git_theta.merges.engine import merge
from git_theta.merges.inputs import Job
from git_theta.merges.options import fit, parse

class Large:
    dtype, shape, items = dtype("BF16"), (4096, 1024), 4 << 20

    def __init__(self, seed):
        self.seed = seed

    def read(self, start, stop, out=None):
        out[:] = 0x3F80 + np.arange(start, stop) * (self.seed + 3) % 251
        return out

strategy, count = registry.by_name(sys.argv[1]), int(sys.argv[3])
options = fit(strategy, parse(strategy, dict([sys.argv[2].split("=")]), "a test"), count)
models = tuple(Large(seed) for seed in range(1, count + 1))
for made in merge([Job("w", strategy, options, Large(0), models, Large.dtype)], threads=2):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), [("ties", "density=0.2"), ("tsv", "lambda=1")])
def test_memory_of_torch_does_not_grow_with_the_number_of_models(name, option):
    def peak(count):
        command = [sys.executable, "-c", PEAK, name, option, str(count)]
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1048576"}  # what is freed goes back
        return int(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)

    # In float32, 22 models are 352 MiB; as they are stored, 176 MiB.
    assert peak(24) - peak(2) < 128 << 10


def test_devices():
    assert choose("cpu").type == "cpu"
    for name in ("auto", "cpu", "cuda", "cuda:1", "mps"):
        assert check_name(name) == name
    for name in ("gpu", "cuda:x", "cpu:0", ""):
        with pytest.raises(ThetaError, match="no device"):
            check_name(name)
    with pytest.raises(ThetaError, match="no device 'tpu'"):
        list(merge([], device="tpu"))
    assert not computes_in(torch.device("mps"), float64=True)
    assert computes_in(torch.device("mps"), float64=False)
    absent = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(ThetaError, match="has no device"):
        choose(absent)


@pytest.mark.parametrize("name", ["ties", "slerp"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_too_little_memory_on_the_device(name, error, monkeypatch):
    class Full:
        def __init__(self, *arguments):
            raise error("MPS backend out of memory")

    expected = result(random_job(name))
    monkeypatch.setattr(engine, "DeviceBlocks", Full)
    monkeypatch.setattr(engine.devices, "choose", lambda name: torch.device("cuda"))
    warnings = []
    found = [made.tensor.bits.tobytes() for made in merge([random_job(name)] * 2, warn=warnings.append)]
    assert found == [expected.tobytes()] * 2
    assert warnings == ["cuda has too little memory; merging on the CPU"]


def test_other_errors_on_the_device_are_errors(monkeypatch):
    class Broken:
        def __init__(self, *arguments):
            raise RuntimeError("something else")

    monkeypatch.setattr(engine, "DeviceBlocks", Broken)
    monkeypatch.setattr(engine.devices, "choose", lambda name: torch.device("cuda"))
    with pytest.raises(RuntimeError, match="something else"):
        list(merge([random_job("ties")]))


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
from git_theta.dtypes import dtype
from git_theta.merges import registry
from git_theta.merges.device import MissingTorch
from git_theta.merges.engine import merge
from git_theta.merges.inputs import Job
from git_theta.merges.options import fit
from git_theta.tensors import ArrayTensor

def one(name):
    strategy = registry.by_name(name)
    tensors = [ArrayTensor(dtype("F32"), (2,), np.array(v, "<f4")) for v in ([1, 2], [3, 4], [5, 8])]
    options = fit(strategy, strategy.options(), 2)
    return Job("w", strategy, options, tensors[0], tuple(tensors[1:]), dtype("F32"))

for name in ("average", "linear", "interpolate", "task-arithmetic", "ours", "theirs", "base", "passthrough"):
    [made] = [m.tensor.bits.view("<f4").tolist() for m in merge([one(name)])]
    print(name, made)
try:
    list(merge([one("average"), one("ties")]))
except MissingTorch as error:
    print(error.remedy)
"""


def test_without_torch():
    found = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "average [4.0, 6.0]",
        "linear [4.0, 6.0]",
        "interpolate [4.0, 6.0]",
        "task-arithmetic [7.0, 10.0]",
        "ours [3.0, 4.0]",
        "theirs [5.0, 8.0]",
        "base [1.0, 2.0]",
        "passthrough [3.0, 4.0]",
        'pip install "git-theta[torch]"',
    ]
