"""Tensors that are stored and read back, by every way that they are stored, and with damage on the way."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from git_theta.dtypes import _ALL, DType, dtype
from git_theta.errors import DamagedManifest, DamagedObject, MissingObject, ThetaError
from git_theta.manifest import StorageLine
from git_theta.objects.arrays import BUNDLE_CHUNK_BYTES
from git_theta.objects.fsck import check_tensors
from git_theta.objects.reader import Objects, StoredTensor
from git_theta.objects.store import LocalStore
from git_theta.objects.writer import SMALL_BYTES, Bundle, Payload, TensorWriter
from git_theta.tensors import CHUNK_BYTES, ArrayTensor, Tensor
from git_theta.updates import registry
from git_theta.updates.interface import Base, Parameters, Proposal, Target

HUGE = 1 << 62


class Threads(ThreadPoolExecutor):
    """Threads that remember what they were given to do."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.given: list[Future[Any]] = []

    def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.given.append(super().submit(*arguments, **named))
        return self.given[-1]


class Shelf:
    """A store with a writer and a reader, and the lines of what was put in it."""

    def __init__(self, folder: Path, executor: Threads) -> None:
        self.store = LocalStore(folder)
        self.executor = executor
        self.lines: dict[str, StorageLine] = {}
        self.objects = Objects(self.store)

    def encode(
        self, kind: DType, shape: tuple[int, ...], data: bytes, proposals: Sequence[tuple[Proposal, int]] = ()
    ) -> tuple[str, StorageLine | Payload]:
        writer = TensorWriter(self.store, self.executor, grouping="on")
        digest = blake3(data).hexdigest()
        target = Target("tensor", ArrayTensor(kind, shape, data))
        return digest, writer.encode(target, digest, proposals)

    def put(self, *encoded: StorageLine | Payload) -> list[StorageLine]:
        """Write payloads into one object, and note all lines."""
        writer = TensorWriter(self.store, self.executor, grouping="on")
        payloads = [one for one in encoded if isinstance(one, Payload)]
        lines = [one for one in encoded if isinstance(one, StorageLine)]
        lines += writer.write(payloads) if payloads else []
        self.lines |= {line.digest: line for line in lines}
        return lines

    def add(self, kind: DType, shape: tuple[int, ...], data: bytes, *proposals: tuple[Proposal, int]) -> str:
        digest, encoded = self.encode(kind, shape, data, proposals)
        self.put(encoded)
        return digest

    def tensor(self, digest: str, kind: DType, shape: tuple[int, ...]) -> Tensor:
        return Objects(self.store).tensor(digest, self.lines, kind, shape)

    def read(self, digest: str, kind: DType, shape: tuple[int, ...]) -> bytes:
        tensor = self.tensor(digest, kind, shape)
        return tensor.read(0, tensor.items).tobytes()

    def path(self, line: StorageLine) -> Path:
        found = self.store.find(line.oid)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def executor() -> Iterator[Threads]:
    with Threads(2) as threads:
        yield threads


@pytest.fixture
def shelf(tmp_path: Path, executor: Threads) -> Shelf:
    executor.given.clear()
    return Shelf(tmp_path / "theta", executor)


SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (1,), (7,), (8, 3, 4), (40_000,)]


def test_every_dtype_and_shape_comes_back(shelf: Shelf, subtests: pytest.Subtests) -> None:
    for kind in _ALL:
        with subtests.test(kind=kind.name):
            random = np.random.default_rng(0)
            wanted = [(shape, random.bytes(kind.nbytes(shape))) for shape in SHAPES]
            encoded = [shelf.encode(kind, shape, data) for shape, data in wanted]
            shelf.put(*dict(encoded).values())
            for shape, data in wanted:
                assert shelf.read(blake3(data).hexdigest(), kind, shape) == data


