"""Order statistics and random numbers, the two tools of the trimming and dropping strategies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_reference import uniform as reference_uniform

from git_theta.merges import order_statistics as module
from git_theta.merges.cuts import above, cuts
from git_theta.merges.interface import Block
from git_theta.merges.order_statistics import order_statistics
from git_theta.merges.randomness import uniform

torch = pytest.importorskip("torch")


class ListBlocks:
    """Blocks of arrays."""

    def __init__(self, *parts):
        self.parts = [torch.from_numpy(np.asarray(part, np.float32)) for part in parts]
        self.starts = [sum(part.numel() for part in self.parts[:number]) for number in range(len(parts))]
        self.elements = sum(part.numel() for part in self.parts)
        self.models = 1
        self.passes = 0

    def map(self, function, step=1):
        self.passes += 1
        pairs = zip(self.starts, self.parts, strict=True)
        return [function(Block("w", start, None, [part[::step]])) for start, part in pairs if part.numel()]


def values(block):
    return [block.models[0], -block.models[0]]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    parts=st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 3.5, -1.0, 7.0]), min_size=1, max_size=30),
        min_size=1,
        max_size=5,
    ),
    sample=st.sampled_from([1, 4, 1 << 16]),
    data=st.data(),
)
def test_ranks_are_those_of_a_sort(parts, sample, data):
    blocks = ListBlocks(*parts)
    everything = sorted(value for part in parts for value in part)
    rank = st.integers(0, blocks.elements - 1)
    ranks = [data.draw(st.lists(rank, max_size=3)), data.draw(st.lists(rank, min_size=1, max_size=2))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SAMPLE", sample)
        found = order_statistics([blocks], values, ranks)
    assert found[0] == [everything[place] for place in ranks[0]]
    assert found[1] == [-everything[-1 - place] for place in ranks[1]]


def test_many_values_take_two_passes():
    rng = np.random.default_rng(0)
    array = rng.normal(size=400_000).astype(np.float32)
    blocks = ListBlocks(*np.split(array, 8))
    ranks = [0, 4_000, 200_000, 399_999]
    [found, _] = order_statistics([blocks], values, [ranks, []])
    assert found == np.sort(array)[ranks].tolist()
    assert blocks.passes == 2


def test_a_misleading_sample_costs_one_pass_more(monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 100)
    array = np.ones(10_000, np.float32)
    array[np.arange(10_000) % 100 != 0] = np.arange(9_900)
    blocks = ListBlocks(array)
    [found, _] = order_statistics([blocks], values, [[5_000], []])
    assert found == np.sort(array)[[5_000]].tolist()
    assert blocks.passes == 3


def test_several_tensors_are_ranked_together():
    [found, _] = order_statistics([ListBlocks([5, 1]), ListBlocks([4, 2], [3])], values, [[0, 2, 4], []])
    assert found == [1, 3, 5]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    tensors=st.lists(
        st.lists(
            st.lists(st.sampled_from([0.0, 1.0, 1.0, -1.0, 1.5, -2.0]), min_size=1, max_size=12),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    ),
    share=st.floats(0, 1),
)
def test_exactly_so_many_are_above_a_cut_the_first_ones_of_equal_ones(tensors, share):
    blocks = [ListBlocks(*parts) for parts in tensors]
    flat = np.array([value for parts in tensors for part in parts for value in part])
    count = max(1, round(share * flat.size))
    found = cuts(blocks, lambda block: [block.models[0].abs()], [[count]])
    kept = np.concatenate(
        [
            above(part, cut, start).numpy()
            for one, [[cut]] in zip(blocks, found, strict=True)
            for start, part in zip(one.starts, one.parts, strict=True)
        ]
    )
    expected = np.zeros_like(flat)
    chosen = np.argsort(-np.abs(flat), kind="stable")[:count]
    expected[chosen] = flat[chosen]
    np.testing.assert_array_equal(kept, expected)


def test_uniform_numbers_are_those_of_the_definition():
    like = torch.empty(3, 40)
    found = uniform(7, "layer.weight", 1, 0, like)
    assert found.shape == like.shape
    np.testing.assert_array_equal(
        found.reshape(-1).double().numpy(), reference_uniform(7, "layer.weight", 1, 120)
    )
    np.testing.assert_array_equal(
        uniform(7, "layer.weight", 1, 100, torch.empty(20)), found.reshape(-1)[100:]
    )


def test_uniform_numbers_of_very_large_tensors():
    start = (1 << 31) - 10
    across = uniform(0, "w", 0, start, torch.empty(20))
    np.testing.assert_array_equal(across[:10], uniform(0, "w", 0, start, torch.empty(10)))
    assert not torch.equal(
        uniform(0, "w", 0, 1 << 32, torch.empty(20)), uniform(0, "w", 0, 0, torch.empty(20))
    )


@pytest.mark.slow
def test_uniform_numbers_are_uniform_and_independent():
    count = 1 << 18
    one, other = (uniform(0, "w", model, 0, torch.empty(count)) for model in (0, 1))
    for sample in (one, other, uniform(1, "w", 0, 0, torch.empty(count))):
        assert sample.min() >= 0
        assert sample.max() < 1
        bins = torch.histc(sample, 64, 0, 1)
        deviation = ((bins - count / 64) ** 2 / (count / 64)).sum()
        assert 20 < deviation < 130  # chi squared with 63 degrees of freedom
    for first, second in ((one, other), (one[:-1], one[1:]), (one[:-64], one[64:])):
        assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.01
