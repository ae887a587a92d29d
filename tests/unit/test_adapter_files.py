"""Adapters as people have them: what they say about a model's tensors."""

from __future__ import annotations

import numpy as np
import pytest
from stored_updates import Stored, assert_same, base, number_tensor, numbers_of, tensor_of, weights

from git_theta.dtypes import DType, dtype
from git_theta.errors import ThetaError
from git_theta.tensors import ArrayTensor
from git_theta.updates import adapter_files, chooser
from git_theta.updates.adapters import Guide
from git_theta.updates.interface import Target

BF16, F32 = dtype("BF16"), dtype("F32")
NAME = "model.layers.0.q_proj.weight"
PEFT = "base_model.model.model.layers.0.q_proj"


def factor(*shape: int, seed: int, d: DType = F32) -> ArrayTensor:
    return weights(d, shape, seed, 0.1)


def check(guide: Guide, before: ArrayTensor, expected: np.ndarray) -> None:
    """The guide applies as expected, and then predicts what it gave."""
    applied = guide.apply(before)
    assert applied.shape == before.shape
    unit = 2.0**-before.dtype.mantissa
    np.testing.assert_allclose(numbers_of(applied), expected, rtol=unit, atol=unit / 5)
    for proposal in guide.propose(Target(NAME, applied), base(before)):
        stored = Stored(proposal, Target(NAME, applied))
        assert_same(stored, applied)
        # A factor has 22 bits at most, a few less than what decides about float32's last place.
        share = 0.04 if before.dtype == BF16 else 0.2
        assert stored.residual_bytes < share * before.dtype.nbytes(before.shape) + 400


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"peft_type": "LORA", "r": 4, "lora_alpha": 16}, 4),
        ({"r": 4, "lora_alpha": 16, "use_rslora": True}, 8),
        ({"r": 8, "lora_alpha": 16, "rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 2}}, 0.5),
        # As peft: expressions for the end of the name from a dot on, of which the first that fits counts.
        ({"r": 4, "lora_alpha": 16, "alpha_pattern": {r"layers\.\d\.q_proj": 2, "q_proj": 4}}, 0.5),
        ({"r": 4, "lora_alpha": 16, "alpha_pattern": {"q_proj": 4, r"layers\.\d\.q_proj": 2}}, 1),
        ({"r": 4, "lora_alpha": 16, "alpha_pattern": {"proj": 2, "layers.0": 2, "^layers.*": 2}}, 4),
        ({"r": 4, "lora_alpha": 16, "alpha_pattern": {"model.*": 2}, "use_rslora": True}, 1),
        (None, 1),
    ],
)
def test_peft_lora(config: dict[str, object] | None, scale: float, subtests: pytest.Subtests) -> None:
    for d in (BF16, F32):
        with subtests.test(kind=d.name):
            before = weights(d, (96, 80))
            a, b = factor(4, 80, seed=1), factor(96, 4, seed=2)
            adapter = {f"{PEFT}.lora_A.weight": a, f"{PEFT}.lora_B.weight": b}
            found = adapter_files.guides(adapter, config, {NAME: (96, 80), "other.weight": (3,)})
            assert list(found) == [NAME]
            product = numbers_of(b).astype(np.float64) @ numbers_of(a) * scale
            check(found[NAME], before, numbers_of(before) + product)


def test_without_its_configuration_a_lora_is_fitted_to_the_result() -> None:
    before = weights(F32, (96, 80))
    a, b = factor(4, 80, seed=1), factor(96, 4, seed=2)
    target = number_tensor(numbers_of(before) + 0.37 * numbers_of(b) @ numbers_of(a), F32)
    adapter = {f"{PEFT}.lora_A.default.weight": a, f"{PEFT}.lora_B.default.weight": b}
    guide = adapter_files.guides(adapter, None, {NAME: (96, 80)})[NAME]
    (proposal,) = guide.propose(Target(NAME, target), base(before))
    assert Stored(proposal, Target(NAME, target)).residual_bytes < 0.2 * target.bits.nbytes


