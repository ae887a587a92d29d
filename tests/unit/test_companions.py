"""Which tensors stand for one, by the names that formats give them."""

import pytest

from git_theta.dtypes import dtype
from git_theta.merges.companions import groups
from git_theta.merges.decisions import Pair
from git_theta.merges.factors import is_turned, pairs, rank


def found(text):
    """Groups among names, each given as name=dtype."""
    return groups({name: [dtype(kind)] for name, kind in (word.split("=") for word in text.split())})


@pytest.mark.parametrize(
    "together",
    [
        "l.weight=F8_E4M3 l.weight_scale_inv=F32",
        "l.weight=F8_E4M3 l.scale_weight=F32 l.scale_input=F32",
        "l.weight=F8_E4M3 l.weight_scale=F32 l.input_scale=F32",
        "l.weight=F8_E4M3 l.weight_quantizer._amax=F32",
        "l.weight=I8 l.SCB=F32 l.weight_format=U8",
        "l.weight=U8 l.weight.absmax=F32 l.weight.quant_map=F32 l.weight.quant_state.bitsandbytes__nf4=U8",
        "l.weight=BF16 l.weight.absmax=F32 l.weight.quant_state.bitsandbytes__nf4=U8",
        "l.qweight=I32 l.qzeros=I32 l.scales=F16 l.g_idx=I32",
        "l.weight_packed=I32 l.weight_scale=BF16 l.weight_shape=I64 l.weight_zero_point=I8",
        "l.weight.compressed=BF16 l.weight.bitmask=U8 l.weight.row_offsets=I64",
        "e.gate_up_proj_blocks=U8 e.gate_up_proj_scales=U8",
        "l.weight=U8 l.weight_scale=F8_E4M3 l.weight_scale_2=F32 l.input_scale=F32",
        "l.weight._data=I8 l.weight._scale=F32",
        "l._weight_qdata=F8_E4M3 l._weight_scale=F32",
        "l.weight:qdata=I8 l.weight:scale=F32",
        "l.W_q=U8 l.meta=U8 l.scale=F16 l.zero=F16",
        "l.codes=I16 l.codebooks=F16 l.scales=F16",
        "l.weight=U32 l.scales=BF16 l.biases=BF16",
        "l.q_weight=I32 l.q_scale=I32 l.q_scale_max=F16 l.q_groups=I16",
        "l.trellis=I16 l.suh=F16 l.svh=F16",
        "l.B=I32 l.s=F16",
        "c.indices=I16 c.centroids.weight=F16 c.weight_scale=F16 c.weight_bias=F16",
        "q.weight_fake_quant.scale=F32 q.weight_fake_quant.zero_point=I32",
        "W_quantized=I8 W_scale=F32 W_zero_point=I8",
        "w=I8 scale=F32",
        "state.0.state1=U8 state.0.absmax1=F32 state.0.qmap1=F32 state.0.state2=U8 state.0.absmax2=F32",
        "exp_avg.codes=U8 exp_avg.scale=F32 exp_avg.qmap=F32",
        "params/dense/kernel=I8 params/dense/kernel_scale=F32",
        "l.weight_orig=F32 l.weight_mask=F32",
        "m.l.weight=I8 m.scales.l.weight=F32",
        "codes.l.weight=I8 scales.l.weight=F32 zero_points.l.weight=I32",
        "model.h.0.w=F8_E4M3 scale_inv.h.0.w=F32",
    ],
)
def test_together(together):
    names = tuple(sorted(word.split("=")[0] for word in together.split()))
    assert found(f"{together} l.bias=F32 e.gate_up_proj_bias=BF16 norm.weight=F32") == [names]


def test_each_has_its_own():
    assert found("w=I8 w_scale=F32 v=I8 v_scale=F32") == [("w", "w_scale"), ("v", "v_scale")]


@pytest.mark.parametrize(
    "apart",
    [
        "norm.scale=F32 norm.bias=F32 norm.weight=F32",
        "logit_scale=F32 logit=F32",
        "l.weight=F32 l.weight_scale=F32",
        "vector_quantizer.codebook.weight=F32 vector_quantizer.proj.weight=F32",
        "bn.num_batches_tracked=I64 bn.weight=F32 bn.running_mean=F32",
        "attn.k_scale=F32 attn.v_scale=F32 attn.k_proj.weight=F8_E4M3",
        "q.weight=F32 q.weight_fake_quant.scale=F32",
        "a.weight=F8_E4M3 b.weight=F8_E4M3",
        "attn.weight_mask=F32",
        "scale.weight=F32 a.weight=I8",
        "scales.a.weight=F32 a.weight=F32",
        "scales.a.weight=F32 x.y.a.weight=I8",
    ],
)
def test_apart(apart):
    assert found(apart) == []


def test_what_is_quantised_on_one_side_alone():
    assert groups({"w": [dtype("F32"), dtype("I8")], "w_scale": [dtype("F32")]}) == [("w", "w_scale")]


def test_pairs_of_factors():
    names = [
        "l.lora_down.weight",
        "l.lora_up.weight",
        "l.alpha",
        "m.lora_A.x.weight",
        "m.lora_B.x.weight",
        "n.lora_A",
    ]
    assert pairs(names) == [
        Pair("l.lora_down.weight", "l.lora_up.weight", "l.alpha"),
        Pair("m.lora_A.x.weight", "m.lora_B.x.weight"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected", "turned"),
    [
        ((4, 6), (5, 4), 4, False),
        ((6, 4), (4, 5), 4, True),
        ((4, 4), (4, 4), 4, False),
        ((4, 3, 3, 3), (5, 4, 1, 1), 4, False),
        ((4, 3, 3, 3), (5, 4, 3, 3), None, False),
        ((4, 6), (5, 3), None, False),
        ((4,), (4,), None, False),
    ],
)
def test_ranks(first, second, expected, turned):
    assert (rank(first, second), is_turned(first, second)) == (expected, turned)
