"""Smudge: every tensor is checked before its last byte is written, and errors name it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filter_examples import Workshop, weights
from git_repo import safetensors_bytes

from git_theta import manifest as manifests
from git_theta import scratch
from git_theta.errors import DamagedManifest, DamagedObject, MissingObject, ThetaError
from git_theta.filters import smudge
from git_theta.manifest import Manifest
from git_theta.tensors import CHUNK_BYTES


def large() -> bytes:
    """A file whose tensors have several chunks; some are small, to be written in between."""
    random = np.random.default_rng(0)
    big = random.integers(0, 50, 3 * CHUNK_BYTES // 2 + 7, np.uint16)
    return safetensors_bytes(
        {
            "a": ("BF16", big.shape, big.tobytes()),
            "b": ("U8", (), b"x"),
            "c": ("F32", (0,), b""),
            "d": ("BF16", (2, 2), b"12345678"),
            "e": ("BF16", big.shape, (big + 1).tobytes()),
        }
    )


def written(workshop: Workshop, manifest: Manifest) -> tuple[bytes, ThetaError | None]:
    """What is written, and the error that ended it."""
    found = bytearray()
    try:
        workshop.smudger.smudge(manifest, found.extend)
    except ThetaError as error:
        return bytes(found), error
    return bytes(found), None


def path_of(workshop: Workshop, manifest: Manifest, name: str) -> Path:
    """The object of a tensor."""
    line = manifest.tensor(name)
    assert line
    found = workshop.store.find(manifest.storage[line.digest].oid)
    assert found
    return found


def test_files_come_out_one_after_the_other(workshop: Workshop) -> None:
    files = [large(), safetensors_bytes(weights()), b"", large(), b"opaque"]
    texts = [workshop.clean(data) for data in files]
    assert [workshop.smudge(text) for text in texts] == files


def test_buffers_come_back(workshop: Workshop) -> None:
    text = workshop.clean(large())
    workshop.smudge(text)
    kept = scratch._kept
    for _ in range(5):
        workshop.smudge(text)
    assert scratch._kept == kept


@pytest.mark.parametrize("name", ["a", "e"])
def test_a_damaged_chunk_is_reported_with_its_tensor(workshop: Workshop, name: str) -> None:
    data = large()
    manifest = manifests.parse(workshop.clean(data))
    path = path_of(workshop, manifest, name)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(damaged)
    before, error = written(workshop, manifest)
    assert isinstance(error, DamagedObject)
    assert error.message.startswith(f"tensor {name!r}: object {path.name[:12]} is damaged")
    assert "git theta" in error.remedy
    assert data.startswith(before)


def test_a_missing_object_is_reported_with_its_tensor(workshop: Workshop) -> None:
    manifest = manifests.parse(workshop.clean(large()))
    path = path_of(workshop, manifest, "e")
    path.unlink()
    _, error = written(workshop, manifest)
    assert isinstance(error, MissingObject)
    assert error.message.startswith("tensor 'e': ")
    assert error.oids == (path.name,)


def test_data_of_another_digest_are_not_passed_off_as_whole(workshop: Workshop) -> None:
    """An object that says it holds a digest, but holds other data."""
    data = large()
    manifest = manifests.parse(workshop.clean(data))
    line = manifest.tensor("a")
    assert line
    wrong = "0" * 64
    tensors = tuple(replace(one, digest=wrong) if one.name == "a" else one for one in manifest.tensors)
    storage = dict(manifest.storage)
    storage[wrong] = replace(storage[line.digest], digest=wrong)
    lying = replace(manifest, tensors=tensors, storage=storage)
    plain = workshop.objects.member

    def member(line: Any) -> Any:
        return plain(storage[line.digest] if line.digest != wrong else manifest.storage[first])

    first = line.digest
    workshop.objects.member = member  # type: ignore[method-assign]
    before, error = written(workshop, lying)
    assert isinstance(error, DamagedObject)
    assert error.message.startswith("tensor 'a': its data are not what the manifest says")
    assert len(before) < len(data) - CHUNK_BYTES


def test_a_skeleton_that_does_not_fit_is_refused_before_anything_is_written(workshop: Workshop) -> None:
    manifest = manifests.parse(workshop.clean(safetensors_bytes(weights())))
    for wrong in (
        replace(manifest, size=manifest.size + 1),
        replace(manifest, skeleton_size=1 << 60),
        replace(manifest, size=1 << 60, skeleton_size=manifest.skeleton_size + (1 << 60) - manifest.size),
        replace(manifest, tensors=manifest.tensors[:-1]),
    ):
        before, error = written(workshop, wrong)
        assert isinstance(error, (DamagedManifest, DamagedObject))
        assert before == b""


def test_a_tensor_of_2_to_the_61_bytes_is_refused_without_being_listed(workshop: Workshop) -> None:
    """A manifest can say that a tensor has 2**61 bytes; nothing as large as that is made in memory."""
    manifest = manifests.parse(workshop.clean(large()))
    huge = 1 << 60
    more = 2 * huge - manifest.tensors[0].nbytes
    tensors = (replace(manifest.tensors[0], shape=(huge,)), *manifest.tensors[1:])
    _, error = written(workshop, replace(manifest, tensors=tensors, size=manifest.size + more))
    assert isinstance(error, DamagedObject)
    assert error.message.startswith("tensor 'a': ")


def test_when_git_stops_listening_threads_come_to_rest(workshop: Workshop) -> None:
    manifest = manifests.parse(workshop.clean(large()))
    calls = 0

    def write(view: memoryview) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        workshop.smudger.smudge(manifest, write)
    workshop.smudger._executor.submit(int).result()  # comes after all that was waiting
    assert workshop.smudger._executor._work_queue.empty()
    assert workshop.smudge(manifests.write(manifest)) == large()


def test_not_enough_memory_for_a_chunk_loses_no_buffer(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = workshop.clean(large())
    workshop.smudge(text)
    kept, plain, lock, calls = scratch._kept, smudge._read, threading.Lock(), 0

    def read(*arguments: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            if calls == 4:
                raise MemoryError
        return plain(*arguments)

    monkeypatch.setattr(smudge, "_read", read)
    with pytest.raises(MemoryError):
        workshop.smudger.smudge(manifests.parse(text), lambda view: None)
    assert scratch._kept == kept