def test_the_chooser_follows_a_guide() -> None:
    before = weights(BF16, (96, 80))
    adapter = {f"{PEFT}.lora_A.weight": factor(2, 80, seed=1), f"{PEFT}.lora_B.weight": factor(96, 2, seed=2)}
    guide = adapter_files.guides(adapter, {"lora_alpha": 2}, {NAME: (96, 80)})[NAME]
    applied = Target(NAME, guide.apply(before))
    ranking = chooser.rank(applied, [base(weights(F32, (3, 3))), base(before)], guide)
    assert [one.update for one in ranking.proposals] == ["low-rank", "dense"]  # a delta would be no smaller
    assert chooser.rank(applied, [], guide).proposals[0].update == "dense"


def test_transposed_and_convolution_and_embedding() -> None:
    a, b = factor(4, 80, seed=1), factor(96, 4, seed=2)
    product = numbers_of(b) @ numbers_of(a)
    config = {"lora_alpha": 4, "fan_in_fan_out": True}
    before = weights(F32, (80, 96))
    adapter = {"base_model.model.h.0.c_attn.lora_A.weight": a, "base_model.model.h.0.c_attn.lora_B.weight": b}
    found = adapter_files.guides(adapter, config, {"transformer.h.0.c_attn.weight": (80, 96)})
    check(found["transformer.h.0.c_attn.weight"], before, numbers_of(before) + product.T)

    before = weights(F32, (96, 20, 2, 2))
    adapter = {
        "base_model.model.conv.lora_A.weight": tensor_of(a.bits, F32, (4, 20, 2, 2)),
        "base_model.model.conv.lora_B.weight": tensor_of(b.bits, F32, (96, 4, 1, 1)),
    }
    found = adapter_files.guides(adapter, {"lora_alpha": 4}, {"conv.weight": (96, 20, 2, 2)})
    check(found["conv.weight"], before, numbers_of(before) + product.reshape(before.shape))

    before = weights(F32, (80, 96))
    adapter = {"base_model.model.wte.lora_embedding_A": a, "base_model.model.wte.lora_embedding_B": b}
    found = adapter_files.guides(adapter, {"lora_alpha": 4}, {"wte.weight": (80, 96)})
    check(found["wte.weight"], before, numbers_of(before) + product.T)


def test_the_original_naming() -> None:
    before = weights(BF16, (96, 80))
    r, c = factor(96, 3, seed=1), factor(3, 80, seed=2)
    found = adapter_files.guides({f"{NAME}/R": r, f"{NAME}/C": c}, None, {NAME: (96, 80)})
    check(found[NAME], before, numbers_of(before) + numbers_of(r) @ numbers_of(c))

    vector = factor(96, 1, seed=3)
    found = adapter_files.guides({f"{NAME}/ia3": vector}, None, {NAME: (96, 80)})
    check(found[NAME], before, numbers_of(before) * numbers_of(vector))


@pytest.mark.parametrize(
    ("shape", "config", "axis"),
    [((96, 1), {}, 0), ((1, 80), {}, 1), ((80, 1), {"fan_in_fan_out": True}, 1)],
)
def test_ia3(shape: tuple[int, ...], config: dict[str, object], axis: int) -> None:
    before = weights(BF16, (96, 80))
    vector = number_tensor(1 + numbers_of(factor(*shape, seed=3)), F32)
    found = adapter_files.guides({f"{PEFT}.ia3_l": vector}, config, {NAME: (96, 80)})
    factors = np.expand_dims(numbers_of(vector).ravel(), 1 - axis)
    check(found[NAME], before, numbers_of(before) * factors)


def test_sparse_and_whole_tensors() -> None:
    before = weights(BF16, (96, 80))
    places = np.random.default_rng(0).permutation(96 * 80)[:100]
    values = factor(100, seed=1)
    adapter = {
        f"{NAME}/indices": tensor_of(places.astype(np.int32), dtype("I32"), (100,)),
        f"{NAME}/data": values,
    }
    expected = numbers_of(before).ravel().copy()
    expected[places] += numbers_of(values)
    check(adapter_files.guides(adapter, None, {NAME: (96, 80)})[NAME], before, expected.reshape(96, 80))

    whole = weights(F32, (96, 80), 7)
    guide = adapter_files.guides({f"{PEFT}.weight": whole}, None, {NAME: (96, 80)})[NAME]
    assert np.array_equal(guide.apply(before).bits, number_tensor(numbers_of(whole), BF16).bits)
    assert list(guide.propose(Target(NAME, before), base(before))) == []


