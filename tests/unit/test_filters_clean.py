"""Clean: what goes in comes out again, the same file is the same blob, and nothing bad is believed."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from filter_examples import Bytes, Workshop, weights
from git_repo import safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import manifest as manifests
from git_theta.checkpoints import registry
from git_theta.checkpoints.layout import Layout, Source, Span
from git_theta.dtypes import _ALL, dtype
from git_theta.errors import DamagedCheckpoint, ThetaError
from git_theta.filters import single_pass, skeleton
from git_theta.filters.clean import Request
from git_theta.filters.file_tensors import Allowance, FileTensor, HeldTensor
from git_theta.filters.source import Content
from git_theta.manifest import Manifest, StorageLine
from git_theta.manifest.chains import costs
from git_theta.objects.writer import TensorWriter
from git_theta.settings import Settings
from git_theta.storing.ledger import Ledger
from git_theta.tensors import CHUNK_BYTES, ArrayTensor
from git_theta.updates import chooser
from git_theta.updates.interface import Target


def again(workshop: Workshop, **options: Any) -> Workshop:
    """A new process in the same repository."""
    return Workshop(workshop.store.root, **options)


def every_kind() -> bytes:
    random = np.random.default_rng(0)
    tensors = {}
    for kind in _ALL:
        for shape in [(), (0,), (2, 0), (4,), (300, 8)]:
            if kind.bits * int(np.prod(shape)) % 8 == 0:
                tensors[f"{kind.name}{list(shape)}"] = kind.name, shape, random.bytes(kind.nbytes(shape))
    return safetensors_bytes(tensors, {"format": "pt", "note": "ü"})


def large() -> bytes:
    items = CHUNK_BYTES // 2 + 3
    data = (np.arange(2 * items) >> 4).astype("<u2")
    return safetensors_bytes({"a": ("BF16", (2, items), data.tobytes()), "b": ("BF16", (), b"\1\2")})


ONE_BYTE = "U8", (1,), b"x"
FILES: dict[str, Callable[[], bytes]] = {
    "every kind": every_kind,
    "large": large,
    "no tensors": lambda: safetensors_bytes({}),
    "only empty tensors": lambda: safetensors_bytes({"a": ("F32", (0, 3), b""), "b": ("F32", (0,), b"")}),
    "same bytes twice": lambda: safetensors_bytes(dict.fromkeys("ab", ("F32", (9,), b"\x07" * 36))),
    "odd names": lambda: safetensors_bytes(
        dict.fromkeys(("", "\n", "ü ", "\u2028", '"', "a/../b"), ("U8", (1,), b"x"))
    ),
    "nothing": lambda: b"",
    "one byte": lambda: b"\0",
    "text": lambda: b"not a checkpoint",
    "exactly the probe": lambda: bytes(4096),
    "opaque and large": lambda: np.random.default_rng(1).bytes(CHUNK_BYTES + 1000),
}


@pytest.mark.parametrize("name", FILES)
def test_what_goes_in_comes_out(name: str, workshop: Workshop) -> None:
    data = FILES[name]()
    text = workshop.clean(data)
    assert again(workshop).smudge(text) == data
    assert workshop.at_rest()
    assert manifests.parse(text).size == len(data)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=4).filter(lambda name: name != "__metadata__"),
        st.tuples(
            st.sampled_from(["F32", "BF16", "I64", "U8", "F8_E4M3"]), st.integers(0, 40), st.integers(0, 3)
        ),
        max_size=6,
    )
)
@settings(max_examples=25, deadline=None)
def test_any_file_comes_out_and_is_the_same_blob_again(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[str, int, int]]
) -> None:
    workshop = Workshop(tmp_path_factory.mktemp("clean") / "theta")
    data = safetensors_bytes(
        {
            name: (kind, (count,), np.random.default_rng(seed).bytes(dtype(kind).nbytes((count,))))
            for name, (kind, count, seed) in tensors.items()
        }
    )
    text = workshop.clean(data)
    assert workshop.smudge(text) == data
    objects = workshop.oids()
    assert workshop.clean(data, text) == text
    assert workshop.clean(data) == text, "also where Git knows nothing of the path"
    assert workshop.oids() == objects


def test_pytorch_files_come_out(workshop: Workshop) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.arange(60_000, dtype=torch.float32).reshape(200, 300)
    file = io.BytesIO()
    torch.save(
        {"a": weight, "tied": weight, "turned": weight.t(), "b": torch.ones(3).bfloat16(), "step": 7}, file
    )
    text = workshop.clean(file.getvalue(), name="model.pt")
    manifest = manifests.parse(text)
    assert manifest.format == "pytorch"
    assert manifest.views
    assert workshop.smudge(text) == file.getvalue()
    assert workshop.clean(file.getvalue(), text, name="model.pt") == text


class TestTheSameFileIsTheSameBlob:
    def test_after_nothing(self, workshop: Workshop) -> None:
        data = safetensors_bytes(weights())
        text = workshop.clean(data)
        assert again(workshop).clean(data, text) == text
        assert again(workshop).clean(data, text, looks_only=True) == text

    def test_in_another_clone(self, workshop: Workshop, tmp_path: Path) -> None:
        data = safetensors_bytes(weights())
        text = workshop.clean(data)
        clone = Workshop(tmp_path / "clone")
        clone.remote = workshop.store
        assert clone.clean(data, text) == text
        assert clone.oids() == set()

    def test_without_the_index(self, workshop: Workshop) -> None:
        data = safetensors_bytes(weights())
        text, objects = workshop.clean(data), workshop.oids()
        workshop.index.close()
        (workshop.store.root / "index.sqlite").unlink()
        assert workshop.clean(data, text) == text
        assert workshop.oids() == objects

    @pytest.mark.parametrize("looks_only", [True, False])
    def test_where_its_format_is_not_known(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, looks_only: bool
    ) -> None:
        data = safetensors_bytes(weights())
        text, objects = workshop.clean(data), workshop.oids()
        monkeypatch.setattr(registry, "detect", lambda head, pathname: None)
        assert workshop.clean(data, text, looks_only=looks_only) == text
        assert workshop.said == []
        for changed in (data[1:], data + b"x", data[:-1] + b"x", b"x" + data[1:]):
            assert workshop.clean(changed, text, looks_only=looks_only) != text
        assert (workshop.oids() == objects) == looks_only

    @pytest.mark.parametrize("looks_only", [True, False])
    def test_where_its_format_was_not_known(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, looks_only: bool
    ) -> None:
        data = safetensors_bytes(weights())
        with monkeypatch.context() as patch:
            patch.setattr(registry, "detect", lambda head, pathname: None)
            text = workshop.clean(data)
        assert manifests.parse(text).format == "opaque"
        assert workshop.clean(data, text, looks_only=looks_only) == text

    @pytest.mark.parametrize("looks_only", [True, False])
    def test_when_it_was_stored_although_it_is_damaged(self, workshop: Workshop, looks_only: bool) -> None:
        data = safetensors_bytes(weights())[:-10]
        text = again(workshop, settings=Settings(allow_damaged=True)).clean(data)
        assert workshop.clean(data, text, looks_only=looks_only) == text
        assert workshop.smudge(text) == data
        if not looks_only:
            with pytest.raises(DamagedCheckpoint):
                workshop.clean(data[:-1], text)

    def test_if_another_side_of_a_merge_has_it(self, workshop: Workshop) -> None:
        ours, theirs = (safetensors_bytes(weights(seed)) for seed in (0, 1))
        texts = workshop.clean(ours), workshop.clean(theirs)
        assert [workshop.clean(data, *texts) for data in (ours, theirs)] == list(texts)


def test_a_digest_is_stored_once(workshop: Workshop) -> None:
    """In two files, in one under two names, and by two processes."""
    tensors = weights()
    text = workshop.clean(safetensors_bytes(tensors))
    objects = workshop.oids()
    renamed = {name + ".moved": value for name, value in tensors.items()} | {"copy": tensors["layer.0"]}
    other = again(workshop).clean(safetensors_bytes(renamed))
    assert len(workshop.oids() - objects) == 1, "the skeleton is another one"
    assert workshop.smudge(other) == safetensors_bytes(renamed)
    same = {line.digest: line for line in manifests.parse(text).storage.values()}
    for digest, line in manifests.parse(other).storage.items():
        assert same.get(digest, line) == line


def test_what_is_smudged_need_not_be_stored_again(workshop: Workshop, tmp_path: Path) -> None:
    data = safetensors_bytes(weights())
    text = workshop.clean(data)
    clone = Workshop(tmp_path / "clone")
    for oid in workshop.oids():
        found = workshop.store.find(oid)
        assert found
        clone.store.adopt(found, oid, found.stat().st_size)
    clone.smudge(text)
    before = clone.oids()
    assert clone.clean(data) == text
    assert clone.oids() == before


def test_the_skeleton_of_a_resaved_file_is_an_update(workshop: Workshop) -> None:
    names = {f"a.rather.long.name.of.layer.{n}": ("U8", (1,), b"x") for n in range(2000)}
    text = workshop.clean(safetensors_bytes(names, {"saved": "1"}))
    new = manifests.parse(workshop.clean(safetensors_bytes(names, {"saved": "2"}), text))
    assert new.storage[new.skeleton].update != "dense"
    assert new.storage[new.skeleton].size < 10_000


def fine_tuned(tensors: Mapping[str, np.ndarray], seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: (value + random.standard_normal(value.shape) * 1e-6).astype("<f4")
        for name, value in tensors.items()
    }


def test_a_changed_tensor_is_an_update_of_its_earlier_version(workshop: Workshop) -> None:
    tensors = weights(shape=(400, 300))
    text = workshop.clean(safetensors_bytes(tensors))
    changed = tensors | {"layer.1": fine_tuned(tensors)["layer.1"]}
    new = manifests.parse(workshop.clean(safetensors_bytes(changed), text))
    line = new.tensor("layer.1")
    old = manifests.parse(text).tensor("layer.1")
    assert line
    assert old
    place = manifests.parse(text).storage[old.digest].place
    assert [new.storage[base].place for base in new.storage[line.digest].bases] == [place]
    assert workshop.smudge(manifests.write(new)) == safetensors_bytes(changed)


@pytest.mark.parametrize("deepest", [1, 2, 4])
def test_chains_are_as_long_as_the_settings_say(tmp_path: Path, deepest: int) -> None:
    workshop = Workshop(tmp_path / "theta", Settings(max_chain_depth=deepest, max_chain_ratio=100))
    tensors, text, depths = weights(count=1, shape=(200, 200)), (), []
    for seed in range(12):
        text = (workshop.clean(safetensors_bytes(tensors), *text),)
        manifest = manifests.parse(text[0])
        depths.append(max(cost.depth for cost in costs(manifest.digests(), manifest.storage).values()))
        assert workshop.smudge(text[0]) == safetensors_bytes(tensors)
        tensors = {name: sparsely_changed(values, seed) for name, values in tensors.items()}
    assert max(depths) == deepest


def sparsely_changed(values: np.ndarray, seed: int) -> np.ndarray:
    """Twenty items are others: an update takes twice as much from a version that is twice as far away."""
    changed, random = values.copy(), np.random.default_rng(seed)
    changed.flat[random.choice(values.size, 20)] = random.standard_normal(20)
    return changed


def test_chains_take_as_much_as_the_settings_say(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "theta", Settings(max_chain_ratio=0))
    tensors = weights(shape=(200, 200))
    text = workshop.clean(safetensors_bytes(tensors))
    new = manifests.parse(workshop.clean(safetensors_bytes(fine_tuned(tensors)), text))
    assert {line.update for line in new.storage.values()} == {"dense"}


def test_a_tensor_of_another_checkpoint_is_a_base(workshop: Workshop) -> None:
    tensors = weights(shape=(400, 300))
    workshop.related = [manifests.parse(workshop.clean(safetensors_bytes(tensors)))]
    new = manifests.parse(workshop.clean(safetensors_bytes(fine_tuned(tensors)), name="other.safetensors"))
    for name in tensors:
        line = new.tensor(name)
        assert line
        assert new.storage[line.digest].update != "dense"
    assert workshop.smudge(manifests.write(new)) == safetensors_bytes(fine_tuned(tensors))


def test_looking_stores_nothing(workshop: Workshop) -> None:
    data = safetensors_bytes(weights())
    text = workshop.clean(data, looks_only=True)
    assert workshop.oids() == set()
    assert not (workshop.store.root / "index.sqlite").exists()
    stored = manifests.parse(workshop.clean(data))
    assert manifests.parse(text) == stored.with_storage({})


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut off in a tensor": lambda data: data[:-10],
    "cut off in the header": lambda data: data[:50],
    "cut off before the first tensor": lambda data: data[: 8 + int.from_bytes(data[:8], "little")],
    "too long": lambda data: data + b"more",
    "header of 2**60 bytes": lambda data: (1 << 60).to_bytes(8, "little") + data[8:],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_refused(damage: str, workshop: Workshop) -> None:
    data = DAMAGED[damage](safetensors_bytes(weights()))
    if damage == "header of 2**60 bytes":
        data = data[:8] + b'{"a":' + data[13:]
    with pytest.raises(DamagedCheckpoint) as caught:
        workshop.clean(data)
    assert "theta.allowDamaged=true" in caught.value.remedy
    assert workshop.at_rest()
    assert workshop.clean(safetensors_bytes(weights())), "the next one is cleaned as if nothing had happened"


@pytest.mark.parametrize("damage", DAMAGED)
def test_looking_at_damage_refuses_nothing_and_shows_always_the_same(damage: str, workshop: Workshop) -> None:
    data = DAMAGED[damage](safetensors_bytes(weights(count=12)))
    texts = {workshop.clean(data, looks_only=True) for _ in range(5)}
    assert len(texts) == 1
    assert workshop.oids() == set()


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_stored_whole_if_that_is_wanted(damage: str, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "theta", Settings(allow_damaged=True))
    data = DAMAGED[damage](safetensors_bytes(weights()))
    text = workshop.clean(data)
    assert manifests.parse(text).format == "opaque"
    assert workshop.smudge(text) == data
    assert len(workshop.said) == 1
    assert "model.safetensors: " in workshop.said[0]


def test_a_file_of_no_known_format_is_announced(workshop: Workshop) -> None:
    text = workshop.clean(b"something", name="notes.txt")
    assert workshop.said == ["notes.txt: no known checkpoint format; stored whole, compressed"]
    workshop.clean(b"something", text, name="notes.txt")
    assert len(workshop.said) == 1, "once is enough"


class TestWhatIsLeft:
    """Of a checkpoint that Git has: never stored in its place by accident."""

    @pytest.mark.parametrize("length", [0, 1, 7, 5000])
    def test_of_an_unknown_format(self, workshop: Workshop, length: int) -> None:
        data = os.urandom(3 << 20)
        text = workshop.clean(data, name="model.bin")
        with pytest.raises(DamagedCheckpoint, match="empty" if not length else "cut off"):
            workshop.clean(data[:length], text, name="model.bin")
        assert workshop.at_rest()
        for allowed in (data[:length], data[1:length], data[: length - 1] + b"x", data + b"x"):
            lenient = again(workshop, settings=Settings(allow_damaged=True))
            assert workshop.smudge(lenient.clean(allowed, text, name="model.bin")) == allowed

    def test_of_a_known_format(self, workshop: Workshop) -> None:
        data = safetensors_bytes(weights())
        text = workshop.clean(data)
        for length in range(9):
            with pytest.raises(DamagedCheckpoint):
                workshop.clean(data[:length], text)
        assert workshop.clean(b"", looks_only=True) != text

    def test_of_one_whose_data_are_not_here(self, workshop: Workshop) -> None:
        data = os.urandom(1 << 20)
        text = workshop.clean(data, name="model.bin")
        for oid in workshop.oids():
            (path := workshop.store.find(oid)) and path.unlink()
        workshop = again(workshop)
        with pytest.raises(DamagedCheckpoint):
            workshop.clean(b"short", text, name="model.bin")
        workshop.clean(data[:1000], text, name="model.bin")

    def test_where_git_has_an_empty_file_or_nothing(self, workshop: Workshop) -> None:
        empty = workshop.clean(b"", name="model.bin")
        assert workshop.clean(b"", empty, name="model.bin") == empty
        assert workshop.clean(b"", empty, workshop.clean(b"x", name="model.bin"), name="model.bin") == empty


class TestTexts:
    def test_a_manifest_comes_out_unchanged(self, workshop: Workshop) -> None:
        text = workshop.clean(safetensors_bytes(weights()))
        assert workshop.clean(text) == text
        assert workshop.clean(text, looks_only=True) == text

    def test_one_with_the_marks_of_a_conflict_is_refused(self, workshop: Workshop) -> None:
        text = workshop.clean(safetensors_bytes(weights()))
        first, *rest = text.splitlines(keepends=True)
        marked = b"".join([first, b"<<<<<<< ours\n", *rest])
        with pytest.raises(ThetaError, match="conflict markers"):
            workshop.clean(marked)
        assert workshop.clean(marked, looks_only=True) == marked

    def test_what_a_textconv_wrote_comes_out_unchanged_for_those_who_look(self, workshop: Workshop) -> None:
        text = b"git-theta tensors 1 safetensors\nlayer.0 F32\n"
        assert workshop.clean(text, looks_only=True) == text
        with pytest.raises(ThetaError, match="what git-theta shows"):
            workshop.clean(text)

    def test_line_ends_of_the_work_tree_are_taken_back(self, workshop: Workshop) -> None:
        text = workshop.clean(safetensors_bytes(weights()))
        converted = text.replace(b"\n", b"\r\n")
        for looks_only in (True, False):
            assert workshop.clean(converted, looks_only=looks_only) == text
            assert workshop.clean(converted, text, looks_only=looks_only) == text

    def test_one_without_end_is_refused(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(manifests, "LARGEST", 1000)
        with pytest.raises(ThetaError, match="no manifest"):
            workshop.clean(manifests.MAGIC + bytes(2000))


class Other:
    """A format whose tensor is the first bytes of the file."""

    name, suffixes, probe = "other", (".other",), 8

    def __init__(self, streams: bool, layout: Layout) -> None:
        self.streams = streams
        self._layout = layout

    def recognises(self, head: bytes) -> bool:
        return True

    def layout(self, source: Source) -> Layout:
        return self._layout

    def expected_size(self, layout: Layout, head: Callable[[int], bytes]) -> int | None:
        return None

    def patch(self, skeleton: bytes, layout: Layout, tensors: object) -> bytes:
        raise NotImplementedError

    def write(self, target: BinaryIO, tensors: object, like: bytes | None) -> None:
        raise NotImplementedError


def layout_of(*spans: tuple[int, int]) -> Layout:
    """Tensors of bytes at these offsets, of these lengths."""
    named = [Span(f"t{n}", dtype("U8"), (length,), at) for n, (at, length) in enumerate(spans)]
    return Layout("other", tuple(named))


@pytest.mark.parametrize("streams", [True, False])
class TestWhatIsNoTensor:
    def test_it_is_kept_wherever_it_lies(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, streams: bool
    ) -> None:
        form = Other(streams, layout_of((3, 5), (8, 0), (8, 2), (20, 4)))
        monkeypatch.setattr(registry, "detect", lambda head, pathname: form)
        for data in (bytes(range(24)), bytes(range(60)), os.urandom(3 << 20)):
            assert workshop.smudge(workshop.clean(data)) == data
        for data in (b"", bytes(5), bytes(23)):
            with pytest.raises(DamagedCheckpoint):
                workshop.clean(data)

    def test_too_much_of_it_is_not_held_in_memory(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, streams: bool
    ) -> None:
        monkeypatch.setattr(skeleton, "LARGEST", 100_000)
        form = Other(streams, layout_of((0, 10)))
        monkeypatch.setattr(registry, "detect", lambda head, pathname: form)
        data = bytes(200_000)
        if streams:
            with pytest.raises(DamagedCheckpoint, match="no tensors"):
                workshop.clean(data)
        else:
            text = workshop.clean(data)
            assert manifests.parse(text).format == "opaque"
            assert workshop.smudge(text) == data
        beyond_64_bits = Other(streams, layout_of((1 << 61, 10)))
        monkeypatch.setattr(registry, "detect", lambda head, pathname: beyond_64_bits)
        with pytest.raises(DamagedCheckpoint):
            workshop.clean(data)


def lines_of(text: bytes) -> Mapping[str, StorageLine]:
    return manifests.parse(text).storage


class TestLostAndDamagedObjects:
    """The user has the file and adds it: afterwards it must be stored, whatever was recorded before."""

    @pytest.fixture
    def data(self) -> bytes:
        return safetensors_bytes(weights())

    @pytest.fixture
    def text(self, workshop: Workshop, data: bytes) -> bytes:
        return workshop.clean(data)

    def lose(self, workshop: Workshop) -> None:
        for oid in workshop.oids():
            found = workshop.store.find(oid)
            assert found
            found.unlink()

    def test_lost_ones_are_stored_again(self, workshop: Workshop, data: bytes, text: bytes) -> None:
        self.lose(workshop)
        assert workshop.clean(data, text) == text, "encoding is deterministic, so even the oids are the same"
        assert again(workshop).smudge(text) == data

    def test_ones_cut_off_by_a_power_failure_are_stored_again(
        self, workshop: Workshop, data: bytes, text: bytes
    ) -> None:
        for oid in workshop.oids():
            found = workshop.store.find(oid)
            assert found
            found.chmod(0o644)
            found.write_bytes(b"")
        workshop.clean(data, text)
        assert again(workshop).smudge(text) == data

    def test_ones_that_are_elsewhere_are_believed(
        self, workshop: Workshop, tmp_path: Path, data: bytes, text: bytes
    ) -> None:
        clone = Workshop(tmp_path / "clone")
        clone.remote = workshop.store
        assert clone.clean(data, text) == text
        assert clone.oids() == set()

    def test_ones_that_a_remote_lacks_are_stored(
        self, workshop: Workshop, tmp_path: Path, data: bytes, text: bytes
    ) -> None:
        """The same encoding gives the same objects, and so the same manifest."""
        clone = Workshop(tmp_path / "clone")
        clone.remote = Workshop(tmp_path / "remote").store
        assert clone.clean(data, text) == text
        assert clone.oids() == workshop.oids()

    def test_only_what_a_remote_lacks_is_stored(
        self, workshop: Workshop, tmp_path: Path, data: bytes, text: bytes
    ) -> None:
        line = manifests.parse(text).tensor("layer.0")
        assert line
        lost = lines_of(text)[line.digest].oid
        found = workshop.store.find(lost)
        assert found
        found.unlink()
        clone = Workshop(tmp_path / "clone")
        clone.remote = workshop.store
        assert clone.clean(data, text) == text
        assert clone.oids() == {lost}

    def test_a_checkout_changes_nothing(self, workshop: Workshop, data: bytes, text: bytes) -> None:
        self.lose(workshop)
        workshop.doubts = False
        assert workshop.clean(data, text) == text
        assert workshop.oids() == set()

    def test_a_changed_tensor_of_a_lost_one_is_stored(self, workshop: Workshop, text: bytes) -> None:
        self.lose(workshop)
        changed = safetensors_bytes(fine_tuned(weights()))
        new = workshop.clean(changed, text)
        assert workshop.smudge(new) == changed

    def test_recorded_lines_that_lie_are_not_believed(
        self, workshop: Workshop, tmp_path: Path, data: bytes, text: bytes
    ) -> None:
        """An object can claim any digest; whoever wrote it may be wrong, or worse."""
        victim = Workshop(tmp_path / "victim")
        manifest = manifests.parse(text)
        line = manifest.tensor("layer.0")
        assert line
        writer = TensorWriter(victim.store, victim.cleaner._tensors, grouping="off")
        liar = ArrayTensor(line.dtype, line.shape, bytes(line.nbytes))
        wrong = writer.encode(Target("layer.0", liar), line.digest, ())
        assert isinstance(wrong, StorageLine)
        lying = manifests.write(manifest.with_storage({**manifest.storage, line.digest: wrong}))
        new = victim.clean(data, lying)
        assert new != lying
        assert lines_of(new)[line.digest] != wrong
        clone = Workshop(tmp_path / "clone")
        for store in (workshop.store, victim.store):
            for oid in store.oids():
                found = store.find(oid)
                assert found
                clone.store.adopt(found, oid, found.stat().st_size)
        assert clone.smudge(new) == data
        assert victim.clean(data, new) == new


@pytest.mark.parametrize("room", [0, 5_000, 100_000, 190_000])
@pytest.mark.parametrize("name", ["model.safetensors", "opaque"])
def test_a_full_disk(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, room: int, name: str) -> None:
    data = safetensors_bytes(weights()) if name != "opaque" else np.random.default_rng(0).bytes(200_000)
    plain, lock = os.write, threading.Lock()

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal room
        with lock:
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done = plain(descriptor, data[:room])
            room -= done
            return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(ThetaError, match="No space left"):
            workshop.clean(data, name=name)
    assert workshop.at_rest()
    assert workshop.smudge(workshop.clean(data, name=name)) == data


def within(seconds: float, work: Callable[[], object]) -> list[BaseException]:
    """Run something that must not wait for ever; what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for ever"
    return raised