@pytest.mark.parametrize("more", [-2, 0, 2])
def test_tensors_around_the_size_of_chunks(shelf: Shelf, more: int) -> None:
    kind, items = dtype("BF16"), 2 * CHUNK_BYTES // 2 + more
    data = (np.arange(items) >> 3).astype("<u2").tobytes()
    digest = shelf.add(kind, (items,), data)
    assert shelf.read(digest, kind, (items,)) == data
    tensor = shelf.tensor(digest, kind, (items,))
    whole = np.frombuffer(data, "<u2")
    step = CHUNK_BYTES // 2
    for start, stop in [(0, 0), (5, 5), (step, step), (step - 1, step + 1), (3, items), (items, items)]:
        assert np.array_equal(tensor.read(start, stop), whole[start:stop])
        out = np.full(stop - start, 7, "<u2")
        assert tensor.read(start, stop, out) is out
        assert np.array_equal(out, whole[start:stop])


def test_small_tensors_share_an_object_and_large_ones_have_their_own(shelf: Shelf) -> None:
    small = [shelf.encode(dtype("U8"), (n,), os.urandom(n))[1] for n in (10, SMALL_BYTES - 1)]
    assert all(isinstance(one, Payload) for one in small)
    lines = shelf.put(*small)
    assert len({line.oid for line in lines}) == 1
    assert [line.member for line in lines] == [0, 1]
    assert isinstance(shelf.encode(dtype("U8"), (SMALL_BYTES,), os.urandom(SMALL_BYTES))[1], StorageLine)


def test_a_bundle_is_full_by_bytes_or_by_members(shelf: Shelf) -> None:
    empty = shelf.encode(dtype("F32"), (0,), b"")[1]
    large = shelf.encode(dtype("U8"), (60_000,), bytes(60_000))[1]
    for payload, most in ((empty, 5000), (large, 160)):
        assert isinstance(payload, Payload)
        bundle = Bundle()
        while not bundle.full:
            bundle.add(payload)
        assert len(bundle.payloads) < most


def test_who_reads_one_of_many_decodes_little_of_the_others(shelf: Shelf) -> None:
    data = [os.urandom(SMALL_BYTES - 1) for _ in range(12)]
    encoded = [shelf.encode(dtype("U8"), (len(one),), one) for one in data]
    (oid,) = {line.oid for line in shelf.put(*(payload for _, payload in encoded))}
    info = shelf.store.container(oid).arrays["data1"]
    assert (info.inner, info.version) == (BUNDLE_CHUNK_BYTES, 2)
    for (digest, _), one in zip(encoded, data, strict=True):
        assert shelf.read(digest, dtype("U8"), (len(one),)) == one
    (alone,) = {line.oid for line in shelf.put(*(payload for _, payload in encoded[:2]))}
    assert shelf.store.container(alone).arrays["data1"].version == 1  # as every program has read it


def test_what_is_written_is_what_its_line_says(shelf: Shelf) -> None:
    digest = shelf.add(dtype("F32"), (100_000,), os.urandom(400_000))
    line = shelf.lines[digest]
    assert shelf.path(line).stat().st_size == line.size
    member = shelf.objects.member(line)
    assert 390_000 < member.stored_bytes() < line.size
    assert (member.member.dtype, member.member.shape) == (dtype("F32"), (100_000,))


def test_equal_bytes_can_be_read_as_another_dtype_and_shape(shelf: Shelf) -> None:
    data = os.urandom(800_000)
    digest = shelf.add(dtype("F32"), (200_000,), data)
    for name, shape in (("F64", (100, 1000)), ("U8", (800_000,)), ("C64", (10, 10_000)), ("I32", (200_000,))):
        assert shelf.read(digest, dtype(name), shape) == data
        tensor = shelf.tensor(digest, dtype(name), shape)
        whole = np.frombuffer(data, dtype(name).storage)
        assert np.array_equal(tensor.read(1001, 1003), whole[1001:1003])
    with pytest.raises(DamagedObject, match="number of bytes"):
        shelf.tensor(digest, dtype("F32"), (200_001,))


def base_of(shelf: Shelf, digest: str, kind: DType, shape: tuple[int, ...]) -> Base:
    return Base("tensor", digest, shelf.tensor(digest, kind, shape))


def delta(base: Base) -> Proposal:
    return Proposal("delta", (base,))