def test_outputs_that_are_scaled_have_scaled_biases() -> None:
    vector = number_tensor(1 + numbers_of(factor(96, 1, seed=3)), F32)
    model = {NAME: (96, 80), NAME.replace("weight", "bias"): (96,)}
    for said in (["q_proj"], r".*\.q_proj", []):
        by_input = bool(said)
        turned = tensor_of(vector.bits, F32, (1, 96)) if by_input else vector
        shapes = {NAME: (80, 96), **dict(list(model.items())[1:])} if by_input else model
        found = adapter_files.guides({f"{PEFT}.ia3_l": turned}, {"feedforward_modules": said}, shapes)
        assert set(found) == ({NAME} if by_input else set(model))
        if not by_input:
            before = weights(F32, (96,))
            expected = numbers_of(before).astype(np.float64) * numbers_of(vector).ravel()
            check(found[NAME.replace("weight", "bias")], before, expected)


@pytest.mark.parametrize("form", ["linear", "transposed", "convolution", "embedding"])
@pytest.mark.parametrize("share", [1, 0.25])
def test_dora(form: str, share: float) -> None:
    a, b, m = factor(4, 80, seed=1), factor(96, 4, seed=2), factor(96, seed=3)
    parts = {"lora_A.weight": a, "lora_B.weight": b, "lora_magnitude_vector": m}
    turned = form in ("transposed", "embedding")
    shape: tuple[int, ...] = (80, 96) if turned else (96, 80)
    if form == "convolution":
        shape = (96, 20, 2, 2)
        shapes = [(4, 20, 2, 2), (96, 4, 1, 1), (1, 96, 1, 1)]
        parts = {
            name: tensor_of(one.bits, F32, s) for (name, one), s in zip(parts.items(), shapes, strict=True)
        }
    if form == "embedding":
        parts = {"lora_embedding_A": a, "lora_embedding_B": b, "lora_magnitude_vector": m}
    before = weights(F32, shape)
    config = {"lora_alpha": 8, "use_dora": True, "fan_in_fan_out": form == "transposed"}
    adapter = {f"{PEFT}.{name}": one for name, one in parts.items()}
    guide = adapter_files.guides(adapter, config, {NAME: shape})[NAME].times(share)
    start = numbers_of(before).astype(np.float64)
    matrix = start.T if turned else start.reshape(96, 80)
    moved = matrix + 2 * numbers_of(b).astype(np.float64) @ numbers_of(a)
    moved *= (numbers_of(m) / np.linalg.norm(moved, axis=1))[:, None]
    moved = moved.T if turned else moved.reshape(shape)
    applied = numbers_of(guide.apply(before))
    np.testing.assert_allclose(applied, start + share * (moved - start), rtol=1e-6, atol=1e-7)