@pytest.mark.parametrize(
    ("shape", "largest"),
    [((200, 100), 1 << 20), ((20, 10), 1 << 20), ((200, 100), 1)],
    ids=["alone", "in groups", "written down"],
)
class TestErrorsInThreads:
    @pytest.fixture(autouse=True)
    def _little_room(self, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
        monkeypatch.setattr(single_pass, "_HELD_BYTES", 1)
        monkeypatch.setattr(single_pass, "_LARGEST_HELD", largest)

    def test_one_in_choosing(
        self, workshop: Workshop, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = iter(range(100))

        def rank(*_: object, **named: object) -> object:
            if next(calls) == 3:
                raise RuntimeError("a bug")
            return plain(*_, **named)  # type: ignore[arg-type]

        plain = chooser.rank
        monkeypatch.setattr(chooser, "rank", rank)
        data = safetensors_bytes(weights(count=10, shape=shape))
        raised = within(60, lambda: workshop.clean(data))
        assert [str(error) for error in raised] == ["a bug"]
        assert workshop.at_rest()
        assert not within(60, lambda: workshop.clean(data))

    def test_one_in_digesting(
        self, workshop: Workshop, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def digest(tensor: HeldTensor) -> str:
            raise MemoryError

        monkeypatch.setattr(single_pass, "_LARGEST_HELD", 1 << 20)
        data = safetensors_bytes(weights(count=10, shape=shape))
        with monkeypatch.context() as patch:
            patch.setattr(HeldTensor, "digest", digest)
            raised = within(60, lambda: workshop.clean(data))
        assert [type(error) for error in raised] == [MemoryError]
        assert not within(60, lambda: workshop.clean(data))

    def test_one_in_what_git_sends(self, workshop: Workshop, shape: tuple[int, ...]) -> None:
        data = safetensors_bytes(weights(count=10, shape=shape))

        class Ends(Bytes):
            def readinto(self, view: memoryview) -> int:
                if self.at > len(data) // 2:
                    raise ThetaError("git closed the pipe")
                return super().readinto(view)

        request = Request("model.safetensors", (), tuple, looks_only=False)
        content = Content(Ends(data))
        raised = within(60, lambda: workshop.cleaner.clean(content, request))
        assert [type(error) for error in raised] == [ThetaError]
        assert workshop.at_rest()

    def test_none_at_all(self, workshop: Workshop, shape: tuple[int, ...]) -> None:
        data = safetensors_bytes(weights(count=20, shape=shape))
        assert not within(60, lambda: workshop.clean(data))
        assert workshop.at_rest()
        assert workshop.smudge(workshop.clean(data)) == data


def test_what_is_a_base_and_a_tensor_too_is_compared_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version of a tensor is kept beside the new one, which is predicted from it."""
    first = weights(count=1, shape=(200, 200))
    ((name, old),) = ((name, old) for name, old in first.items() if old.size > 1000)
    new = fine_tuned(first)[name]
    text = workshop.clean(safetensors_bytes({name: old}))
    both = safetensors_bytes({name: new, "old": old})
    text = workshop.clean(both, text)
    manifest = manifests.parse(text)
    place = manifest.tensor("old")
    assert place is not None
    assert place.digest in {base for line in manifest.storage.values() for base in line.bases}
    monkeypatch.setattr(Ledger, "_holds", None)
    assert workshop.clean(both, text) == text


def test_many_small_tensors(workshop: Workshop) -> None:
    """More than are handled in one go, with larger ones among them."""
    tensors = {
        f"t{number:03}": np.full((300, 99) if number % 90 == 50 else (8, number % 7), number, np.float32)
        for number in range(400)
    }
    data = safetensors_bytes(tensors)
    text = workshop.clean(data)
    assert workshop.smudge(text) == data
    tensors["t123"] = tensors["t123"] + 1
    tensors["t398"] = tensors["t398"] + 1
    changed = workshop.clean(safetensors_bytes(tensors), text)
    assert workshop.smudge(changed) == safetensors_bytes(tensors)
    before = manifests.parse(text).tensors
    assert sum(a != b for a, b in zip(before, manifests.parse(changed).tensors, strict=True)) == 2


class TestAllowance:
    def test_the_largest_is_allowed_alone_and_others_wait(self) -> None:
        allowance, order = Allowance(100), []
        allowance.take(500)

        def other() -> None:
            allowance.take(60)
            order.append("other")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.05)
        order.append("given")
        allowance.give(500)
        thread.join()
        assert order == ["given", "other"]
        allowance.take(40)
        allowance.give(100)

    def test_small_tensors_count_as_the_buffers_that_hold_them(self, workshop: Workshop) -> None:
        taken: list[int] = []

        class Counting(Allowance):
            def take(self, nbytes: int) -> None:
                taken.append(nbytes)
                super().take(nbytes)

        single_pass.Allowance, plain = Counting, single_pass.Allowance
        try:
            workshop.clean(safetensors_bytes(weights()))
        finally:
            single_pass.Allowance = plain
        assert min(taken) == 64 << 10


def test_held_and_spooled_tensors_read_the_same(tmp_path: Path, subtests: pytest.Subtests) -> None:
    sizes = 0, 16, CHUNK_BYTES - 16, CHUNK_BYTES, CHUNK_BYTES + 16
    for kind, nbytes in product(("U8", "BF16", "F64", "C128", "F4"), sizes):
        with subtests.test(kind=kind, nbytes=nbytes):
            data = (np.arange(nbytes, dtype=np.uint32) % 251).astype(np.uint8).tobytes()
            count = nbytes * 8 // dtype(kind).bits
            path = tmp_path / "file"
            path.write_bytes(b"xyz" + data)
            span = Span("a", dtype(kind), (count,), 3)
            in_memory = ArrayTensor(dtype(kind), (count,), data)
            tensor = HeldTensor(span)
            assert tensor.fill(Content(Bytes(data))) == nbytes
            with path.open("rb") as file:
                spooled = FileTensor(span, file)
                edge = CHUNK_BYTES // dtype(kind).itemsize
                ranges = {(0, 0), (0, 1), (edge - 1, edge), (edge - 1, edge + 1), (0, in_memory.items)}
                for start, stop in ranges:
                    if stop <= in_memory.items:
                        wanted = in_memory.read(start, stop)
                        for one in (tensor, spooled):
                            out = np.zeros(stop - start, wanted.dtype)
                            assert one.read(start, stop, out) is out
                            assert np.array_equal(out, wanted)
                            assert np.array_equal(one.read(start, stop), wanted)
                assert tensor.digest() == spooled.digest()
            tensor.release()


def test_a_spool_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    with path.open("rb") as file, pytest.raises(OSError, match="shorter"):
        FileTensor(Span("a", dtype("U8"), (10,), 0), file).digest()


class Everything:
    """A store that has every object, and an index."""

    def __init__(self, index: dict[str, list[Mapping[str, StorageLine]]]) -> None:
        self.store = self
        self._index = index

    def has(self, oid: str, size: int | None = None) -> bool:
        return True

    def find(self, digest: str) -> list[Mapping[str, StorageLine]]:
        return self._index.get(digest, [])


@st.composite
def sources(draw: st.DrawFn) -> list[dict[str, StorageLine]]:
    """Storage of several origins: the same digests, predicted from each other in different orders."""
    digests = [f"{number:064x}" for number in range(8)]
    found = []
    for origin in range(draw(st.integers(1, 4))):
        order = draw(st.permutations(digests))
        storage = {}
        for number, digest in enumerate(order):
            bases = draw(st.lists(st.sampled_from(order[:number]), max_size=2)) if number else []
            storage[digest] = StorageLine(digest, f"{origin:064x}", 1, number, "delta", tuple(bases))
        kept = draw(st.sets(st.sampled_from(order), min_size=1))
        found.append({key: storage[key] for key in costs(kept, storage)})
    return found


@pytest.mark.slow
@given(sources(), st.data())
@settings(deadline=None, max_examples=60)
def test_lines_of_several_sources_make_no_circles_and_no_longer_chains(
    origins: list[dict[str, StorageLine]], data: st.DataObject
) -> None:
    recorded = [
        Manifest("x", 0, "", (), (), "", 0, storage) for storage in origins[: data.draw(st.integers(0, 4))]
    ]
    index: dict[str, list[Mapping[str, StorageLine]]] = {}
    for storage in origins[len(recorded) :]:
        for digest in storage:
            index.setdefault(digest, []).append({key: storage[key] for key in costs([digest], storage)})
    everything = Everything(index)
    ledger = Ledger(recorded, everything, everything, doubts=False)  # type: ignore[arg-type]
    nothing = ArrayTensor(dtype("U8"), (0,), b"")
    all_of_them = sorted({digest for storage in origins for digest in storage})
    wanted = data.draw(st.permutations(all_of_them))
    for digest in wanted:
        assert ledger.has(digest, nothing)
    found = ledger.storage(wanted)
    reads = {digest: cost.reads for digest, cost in costs(wanted, found).items()}
    for digest in wanted:
        in_their_sources = [
            costs([digest], storage)[digest].reads for storage in origins if digest in storage
        ]
        assert reads[digest] <= max(in_their_sources)


def test_payloads_of_one_pass_share_objects(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"scalar.{n}": ("F32", (), np.float32(n).tobytes()) for n in range(300)}
    text = workshop.clean(safetensors_bytes(many))
    assert len(workshop.oids()) == 1
    assert workshop.smudge(text) == safetensors_bytes(many)


def test_an_error_of_the_index_is_no_error(workshop: Workshop) -> None:
    workshop.store.root.mkdir()
    (workshop.store.root / "index.sqlite").mkdir()
    data = safetensors_bytes(weights())
    assert workshop.smudge(workshop.clean(data)) == data