@given(
    st.sampled_from(["BF16", "F32", "F64", "U8", "I16", "C64", "F4"]),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_updates_come_back(
    tmp_path_factory: pytest.TempPathFactory, executor: ThreadPoolExecutor, name: str, data: st.DataObject
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("theta"), executor)
    kind, count = dtype(name), data.draw(st.integers(1, 300))
    nbytes = kind.nbytes((count,))
    before = data.draw(arrays(np.uint8, nbytes))
    after = before.copy()
    for at in data.draw(st.sets(st.integers(0, nbytes - 1), min_size=1, max_size=20)):
        after[at] ^= data.draw(st.integers(1, 255))
    base = base_of(shelf, shelf.add(kind, (count,), before.tobytes()), kind, (count,))
    new = shelf.add(kind, (count,), after.tobytes(), (delta(base), HUGE))
    assert shelf.read(new, kind, (count,)) == after.tobytes()
    assert shelf.lines[new].update == "delta"


def fine_tuned(seed: int, shape: tuple[int, ...] = (1500, 1000), spread: float = 1e-3) -> tuple[bytes, bytes]:
    random = np.random.default_rng(seed)
    before = random.standard_normal(shape).astype("<f4") * 0.02
    after = before + random.standard_normal(shape).astype("<f4") * spread * 0.02
    return before.tobytes(), after.astype("<f4").tobytes()


def test_a_chain_of_large_updates_comes_back(shelf: Shelf) -> None:
    kind, shape = dtype("F32"), (1500, 1000)
    data, _ = fine_tuned(0)
    digest, dense = shelf.add(kind, shape, data), 0
    for step in range(5):
        changed = np.frombuffer(data, "<f4").copy()
        changed[step :: 50 + step] *= np.float32(1.001)
        base = base_of(shelf, digest, kind, shape)
        data = changed.tobytes()
        digest = shelf.add(kind, shape, data, (delta(base), HUGE))
        line = shelf.lines[digest]
        dense = dense or len(data)
        assert (line.update, line.bases) == ("delta", (base.digest,))
        assert line.size < dense // 10
    assert shelf.read(digest, kind, shape) == data
    tensor = shelf.tensor(digest, kind, shape)
    whole = np.frombuffer(data, "<u4")
    edge = CHUNK_BYTES // 4
    assert np.array_equal(tensor.read(edge - 3, edge + 3), whole[edge - 3 : edge + 3])


def test_checking_a_chain_decodes_each_of_its_tensors_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, shape = dtype("F32"), (1500, 1000)
    values = np.frombuffer(fine_tuned(0)[0], "<f4").copy()
    digests = [shelf.add(kind, shape, values.tobytes())]
    for step in range(4):
        values[step :: 50 + step] *= np.float32(1.001)
        base = base_of(shelf, digests[-1], kind, shape)
        digests.append(shelf.add(kind, shape, values.tobytes(), (delta(base), HUGE)))
    trimmed = values[: 1000 * 1000].tobytes()  # by a kind that reads its base out of order, or not all of it
    base = base_of(shelf, digests[-1], kind, shape)
    rows = Proposal("rows", (base,), Parameters({"rows": 1500, "ranges": [[1000, 0]]}))
    digests.append(shelf.add(kind, (1000, 1000), trimmed, (rows, HUGE)))
    assert shelf.lines[digests[-1]].update == "rows"
    decoded: Counter[str] = Counter()

    def counted(tensor: StoredTensor, number: int, first: int, last: int, out: Any) -> None:
        decoded[tensor._source.member.digest] += last - first
        read(tensor, number, first, last, out)

    read = StoredTensor._chunk
    monkeypatch.setattr(StoredTensor, "_chunk", counted)
    checked = [(digest, shelf.lines) for digest in digests]
    assert list(check_tensors(Objects(shelf.store), checked[:-1])) == []
    assert decoded == dict.fromkeys(digests[:-1], 1_500_000)
    decoded.clear()
    assert list(check_tensors(Objects(shelf.store), [*checked, *checked])) == []
    assert decoded[digests[-1]] == 1_000_000
    assert decoded[digests[0]] < 3 * 1_500_000


def test_what_is_wrong_below_is_said_of_all_that_need_it(shelf: Shelf) -> None:
    kind, shape = dtype("F32"), (300, 300)
    values = np.frombuffer(fine_tuned(0)[0], "<f4")[: 300 * 300].copy()
    first = shelf.add(kind, shape, values.tobytes())
    values[::50] *= np.float32(1.001)
    second = shelf.add(kind, shape, values.tobytes(), (delta(base_of(shelf, first, kind, shape)), HUGE))
    other = shelf.add(kind, shape, (values + 1).tobytes())
    lines = shelf.lines
    swapped = {**lines, first: replace(lines[other], digest=first)}  # another object's data, whole in itself
    faults = list(
        check_tensors(Objects(shelf.store), [(digest, swapped) for digest in (first, second, other)])
    )
    assert {fault.digest for fault in faults} == {first, second}


def test_an_exact_prediction_stores_nothing(shelf: Shelf) -> None:
    kind, shape = dtype("F32"), (1500, 1000)
    data, _ = fine_tuned(1)
    old = shelf.add(kind, shape, data)
    digest, encoded = shelf.encode(kind, shape, data, [(delta(base_of(shelf, old, kind, shape)), 0)])
    assert isinstance(encoded, Payload)
    assert encoded.member.residual is None
    assert digest == old


def test_an_update_that_takes_more_than_it_may_is_not_used(shelf: Shelf) -> None:
    kind, shape = dtype("F32"), (1500, 1000)
    before, after = fine_tuned(2, spread=0.5)
    base = base_of(shelf, shelf.add(kind, shape, before), kind, shape)
    for limit in (0, 1000, 2_000_000):
        digest = shelf.add(kind, shape, after, (delta(base), limit))
        assert shelf.lines[digest].update == "dense"
        assert shelf.read(digest, kind, shape) == after
    assert not list((shelf.store.root / "tmp").iterdir())


def damage(path: Path, at: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


def test_a_damaged_or_missing_base_is_done_without(shelf: Shelf) -> None:
    kind, shape = dtype("F32"), (1500, 1000)
    before, after = fine_tuned(3)
    base = base_of(shelf, shelf.add(kind, shape, before), kind, shape)
    path = shelf.path(shelf.lines[base.digest])
    damage(path, path.stat().st_size // 2)
    digest = shelf.add(kind, shape, after, (delta(base), HUGE))
    assert shelf.lines[digest].update == "dense"
    path.unlink()
    reopened = shelf.encode(kind, shape, after, [(delta(base), HUGE)])[1]
    assert isinstance(reopened, StorageLine)
    assert reopened.update == "dense"
    assert shelf.read(digest, kind, shape) == after


class Wrong:
    """A prediction that is another one each time: what a broken kind, or another processor, would do."""

    name = "wrong"

    def __init__(self) -> None:
        self.calls = 0

    def propose(self, target: Target, bases: Sequence[Base]) -> list[Proposal]:
        return []

    def predictor(
        self, dtype: DType, shape: tuple[int, ...], bases: Sequence[Tensor], parameters: Parameters
    ) -> Wrong:
        return self

    def predict(self, start: int, stop: int, out: Any) -> None:
        self.calls += 1
        out[:] = self.calls


def test_parameters_have_bounds(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "by_name", lambda name: Wrong())
    proposal = Proposal("wrong", (), Parameters({}, {"a": np.zeros(300_000, "<u8")}))
    digest = shelf.add(dtype("U8"), (100,), os.urandom(100), (proposal, HUGE))
    assert shelf.lines[digest].update == "dense"
    proposal = Proposal("wrong", (), Parameters({}, {"a": np.zeros(100, "<u8")}))
    digest = shelf.add(dtype("U8"), (100,), os.urandom(100), (proposal, HUGE))
    assert shelf.lines[digest].update == "wrong"


def test_many_objects_are_read_with_few_open_files(shelf: Shelf) -> None:
    data = [os.urandom(SMALL_BYTES) for _ in range(250)]
    digests = [shelf.add(dtype("U8"), (SMALL_BYTES,), one) for one in data]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 150, hard))
    try:
        objects = Objects(shelf.store)
        tensors = [objects.tensor(d, shelf.lines, dtype("U8"), (SMALL_BYTES,)) for d in digests]
        for tensor, wanted in zip(tensors, data, strict=True):
            assert tensor.read(0, tensor.items).tobytes() == wanted
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("update", ["dense", "delta"])
def test_flipped_bits_of_large_objects_are_noticed_or_harmless(shelf: Shelf, update: str) -> None:
    kind, shape = dtype("F32"), (200, 100)
    before, after = fine_tuned(4, shape)
    base = base_of(shelf, shelf.add(kind, shape, before), kind, shape)
    digest = shelf.add(kind, shape, after, *[(delta(base), HUGE)] * (update == "delta"))
    assert shelf.lines[digest].update == update
    path = shelf.path(shelf.lines[digest])
    pristine, noticed, tried = path.read_bytes(), 0, range(0, path.stat().st_size, 331)
    path.chmod(0o644)
    for at in tried:
        damaged = bytearray(pristine)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            assert shelf.read(digest, kind, shape) == after
        except DamagedObject as error:
            noticed += shelf.lines[digest].oid[:12] in error.message and bool(error.remedy)
    assert noticed > len(tried) * 0.9


def test_truncated_objects_are_noticed(shelf: Shelf) -> None:
    digest = shelf.add(dtype("U8"), (70_000,), os.urandom(70_000))
    path = shelf.path(shelf.lines[digest])
    whole = path.read_bytes()
    path.chmod(0o644)
    for length in [0, 1, 100, 60_000, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedObject):
            shelf.read(digest, dtype("U8"), (70_000,))


def test_a_line_that_says_something_else_than_the_object_is_refused(shelf: Shelf) -> None:
    kind, data = dtype("U8"), os.urandom(100_000)
    digest = shelf.add(kind, (100_000,), data)
    line = shelf.lines[digest]
    for wrong in (
        replace(line, member=1),
        replace(line, member=1 << 40),
        replace(line, update="delta", bases=()),
    ):
        with pytest.raises(DamagedObject, match="does not hold"):
            shelf.objects.member(wrong)
    other = blake3(b"other").hexdigest()
    shelf.lines[other] = replace(line, digest=other)
    with pytest.raises(DamagedObject, match="does not hold"):
        shelf.read(other, kind, (100_000,))


def test_what_is_missing(shelf: Shelf) -> None:
    digest = shelf.add(dtype("U8"), (100_000,), os.urandom(100_000))
    shutil.rmtree(shelf.store.root / "objects")
    with pytest.raises(MissingObject) as caught:
        shelf.read(digest, dtype("U8"), (100_000,))
    assert caught.value.oids == (shelf.lines[digest].oid,)
    with pytest.raises(DamagedManifest):
        shelf.read("0" * 64, dtype("U8"), (1,))


@pytest.mark.parametrize("room", [0, 1000, 500_000])
def test_a_full_disk_leaves_nothing_and_threads_at_rest(
    shelf: Shelf, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an object of a large tensor, an update or a bundle is being written."""
    kind, shape = dtype("F32"), (3000, 1000)
    before, after = fine_tuned(5, shape, 0.01)
    base = base_of(shelf, shelf.add(kind, shape, before), kind, shape)
    small = [shelf.encode(kind, (10_000,), os.urandom(40_000))[1] for _ in range(30)]
    objects = sorted(shelf.store.oids())
    plain, left = os.write, room

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = plain(descriptor, data[:left])
        left -= done
        return done

    monkeypatch.setattr(os, "write", write)
    for store in (
        lambda: shelf.encode(kind, shape, after),
        lambda: shelf.encode(kind, shape, after, [(delta(base), HUGE)]),
        lambda: shelf.put(*small),
    ):
        left = room
        with pytest.raises(ThetaError, match="No space left"):
            store()
        assert sorted(shelf.store.oids()) == objects
        assert not list((shelf.store.root / "tmp").iterdir())
        assert all(one.done() for one in shelf.executor.given)  # or cancelled


def test_a_tensor_that_cannot_be_read_is_not_stored(shelf: Shelf) -> None:
    class Broken(ArrayTensor):
        def read(self, start: int, stop: int, out: Any = None) -> Any:
            raise OSError(errno.EIO, "Input/output error")

    tensor = Broken(dtype("U8"), (9 << 20,), bytes(9 << 20))
    writer = TensorWriter(shelf.store, shelf.executor, grouping="on")
    with pytest.raises(OSError, match="Input/output error"):
        writer.encode(Target("tensor", tensor), "0" * 64, ())
    assert list(shelf.store.oids()) == []
    assert not list((shelf.store.root / "tmp").iterdir())