def test_an_adapter_is_applied_in_part() -> None:
    before = weights(F32, (96, 80))
    start = numbers_of(before).astype(np.float64)
    whole, vector, values = weights(F32, (96, 80), 7), factor(96, 1, seed=3), factor(2, seed=4)
    places = np.array([5, 7])
    sparse = np.zeros(96 * 80)
    sparse[places] = numbers_of(values)
    lora = {f"{PEFT}.lora_A.weight": factor(4, 80, seed=1), f"{PEFT}.lora_B.weight": factor(96, 4, seed=2)}
    product = numbers_of(lora[f"{PEFT}.lora_B.weight"]).astype(np.float64) @ numbers_of(
        lora[f"{PEFT}.lora_A.weight"]
    )
    goals = [
        (lora, start + product),
        ({f"{PEFT}.weight": whole}, numbers_of(whole)),
        ({f"{NAME}/ia3": vector}, start * numbers_of(vector)),
        (
            {f"{NAME}/indices": tensor_of(places, dtype("I64"), (2,)), f"{NAME}/data": values},
            start + sparse.reshape(96, 80),
        ),
        ({f"{PEFT}.base_layer.weight": whole, **lora}, numbers_of(whole) + product),
    ]
    for adapter, goal in goals:
        guide = adapter_files.guides(adapter, None, {NAME: (96, 80)})[NAME]
        for share in (0.25, -2.0, 1.0):
            applied = numbers_of(guide.times(share).apply(before))
            np.testing.assert_allclose(applied, start + share * (goal - start), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_bias_of_a_lora(weight: float) -> None:
    """It counts as much as the product."""
    before, change = factor(96, seed=5), factor(96, seed=6)
    model = {NAME: (96, 80), "model.layers.0.q_proj.bias": (96,)}
    found = adapter_files.guides(LORA | {f"{PEFT}.lora_B.bias": change}, {"r": 4, "lora_alpha": 12}, model)
    assert list(found) == list(model)
    guide = found["model.layers.0.q_proj.bias"].times(weight)
    check(guide, before, numbers_of(before) + weight * 3 * numbers_of(change))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("emb.token_adapter.trainable_tokens_delta", {"trainable_token_indices": {"x": [0], "emb": [7, 2]}}),
        ("emb.token_adapter.trainable_tokens_delta", {"trainable_token_indices": [7, 2]}),
        ("emb.trainable_tokens_delta", {"peft_type": "TRAINABLE_TOKENS", "token_indices": [7, 2]}),
    ],
)
def test_trained_tokens(name: str, config: dict[str, object], subtests: pytest.Subtests) -> None:
    """peft holds the rows themselves."""
    for d in (BF16, F32):
        with subtests.test(kind=d.name):
            before, rows = weights(d, (9, 80)), factor(2, 80, seed=1)
            tensors = {f"base_model.model.model.{name}": rows}
            guide = adapter_files.guides(tensors, config, {"model.emb.weight": (9, 80)})
            expected = numbers_of(before).astype(np.float64)
            expected[[7, 2]] = numbers_of(rows)
            check(guide["model.emb.weight"], before, expected)
            half = (numbers_of(before).astype(np.float64) + expected) / 2
            check(guide["model.emb.weight"].times(0.5), before, half)


LORA = {f"{PEFT}.lora_A.weight": factor(4, 80, seed=1), f"{PEFT}.lora_B.weight": factor(96, 4, seed=2)}
IA3 = {f"{PEFT}.ia3_l": factor(96, 1, seed=1)}
BIASED = {NAME: (96, 80), "model.layers.0.q_proj.bias": (96,)}
TOKENS = {f"{PEFT}.trainable_tokens_delta": factor(2, 80, seed=1)}
INDICES = tensor_of(np.array([5, 7680], np.int64), dtype("I64"), (2,))


