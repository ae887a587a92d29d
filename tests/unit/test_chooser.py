"""The chooser: which update, from which base, and what it costs to find out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from stored_updates import Stored, base, number_tensor, numbers_of, tensor_of, weights

from git_theta.dtypes import DType, dtype
from git_theta.errors import DamagedObject, MissingObject
from git_theta.tensors import CHUNK_BYTES, ArrayTensor
from git_theta.updates import chooser, sampling
from git_theta.updates.interface import Base, Proposal, Target

BF16, F32 = dtype("BF16"), dtype("F32")


class Counted(ArrayTensor):
    """Counts the chunks that are decoded."""

    decoded = 0

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        step = CHUNK_BYTES // self.dtype.itemsize
        self.decoded += -(-stop // step) - start // step
        return super().read(start, stop, out)


def counted(tensor: ArrayTensor) -> Counted:
    return Counted(tensor.dtype, tensor.shape, tensor.bits.view(np.uint8).data)


def moved(tensor: ArrayTensor, step: float, seed: int) -> ArrayTensor:
    """A fine-tune: every weight takes a step."""
    numbers = numbers_of(tensor)
    return number_tensor(
        numbers + np.random.default_rng(seed).standard_normal(numbers.shape) * step, tensor.dtype
    )


def sparsely_moved(tensor: ArrayTensor, share: float, seed: int) -> ArrayTensor:
    random = np.random.default_rng(seed)
    bits = np.where(
        random.random(tensor.items) < share, tensor.bits + np.array(3, tensor.bits.dtype), tensor.bits
    )
    return tensor_of(bits, tensor.dtype, tensor.shape)


def chosen(target: ArrayTensor, *bases: ArrayTensor) -> Proposal:
    return chooser.rank(
        Target("weight", target), [base(one, str(n)) for n, one in enumerate(bases)]
    ).proposals[0]


@pytest.mark.parametrize("d", [BF16, F32], ids=lambda d: d.name)
def test_a_fine_tune_is_a_delta_from_the_newest(d: DType) -> None:
    versions = [weights(d, (256, 256))]
    for seed in range(3):
        versions.insert(0, moved(versions[0], 4e-5, seed))
    proposal = chosen(versions[0], *versions[1:])
    assert (proposal.update, proposal.bases[0].name) == ("delta", "0")


@pytest.mark.parametrize(("nearest", "count"), [*((n, 6) for n in range(6)), (8, 11)])
def test_the_nearest_of_earlier_versions_is_found(nearest: int, count: int) -> None:
    versions = [weights(BF16, (256, 256))]
    for seed in range(count - 1):
        versions.insert(0, moved(versions[0], 1e-3, seed))
    target = sparsely_moved(versions[nearest], 0.01, 7)
    proposal = chosen(target, *versions)
    assert (proposal.update, proposal.bases[0].name) == ("delta", str(nearest))


def test_a_version_that_took_a_larger_step_is_not_read() -> None:
    first = weights(BF16, (256, 256))
    fine_tuned = counted(moved(first, 1e-3, 1))
    followed = counted(moved(fine_tuned, 1e-3, 2))
    oldest = Base("oldest", "0" * 64, first)
    target = sparsely_moved(first, 0.01, 7)
    bases = [
        Base("followed", "2" * 64, followed, ("1" * 64,), 20_000),
        Base("fine-tuned", "1" * 64, fine_tuned, ("0" * 64,), 20_000),
        oldest,
    ]
    fine_tuned.decoded = followed.decoded = 0
    proposal = chooser.rank(Target("weight", target), bases).proposals[0]
    assert (proposal.update, proposal.bases[0].name) == ("delta", "oldest")
    assert fine_tuned.decoded == followed.decoded == 0


def test_the_newest_of_small_steps_is_found() -> None:
    """Each is near enough to all of them."""
    versions = [weights(BF16, (256, 256))]
    for seed in range(3):
        versions.insert(0, sparsely_moved(versions[0], 0.005, seed))
    sizes = [20_000, 1200, 1200, 1200][: len(versions)]
    bases = [
        Base(str(n), f"{n:064x}", tensor, (f"{n + 1:064x}",) if n < 3 else (), size)
        for n, (tensor, size) in enumerate(zip(versions, reversed(sizes), strict=True))
    ]
    target = sparsely_moved(versions[0], 0.005, 9)
    assert chooser.rank(Target("weight", target), bases).proposals[0].bases[0].name == "0"


@pytest.mark.parametrize(
    ("grow", "deepest", "most"),
    [
        (lambda one, seed: moved(one, 1e-4, seed), 5, 1.35),
        (lambda one, seed: sparsely_moved(one, 0.01, seed), 9, 4),
    ],
    ids=["steps that add up as a random walk", "changes that add up"],
)
def test_versions_that_follow_each_other_become_a_tree_of_little_depth(
    grow: Callable[[ArrayTensor, int], ArrayTensor], deepest: int, most: float
) -> None:
    """As a store would have it: of each version all that are on its chain are known, and no others."""
    newest = weights(BF16, (256, 256))
    chain = [Base("0", "0" * 64, newest)]
    taken: list[int] = []
    for number in range(1, 33):
        newest = grow(newest, number)
        proposal = chooser.rank(Target("weight", newest), chain).proposals[0]
        (base,) = proposal.bases
        size = sampling.estimate(proposal, Target("weight", newest))
        below = chain[[one.digest for one in chain].index(base.digest) :]
        made = Base(
            *(str(number), f"{number:064x}", newest, (base.digest,), size),
            *(base.depth + 1, base.chain + size),
        )
        chain = [made, *below]
        taken.append(size)
    assert max(base.depth for base in chain) <= deepest
    assert sum(taken) < most * len(taken) * taken[0]


def test_the_last_room_of_a_chain_is_dear() -> None:
    first = weights(BF16, (256, 256))
    second = sparsely_moved(first, 0.01, 1)
    target = sparsely_moved(second, 0.01, 2)
    for depth, name in ((1, "second"), (8, "first")):
        deep = Base("second", "1" * 64, second, ("0" * 64,), 1000, depth, 1000)
        bases = [deep, Base("first", "0" * 64, first)]
        assert chooser.rank(Target("weight", target), bases).proposals[0].bases[0].name == name


def test_small_tensors_are_not_looked_at() -> None:
    first, second = counted(weights(BF16, (64, 64))), counted(weights(BF16, (64, 64), 1))
    for depth, name in ((1, "second"), (5, "first")):
        deep = Base("second", "1" * 64, second, ("0" * 64,), 1000, depth, 1000)
        bases = [deep, Base("first", "0" * 64, first)]
        first.decoded = second.decoded = 0
        ranking = chooser.rank(Target("weight", moved(first, 1e-4, 2)), bases)
        assert [one.update for one in ranking.proposals] == ["delta", "dense"]
        assert ranking.proposals[0].bases[0].name == name
        assert second.decoded == 0


@pytest.mark.parametrize("rows", [256, 8192])
def test_a_base_is_read_once_for_all_looks_and_for_the_update(rows: int) -> None:
    before = counted(weights(BF16, (rows, 1024)))
    target = moved(before, 4e-5, 1)
    before.decoded = 0
    ranking = chooser.rank(Target("weight", target), [base(before)])
    assert before.decoded == 1
    Stored(ranking.proposals[0], Target("weight", target))
    assert before.decoded == -(-target.bits.nbytes // CHUNK_BYTES)


def test_an_unrelated_base_costs_one_chunk_and_is_not_used() -> None:
    before = counted(weights(BF16, (8192, 1024), 1))
    target = weights(BF16, (8192, 1024), 2)
    ranking = chooser.rank(Target("weight", target), [base(before)])
    assert [one.update for one in ranking.proposals] == ["dense"]
    assert before.decoded == 1


def test_bases_that_cannot_be_read_are_passed_over() -> None:
    class Lost(ArrayTensor):
        def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
            raise self.error

    for error in (MissingObject("gone"), DamagedObject("torn")):
        good = weights(F32, (128, 128))
        lost = Lost(F32, (128, 128), good.bits.view(np.uint8).data)
        lost.error = error
        target = sparsely_moved(good, 0.01, 1)
        assert chosen(target, lost).update == "dense"
        assert chosen(target, lost, good).bases[0].name == "1"


def test_dense_is_estimated() -> None:
    for tensor in (weights(BF16, (2048, 1024)), weights(F32, (1024, 1024))):
        from git_theta.objects import codec

        step = CHUNK_BYTES // tensor.dtype.itemsize
        chunks = [tensor.bits[start : start + step] for start in range(0, tensor.items, step)]
        true = sum(len(codec.encode(chunk, chunk.size)) for chunk in chunks)
        assert sampling.dense_bytes(tensor) == pytest.approx(true, rel=0.02)
        assert chooser.rank(Target("weight", tensor), []).dense_bytes == sampling.dense_bytes(tensor)


def test_estimates_are_near_what_is_stored() -> None:
    before = weights(BF16, (2048, 1024))
    target = Target("weight", moved(before, 4e-5, 1))
    proposal = Proposal("delta", (base(before),))
    true = Stored(proposal, target, grouping="off").residual_bytes
    assert sampling.estimate(proposal, target) == pytest.approx(true, rel=0.15)


def test_kept_samples_are_the_tensor() -> None:
    tensor = counted(weights(F32, (3000, 1024)))
    kept = sampling.sampled(tensor)
    assert (kept.stop - kept.start) * 4 == CHUNK_BYTES
    assert kept is sampling.sampled(kept)
    for start, stop in (
        (0, 10),
        (kept.start, kept.stop),
        (kept.start + 5, kept.start + 9),
        (kept.start - 1, kept.stop),
    ):
        assert np.array_equal(kept.read(start, stop), tensor.bits[start:stop])
        out = np.empty(stop - start, np.uint32)
        assert kept.read(start, stop, out) is out
        assert np.array_equal(out, tensor.bits[start:stop])
    assert all(kept.start <= start < stop <= kept.stop for start, stop in sampling.pieces(tensor))
    assert sampling.pieces(weights(F32, (0, 3))) == []


def test_an_empty_tensor_is_dense() -> None:
    empty = weights(F32, (0, 3))
    ranking = chooser.rank(Target("weight", empty), [Base("b", "0" * 64, empty)])
    assert ranking == chooser.Ranking((Proposal("dense", ()),), 0)
