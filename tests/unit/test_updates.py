"""The update kinds: each predicts what it is for, exactly, and any tensor comes back from any of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_updates import (
    DTYPES,
    FLOATS,
    Stored,
    assert_same,
    base,
    number_tensor,
    numbers_of,
    predicted,
    tensor_of,
    weights,
)

from git_theta.dtypes import DType, dtype
from git_theta.errors import DamagedObject
from git_theta.tensors import ArrayTensor
from git_theta.updates import chooser, combine, low_rank, registry, sampling, scale
from git_theta.updates.interface import Parameters, Proposal, Target
from git_theta.updates.row_search import NEW
from git_theta.values import from_float

BF16, F16, F32, F64 = dtype("BF16"), dtype("F16"), dtype("F32"), dtype("F64")
WIDE = [BF16, F16, F32, F64]


def proposals(kind: str, target: ArrayTensor, *bases: ArrayTensor) -> list[Proposal]:
    named, known = sampling.with_samples(Target("weight", target), [base(one) for one in bases])
    return list(registry.by_name(kind).propose(named, known))


def only(kind: str, target: ArrayTensor, *bases: ArrayTensor) -> Proposal:
    (proposal,) = proposals(kind, target, *bases)
    return proposal


def exact_part(proposal: Proposal, target: ArrayTensor) -> float:
    """Part of the items that are predicted exactly."""
    return float(np.mean(predicted(proposal, Target("weight", target)) == target.bits))


# delta and dense


def test_delta_takes_the_first_base_that_is_alike() -> None:
    target = weights(BF16, (8, 8), 1)
    others = weights(F32, (8, 8)), weights(BF16, (9, 8)), weights(BF16, (64,), 2), weights(BF16, (8, 8), 3)
    proposal = only("delta", target, *others)
    assert proposal.bases[0].tensor.shape == (64,)
    assert np.array_equal(predicted(proposal, Target("weight", target)), others[2].bits)
    assert proposals("delta", target, *others[:2]) == []


def test_dense_has_no_residual() -> None:
    target = weights(BF16, (8, 8))
    assert only("dense", target) == Proposal("dense", ())
    with pytest.raises(DamagedObject, match="residual"):
        registry.by_name("dense").predictor(BF16, (8, 8), [], Parameters())


# cast


def test_cast_predicts_a_release_in_another_dtype(subtests: pytest.Subtests) -> None:
    torch = pytest.importorskip("torch")
    for name in ("BF16", "F16", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "I8"):
        with subtests.test(kind=name):
            source = number_tensor(np.random.default_rng(0).standard_normal((300, 200)) * 3, F32)
            source.bits = source.bits.copy()
            source.bits[:8] = [0x7F800000, 0xFF800000, 0, 1 << 31, 1, 0x80000001, 0x7F7FFFFF, 0xFF7FFFFF]
            numbers = torch.from_numpy(source.bits[9:].view(np.float32))
            d = dtype(name)
            expected = (
                numbers.to(getattr(torch, d.torch)) if d.kind == "float" else numbers.round().to(torch.int8)
            )
            bits = source.bits[:9].astype(d.storage)
            raw = expected.contiguous().view(torch.uint8).numpy().view(d.storage)
            target = tensor_of(np.concatenate([bits, raw]), d, (300, 200))
            found = proposals("cast", target, weights(d, (300, 200)), source)
            assert {one.parameters.values["from"] for one in found} == {"F32"}
            assert max(exact_part(one, target) for one in found) > 0.9998
            assert_same(Stored(found[0], Target("weight", target)), target)


def test_cast_of_saturated_and_of_lost_values() -> None:
    d = dtype("F8_E4M3")
    source = number_tensor(np.linspace(-2000, 2000, 4096).reshape(64, 64), F32)
    for overflow in ("saturate", "nan"):
        target = tensor_of(from_float(numbers_of(source).ravel(), d, overflow=overflow), d, (64, 64))
        parts = {
            one.parameters.values["overflow"]: exact_part(one, target)
            for one in proposals("cast", target, source)
        }
        assert parts[overflow] == 1
        assert min(parts.values()) < 0.5
        ranking = chooser.rank(Target("weight", target), [base(source)])
        assert ranking.proposals[0].parameters.values["overflow"] == overflow


def test_cast_of_complex_and_of_what_cannot_be_converted() -> None:
    source = weights(dtype("C128"), (40, 30))
    target = number_tensor(numbers_of(tensor_of(source.bits, F64, (40, 60))), F32)
    target = tensor_of(target.bits, dtype("C64"), (40, 30))
    assert exact_part(only("cast", target, source), target) == 1
    assert proposals("cast", weights(BF16, (40, 30)), source) == []
    assert proposals("cast", weights(dtype("F8_E8M0"), (40, 30)), weights(F32, (40, 30))) == []


# scale


def test_scale_is_found_exactly(subtests: pytest.Subtests) -> None:
    for d, axis, trained_in in product(WIDE, (0, 1), ("BF16", "F32")):
        with subtests.test(kind=d.name, axis=axis, trained_in=trained_in):
            before = weights(d, (256, 192), 1)
            random = np.random.default_rng(2)
            vector = numbers_of(
                number_tensor(1 + random.standard_normal(before.shape[axis]) * 0.3, dtype(trained_in))
            )
            scaled = numbers_of(before) * np.expand_dims(vector, 1 - axis).astype(numbers_of(before).dtype)
            target = number_tensor(scaled, d)
            proposal = only("scale", target, before)
            assert proposal.parameters.values == {"axis": axis}
            # The vector is found to 52 bits, like the products of 64-bit floats themselves.
            assert exact_part(proposal, target) > (0.9999 if d != F64 else 0.1)
            ranking = chooser.rank(Target("weight", target), [base(before)])
            assert ranking.proposals[0].update == "scale"
            assert Stored(proposal, Target("weight", target)).residual_bytes < 0.07 * d.nbytes(target.shape)


def test_scale_leaves_what_is_not_finite() -> None:
    before = weights(F32, (128, 64), 1)
    before.bits = before.bits.copy()
    before.bits[:4] = [0x7F812345, 0xFF800000, 0x7F7FFFFF, 0x00000001]
    proposal = scale.scaled(Target("w", before), base(before), 0, np.full(128, 4.0))
    out = predicted(proposal, Target("w", before))
    assert out[:4].tolist() == [0x7F812345, 0xFF800000, 0x7F7FFFFF, 0x00000004]


def test_scale_is_not_seen_in_a_fine_tune() -> None:
    before = weights(F32, (256, 192), 1)
    random = np.random.default_rng(3)
    moved = number_tensor(numbers_of(before) + random.standard_normal((256, 192)) * 4e-5, F32)
    assert proposals("scale", moved, before) == []
    assert proposals("scale", before, before) == []


# rows


def stacked(*parts: np.ndarray) -> ArrayTensor:
    values = np.concatenate(parts)
    return tensor_of(values.ravel(), BF16, values.shape)


def rows_of(tensor: ArrayTensor) -> np.ndarray:
    return tensor.bits.reshape(tensor.shape)


@pytest.mark.parametrize(
    ("change", "ranges"),
    [
        (lambda rows, new: [rows[:-100]], [[400, 0]]),
        (lambda rows, new: [rows, new], [[500, 0], [20, NEW]]),
        (lambda rows, new: [rows[30:]], [[470, 30]]),
        (lambda rows, new: [new, rows], [[20, NEW], [500, 0]]),
        (
            lambda rows, new: [rows[:100], rows[150:300], new, rows[300:]],
            [[100, 0], [150, 150], [20, NEW], [200, 300]],
        ),
        (lambda rows, new: [rows[250:], rows[:250]], [[250, 250], [250, 0]]),
        (lambda rows, new: [rows[:200], new, rows[220:], new[:1]], [[500, 0], [1, NEW]]),
        (lambda rows, new: [new, rows[:480]], [[20, NEW], [480, 0]]),
    ],
)
def test_rows_are_found_wherever_they_went(change: object, ranges: list[list[int]]) -> None:
    before, new = weights(BF16, (500, 96), 1), weights(BF16, (20, 96), 2)
    target = stacked(*change(rows_of(before), rows_of(new)))  # type: ignore[operator]
    proposal = only("rows", target, weights(BF16, (500, 95)), before)
    assert proposal.parameters.values == {"rows": 500, "ranges": ranges}
    assert_same(Stored(proposal, Target("weight", target)), target)
    known = np.repeat([start != NEW for _, start in ranges], [count for count, _ in ranges])
    right = (predicted(proposal, Target("w", target)).reshape(target.shape) == rows_of(target)).all(axis=1)
    assert np.mean(right[known]) > 0.95
    assert not predicted(proposal, Target("w", target)).reshape(target.shape)[~known].any()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_come_from_the_nearest_version(place: int) -> None:
    before = weights(BF16, (500, 96))
    others = [tensor_of(before.bits + np.uint16(step), BF16, before.shape) for step in (1, 2)]
    target = stacked(rows_of(before)[:-100])
    proposal = only("rows", target, *others[:place], before, *others[place:])
    assert proposal.bases[0].digest == base(before, str(place)).digest
    assert proposal.parameters.values == {"rows": 500, "ranges": [[400, 0]]}


def test_rows_in_many_ranges_become_arrays() -> None:
    before = weights(BF16, (4000, 40), 1)
    kept = np.sort(np.random.default_rng(0).permutation(4000)[:3000])
    target = stacked(rows_of(before)[kept])
    proposal = only("rows", target, before)
    assert set(proposal.parameters.arrays) == {"counts", "starts"}
    assert exact_part(proposal, target) == 1


def test_rows_over_several_chunks_read_each_chunk_of_the_base_once() -> None:
    before = weights(F32, (3000, 1024), 1)
    target = tensor_of(rows_of(before)[1::2].ravel(), F32, (1500, 1024))
    reads: list[tuple[int, int]] = []

    class Counted(ArrayTensor):
        def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
            reads.append((start, stop))
            return super().read(start, stop, out)

    counted = Counted(F32, before.shape, before.bits.view(np.uint8).data)
    proposal = only("rows", target, counted)
    reads.clear()
    assert exact_part(proposal, target) == 1
    assert len(reads) <= 5


def test_rows_scattered_everywhere_are_left_alone() -> None:
    before = weights(F32, (6000, 1024), 1)
    mixed = np.random.default_rng(0).permutation(6000)[:5800]
    target = tensor_of(rows_of(before)[mixed].ravel(), F32, (5800, 1024))
    assert proposals("rows", target, before) == []


def test_rows_of_a_vector_and_of_one_that_changed_everywhere() -> None:
    before = weights(F32, (500,), 1)
    target = tensor_of(before.bits[:400], F32, (400,))
    assert exact_part(only("rows", target, before), target) == 1
    moved = tensor_of(
        np.concatenate([weights(BF16, (500, 96), 1).bits + 1, np.ones(96, np.uint16)]), BF16, (501, 96)
    )
    proposal = only("rows", moved, weights(BF16, (500, 96), 1))
    assert proposal.parameters.values["ranges"] == [[500, 0], [1, NEW]]


# low-rank


def lora(d: DType, rows: int, columns: int, rank: int, seed: int = 0) -> tuple[ArrayTensor, ArrayTensor]:
    random = np.random.default_rng(seed)
    before = weights(d, (rows, columns), seed)
    product = (random.standard_normal((rows, rank)) * 0.01) @ (random.standard_normal((rank, columns)) * 0.01)
    return before, number_tensor(numbers_of(before) + product, d)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d", "share"), [(BF16, 0.08), (F16, 0.08), (F32, 0.08), (F64, 0.65)], ids=lambda x: str(x)
)
@pytest.mark.parametrize("rank", [1, 8])
def test_low_rank_is_found(d: DType, share: float, rank: int) -> None:
    before, target = lora(d, 512, 384, rank)
    proposal = only("low-rank", target, before)
    assert proposal.parameters.values["rank"] == rank
    ranking = chooser.rank(Target("weight", target), [base(before)])
    assert ranking.proposals[0].update == "low-rank"
    stored = Stored(proposal, Target("weight", target))
    assert_same(stored, target)
    arrays = sum(sampling.codec_bytes(array) for array in proposal.parameters.arrays.values())
    assert stored.residual_bytes + arrays < share * d.nbytes(target.shape)


def test_low_rank_is_not_seen_in_full_or_sparse_changes(subtests: pytest.Subtests) -> None:
    for d in (BF16, F32):
        with subtests.test(kind=d.name):
            before = weights(d, (512, 384), 1)
            random = np.random.default_rng(2)
            step = random.standard_normal((512, 384)) * 1e-3
            assert proposals("low-rank", number_tensor(numbers_of(before) + step, d), before) == []
            sparse = np.where(random.random((512, 384)) < 0.01, step, 0)
            assert proposals("low-rank", number_tensor(numbers_of(before) + sparse, d), before) == []
            assert proposals("low-rank", before, before) == []


def test_low_rank_products_are_exact_whatever_the_order() -> None:
    before, target = lora(F32, 200, 150, 8)
    random = np.random.default_rng(1)
    left, right = random.standard_normal((200, 8)), random.standard_normal((8, 150))
    proposal = low_rank.factored(Target("w", target), base(before), left, right)
    predictor = registry.by_name("low-rank").predictor(F32, (200, 150), [before], proposal.parameters)
    left, right = predictor.left, predictor.right  # type: ignore[attr-defined]
    for _ in range(3):
        order = random.permutation(8)
        total = np.zeros((200, 150))
        for number in order:
            total += np.multiply.outer(left[:, number], right[number])
        assert np.array_equal(total, left @ right)
    assert np.abs(left @ right - left @ right).max() == 0
    with pytest.raises(DamagedObject, match="exact"):
        values = {"rank": 4096, "bits": 22}
        registry.by_name("low-rank").predictor(F32, (200, 150), [before], Parameters(values))


def test_low_rank_keeps_nan_and_infinity_of_the_base() -> None:
    before, target = lora(BF16, 128, 128, 2)
    before.bits = before.bits.copy()
    before.bits[:3] = [0x7FC1, 0xFF80, 0x7F7F]
    proposal = low_rank.factored(Target("w", target), base(before), np.ones((128, 1)), np.ones((1, 128)))
    assert predicted(proposal, Target("w", target))[:3].tolist() == [0x7FC1, 0xFF80, 0x7F7F]


# combine


def test_the_mean_of_two_is_exact(subtests: pytest.Subtests) -> None:
    for d in (*WIDE, dtype("C64"), dtype("F8_E5M2")):
        with subtests.test(kind=d.name):
            parts = [weights(d, (256, 192), seed, 0.5) for seed in (1, 2)]
            real = [
                numbers_of(tensor_of(part.bits, dtype({"C64": "F32"}.get(d.name, d.name)), (part.items,)))
                for part in parts
            ]
            mean = number_tensor(
                (real[0].astype(np.float64) + real[1]) / 2, dtype({"C64": "F32"}.get(d.name, d.name))
            )
            target = tensor_of(mean.bits, d, (256, 192))
            proposal = only("combine", target, *parts)
            assert proposal.parameters.values["coefficients"] == [0.5, 0.5]
            assert exact_part(proposal, target) == 1
            ranking = chooser.rank(Target("weight", target), [base(part) for part in parts])
            assert ranking.proposals[0].update == "combine"


@pytest.mark.parametrize("arithmetic", combine.ARITHMETICS)
def test_combine_finds_the_arithmetic(arithmetic: str) -> None:
    parts = [weights(BF16, (128, 96), seed, 0.5) for seed in (1, 2, 3)]
    coefficients = [1 / 3, 0.3, 0.7 / 3]
    values = {"arithmetic": arithmetic, "coefficients": coefficients}
    made = Proposal("combine", tuple(map(base, parts)), Parameters(values))
    target = tensor_of(predicted(made, Target("w", parts[0])), BF16, (128, 96))
    proposal = combine.combined(Target("w", target), [base(part) for part in parts], coefficients)
    assert exact_part(proposal, target) == 1


def test_combine_estimates_coefficients() -> None:
    parts = [weights(F32, (128, 96), seed) for seed in (1, 2, 3)]
    target = number_tensor(
        0.3 * numbers_of(parts[0]) - 0.25 * numbers_of(parts[1]) + 1.1 * numbers_of(parts[2]), F32
    )
    proposal = only("combine", target, *parts)
    assert proposal.parameters.values["coefficients"] == pytest.approx([0.3, -0.25, 1.1], abs=1e-7)
    assert proposals("combine", weights(F32, (128, 96), 4), *parts) == []


def test_combine_keeps_what_is_not_finite_of_the_first_base() -> None:
    parts = [weights(BF16, (1, 16), seed) for seed in (1, 2)]
    for part, special in zip(parts, ([0x7FC1, 0x0000, 0x7F80], [0x3F80, 0xFFC5, 0xFF80]), strict=True):
        part.bits = part.bits.copy()
        part.bits[:3] = special
    values = {"arithmetic": "f32", "coefficients": [0.5, 0.5]}
    made = Proposal("combine", tuple(map(base, parts)), Parameters(values))
    assert predicted(made, Target("w", parts[0]))[:3].tolist() == [0x7FC1, 0x0000, 0x7F80]


# all of them, on anything


@st.composite
def tensors(draw: st.DrawFn, d: DType, shape: tuple[int, ...]) -> ArrayTensor:
    size = d.nbytes(shape)
    if draw(st.booleans()):
        return weights(d, shape, draw(st.integers(0, 99)))
    return ArrayTensor(d, shape, draw(st.binary(min_size=size, max_size=size)))


def repeatable(proposal: Proposal) -> tuple[object, ...]:
    """All of a proposal that is stored."""
    arrays = {name: array.tobytes() for name, array in proposal.parameters.arrays.items()}
    return proposal.update, [one.digest for one in proposal.bases], proposal.parameters.values, arrays


SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_tensor_comes_back_by_whatever_the_chooser_takes(data: st.DataObject) -> None:
    d = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(SHAPES)
    bases = [
        base(
            data.draw(
                tensors(
                    data.draw(st.sampled_from([d, d, *DTYPES])), data.draw(st.sampled_from([shape]) | SHAPES)
                )
            )
        )
        for _ in range(data.draw(st.integers(0, 4)))
    ]
    target = Target("weight", data.draw(tensors(d, shape)))
    ranking = chooser.rank(target, bases)
    assert list(map(repeatable, ranking.proposals)) == list(
        map(repeatable, chooser.rank(target, bases).proposals)
    )
    assert ranking.proposals[-1] == Proposal("dense", ())
    for proposal in ranking.proposals[:-1]:
        assert_same(Stored(proposal, target, data.draw(st.booleans())), target.tensor)


@st.composite
def a_proposal(draw: st.DrawFn, target: Target, bases: list[ArrayTensor]) -> Proposal:
    """A well-formed update of any kind, whether it predicts well or not."""
    d, shape = target.dtype, target.shape
    same = [base(one) for one in bases if one.dtype == d]
    kinds = ["delta"]
    if d.kind in ("float", "complex"):
        kinds.append("combine")
    if d.kind == "float" and shape:
        kinds += ["scale", "rows", "cast"]
    if d.kind == "float" and d.itemsize >= 2 and len(shape) >= 2:
        kinds.append("low-rank")
    kind = draw(st.sampled_from(kinds))
    any_float = st.floats(-100, 100)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if kind == "combine":
        chosen = draw(st.lists(st.sampled_from(same), min_size=1, max_size=3))
        values = {
            "arithmetic": draw(st.sampled_from(combine.ARITHMETICS)),
            "coefficients": [draw(any_float) for _ in chosen],
        }
        return Proposal(kind, tuple(chosen), Parameters(values))
    if kind == "scale":
        axis = draw(st.integers(0, len(shape) - 1))
        return scale.scaled(target, same[0], axis, random.standard_normal(shape[axis]) * 3)
    if kind == "rows":
        rows = shape[0]
        values = {"rows": rows, "ranges": [[1, draw(st.integers(NEW, rows - 1))] for _ in range(rows)]}
        return Proposal(kind, (same[0],), Parameters(values))
    if kind == "cast":
        source = draw(st.sampled_from([one for one in FLOATS if one != d]))
        other = base(weights(source, shape, draw(st.integers(0, 9))))
        overflow = draw(st.sampled_from(["saturate", "nan"]))
        return Proposal(kind, (other,), Parameters({"from": source.name, "overflow": overflow}))
    if kind == "low-rank":
        rank = draw(st.integers(1, 5))
        left, right = (
            random.standard_normal((shape[0], rank)),
            random.standard_normal((rank, target.tensor.items // shape[0])),
        )
        return low_rank.factored(target, same[0], left, right)
    return Proposal("delta", (same[0],))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_chains_of_any_kinds_come_back(data: st.DataObject) -> None:
    d = data.draw(st.sampled_from([*FLOATS, dtype("C64"), dtype("I32"), dtype("BOOL")]))
    shape = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=3).map(tuple))
    versions: list[ArrayTensor] = [data.draw(tensors(d, shape))]
    for _ in range(data.draw(st.integers(1, 4))):
        target = Target("weight", data.draw(tensors(d, shape)))
        stored = Stored(data.draw(a_proposal(target, versions)), target, data.draw(st.booleans()))
        assert_same(stored, target.tensor)
        versions.append(stored)  # type: ignore[arg-type]


def test_bases_that_were_stored_as_something_else() -> None:
    """Equal bytes are stored once, under the dtype and shape that came first."""
    before, target = lora(F32, 90, 70, 2)
    named = Target("w", target)
    for proposal in (
        Proposal("delta", (base(before),)),
        low_rank.factored(named, base(before), np.ones((90, 2)), np.ones((2, 70))),
        scale.scaled(named, base(before), 0, np.full(90, 2.0)),
        Proposal("rows", (base(before),), Parameters({"rows": 90, "ranges": [[90, 0]]})),
        combine.combined(named, [base(before), base(target)], [0.5, 0.5]),
    ):
        others = []
        for one in proposal.bases:
            raw = one.tensor.read(0, one.tensor.items).view(np.uint8)
            others.append(base(tensor_of(raw, dtype("U8"), (raw.size,))))
        other = Proposal(proposal.update, tuple(others), proposal.parameters)
        assert np.array_equal(predicted(other, named), predicted(proposal, named))
        short = Proposal(proposal.update, (base(weights(F32, (90, 69))),), proposal.parameters)
        with pytest.raises(DamagedObject):
            predicted(short, named)


def test_predictions_of_parts_are_parts_of_the_prediction() -> None:
    before, target = lora(F32, 300, 70, 2)
    named = Target("w", target)
    for proposal in (
        low_rank.factored(named, base(before), np.ones((300, 2)), np.ones((2, 70)) / 3),
        scale.scaled(named, base(before), 0, np.linspace(0.5, 2, 300)),
        scale.scaled(named, base(before), 1, np.linspace(0.5, 2, 70)),
        Proposal(
            "rows", (base(before),), Parameters({"rows": 300, "ranges": [[100, 200], [50, NEW], [150, 7]]})
        ),
        combine.combined(named, [base(before), base(target)], [0.25, 0.75]),
    ):
        whole = predicted(proposal, named)
        predictor = registry.by_name(proposal.update).predictor(
            F32, (300, 70), [one.tensor for one in proposal.bases], proposal.parameters
        )
        for start, stop in ((0, 1), (69, 71), (7000, 7777), (20_999, 21_000), (100, 100)):
            out = np.empty(stop - start, np.uint32)
            predictor.predict(start, stop, out)
            assert np.array_equal(out, whole[start:stop])


# parameters from damaged objects


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hostile_parameters_are_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["delta", "cast", "scale", "rows", "low-rank", "combine"]))
    before = weights(data.draw(st.sampled_from([F32, BF16])), (4, 6))
    number = st.integers(-3, 8) | st.sampled_from(
        [1 << 40, 1 << 70, True, None, "1", 0.5, float("nan"), [], {}]
    )
    names = ["rank", "bits", "axis", "rows", "ranges", "arithmetic", "coefficients", "from", "overflow"]
    values = data.draw(
        st.dictionaries(
            st.sampled_from(names),
            number
            | st.lists(number | st.lists(number, max_size=3), max_size=4)
            | st.sampled_from(["f32", "step", "F32", "BF16", "U8", "nan", "saturate", "bogus"]),
        )
    )
    arrays = {
        name: np.frombuffer(data.draw(st.binary(min_size=size * width, max_size=size * width)), f"<u{width}")
        for name in data.draw(
            st.sets(
                st.sampled_from(["left", "right", "left_scale", "right_scale", "vector", "counts", "starts"])
            )
        )
        for size, width in [
            (data.draw(st.sampled_from([0, 3, 4, 6, 8, 12])), data.draw(st.sampled_from([1, 2, 4, 8])))
        ]
    }
    bases = [before] * data.draw(st.integers(0, 3))
    try:
        predictor = registry.by_name(kind).predictor(before.dtype, (4, 6), bases, Parameters(values, arrays))
    except DamagedObject:
        return
    out = np.empty(24, before.dtype.storage)
    predictor.predict(0, 24, out)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("rows", {"rows": 4, "ranges": [[4, 1]]}),
        ("rows", {"rows": 4, "ranges": [[5, 0]]}),
        ("rows", {"rows": 4, "ranges": [[3, 0]]}),
        ("rows", {"rows": 4, "ranges": [[4, -2]]}),
        ("rows", {"rows": 5, "ranges": [[4, 0]]}),
        ("combine", {"arithmetic": "f32", "coefficients": [1, 2]}),
        ("combine", {"arithmetic": "f16", "coefficients": [1]}),
        ("combine", {"arithmetic": "f32", "coefficients": ["1"]}),
        ("cast", {"from": "F32"}),
        ("cast", {"from": "F64"}),
        ("cast", {"from": "BF16", "overflow": "wrap"}),
        ("scale", {"axis": 2}),
        ("scale", {}),
        ("low-rank", {"rank": 0, "bits": 8}),
    ],
)
def test_parameters_that_do_not_fit(kind: str, values: dict[str, object]) -> None:
    with pytest.raises(DamagedObject, match="parameters of update"):
        registry.by_name(kind).predictor(F32, (4, 6), [weights(F32, (4, 6))], Parameters(values))