@pytest.mark.parametrize(
    ("adapter", "config", "model", "message"),
    [
        ({f"{PEFT}.lora_A.weight": factor(4, 80, seed=1)}, None, None, "no part 'B'"),
        ({f"{PEFT}.lora_magnitude_vector": factor(80, seed=1)}, None, None, "no part 'A'"),
        (LORA, {"use_dora": True}, None, "no part 'magnitude'"),
        (LORA | {f"{PEFT}.lora_magnitude_vector": factor(80, seed=1)}, None, None, "80 magnitudes"),
        (LORA, {"peft_type": "LOHA"}, None, "peft_type is 'LOHA'"),
        (LORA, {"alora_invocation_tokens": [1]}, None, "alora_invocation_tokens is set"),
        (LORA | {f"{PEFT}.lora_B.bias": factor(96, seed=1)}, {"r": 4}, None, "the model has not like this"),
        (LORA | {f"{PEFT}.lora_B.bias": factor(96, seed=1)}, None, BIASED, "says how much"),
        ({f"{PEFT}.trainable_tokens_delta": factor(2, 80, seed=1)}, None, None, "which of its rows"),
        (TOKENS, {"token_indices": [1, 2, 3]}, None, "names 3"),
        (TOKENS, {"token_indices": [1, 1]}, None, "named twice"),
        (TOKENS, {"token_indices": [1, 96]}, None, "past its end"),
        (TOKENS, {"trainable_token_indices": {"other": [1, 2]}}, None, "which of its rows"),
        (LORA, {"r": 8}, None, "its rank is 4, and adapter_config.json says 8"),
        (LORA, {"r": 8, "rank_pattern": {"(q": 4}}, None, "no regular expression"),
        (LORA, {"alpha_pattern": [3]}, None, "alpha_pattern is"),
        (LORA, {"r": "many"}, None, "r is 'many'"),
        (LORA, {"alpha_pattern": "q_proj"}, None, "alpha_pattern is 'q_proj'"),
        (LORA, {"alpha_pattern": {"q_proj": "16"}}, None, "lora_alpha is '16'"),
        (LORA, {"rank_pattern": 3}, None, "rank_pattern is 3"),
        (LORA, {"lora_alpha": 10**400}, None, "lora_alpha is '1000"),
        (LORA, {"lora_alpha": float("nan")}, None, "lora_alpha is 'nan'"),
        (LORA, {"lora_alpha": True}, None, "lora_alpha is 'True'"),
        (LORA, {"alpha_pattern": {"(" * 5000: 1}}, None, "no regular expression"),
        (LORA, {"alpha_pattern": {"(a+)+b": 1}}, None, "repeats too much"),
        (LORA, {"rank_pattern": {".*" * 9 + "b": 1}}, None, "repeats too much"),
        (LORA, {"rank_pattern": {"q?" * 20 + "q" * 20: 1}}, None, "repeats too much"),
        (LORA, {"rank_pattern": {"(q|q)" * 20: 1}}, None, "repeats too much"),
        (IA3, {"feedforward_modules": 3}, None, "feedforward_modules is 3"),
        (IA3, {"feedforward_modules": [3]}, None, "feedforward_modules is"),
        (
            {f"{PEFT}.lora_A.weight": factor(seed=1), f"{PEFT}.lora_B.weight": factor(seed=2)},
            None,
            None,
            "factors",
        ),
        (
            {f"{PEFT}.lora_A.weight": factor(0, 80, seed=1), f"{PEFT}.lora_B.weight": factor(96, 0, seed=2)},
            None,
            None,
            "factors",
        ),
        ({f"{NAME}/R": factor(seed=1), f"{NAME}/C": factor(seed=2)}, None, None, "factors"),
        ({f"{PEFT}.ia3_l": factor(seed=1)}, None, None, "single number"),
        (LORA, None, {NAME: ()}, "does not fit"),
        (
            {f"{NAME}/R": factor(96, 4, seed=1), f"{NAME}/C": factor(4, 80, seed=1)},
            None,
            {NAME: ()},
            "does not fit",
        ),
        ({"something": factor(80, seed=1)}, None, None, "no name that is understood"),
        (LORA, None, {NAME: (80, 96)}, r"does not fit .* its product is \[96, 80\]"),
        (LORA, None, {"other.weight": (96, 80)}, "names no tensor"),
        (LORA, None, {f"a.{NAME}": (96, 80), f"b.{NAME}": (96, 80)}, "names several tensors"),
        (LORA, {"lora_alpha": "much"}, None, "lora_alpha is 'much'"),
        (LORA | {f"{PEFT}.lora_B.weight": factor(96, 5, seed=2)}, None, None, "does not fit"),
        ({f"{PEFT}.ia3_l": factor(96, 80, seed=1)}, None, None, "more than one dimension"),
        ({f"{PEFT}.ia3_l": factor(7, 1, seed=1)}, None, None, "does not fit"),
        ({f"{PEFT}.weight": factor(7, 1, seed=1)}, None, None, r"it is \[7, 1\]"),
        ({f"{NAME}/indices": INDICES, f"{NAME}/data": factor(2, seed=1)}, None, None, "past its end"),
        (
            {f"{NAME}/indices": INDICES, f"{NAME}/data": factor(3, seed=1)},
            None,
            None,
            "2 indices for 3 values",
        ),
        (
            {
                f"{NAME}/indices": INDICES,
                f"{NAME}/data": factor(2, seed=1),
                f"{NAME}/indptr": tensor_of(np.array([0, 1, 2]), dtype("I64"), (3,)),
            },
            None,
            None,
            "indices are of rows",
        ),
        (
            {f"{NAME}/indices": factor(2, seed=1), f"{NAME}/data": factor(2, seed=1)},
            None,
            None,
            "indices are F32",
        ),
    ],
)
def test_adapters_that_do_not_fit(
    adapter: dict[str, ArrayTensor],
    config: dict[str, object] | None,
    model: dict[str, tuple[int, ...]] | None,
    message: str,
) -> None:
    with pytest.raises(ThetaError, match=message):
        adapter_files.guides(adapter, config, model or {NAME: (96, 80)})
