"""What a merge leaves for the checkout that follows: a shortcut that never changes what comes out."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from filter_examples import Workshop
from git_repo import safetensors_bytes

from git_theta import manifest as manifests
from git_theta.errors import DamagedObject
from git_theta.filters import handoff
from git_theta.filters.handoff import Preparation
from git_theta.manifest import Manifest
from git_theta.tensors import ArrayTensor

FILE = safetensors_bytes({"a": np.arange(40_000, dtype=np.float32), "b": np.ones(7, np.float32)})


def left(workshop: Workshop, manifest: Manifest, change: int = 0) -> Path:
    """Leave tensor a, some of whose bits are changed; the file that has it."""
    line = manifest.tensor("a")
    assert line is not None
    data = bytearray(np.arange(40_000, dtype=np.float32).tobytes())
    data[100] ^= change
    preparation = Preparation(workshop.store, line.nbytes)
    preparation.add(line.digest, ArrayTensor(line.dtype, line.shape, data))
    preparation.finish(manifest)
    preparation.close()
    (path,) = (workshop.store.root / "prepared").iterdir()
    return path


def test_what_was_left_is_taken_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    text = workshop.clean(FILE)
    manifest = manifests.parse(text)
    path = left(workshop, manifest)
    opened: list[str] = []
    original = workshop.objects.tensor
    monkeypatch.setattr(
        workshop.objects, "tensor", lambda digest, *rest: (opened.append(digest), original(digest, *rest))[1]
    )
    a, b = (manifest.tensor(name) for name in "ab")
    assert a is not None
    assert b is not None
    assert workshop.smudge(text) == FILE
    assert not path.exists()
    assert a.digest not in opened
    assert b.digest in opened
    assert workshop.smudge(text) == FILE
    assert a.digest in opened


def test_what_is_not_what_it_should_be_is_noticed_and_not_used_again(workshop: Workshop) -> None:
    text = workshop.clean(FILE)
    manifest = manifests.parse(text)
    left(workshop, manifest, change=1)
    with pytest.raises(DamagedObject, match="tensor 'a'"):
        workshop.smudge(text)
    assert workshop.smudge(text) == FILE


@pytest.mark.parametrize("keep", [0, 5, 1000, -9, -40])
def test_a_file_that_was_cut_off_is_no_harm(workshop: Workshop, keep: int) -> None:
    text = workshop.clean(FILE)
    manifest = manifests.parse(text)
    path = left(workshop, manifest)
    path.write_bytes(path.read_bytes()[:keep])
    assert workshop.smudge(text) == FILE
    assert not path.exists()


def test_a_list_that_is_damaged_is_not_believed(workshop: Workshop) -> None:
    text = workshop.clean(FILE)
    path = left(workshop, manifests.parse(text))
    whole = path.read_bytes()
    for position in range(160_000, len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert workshop.smudge(text) == FILE
        assert not path.exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_is_not_read(workshop: Workshop, kind: str) -> None:
    text = workshop.clean(FILE)
    path = left(workshop, manifests.parse(text))
    if kind == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    else:
        path.unlink()
        os.mkfifo(path)
    assert workshop.smudge(text) == FILE


def test_nothing_that_is_not_ours_is_removed(workshop: Workshop, tmp_path: Path) -> None:
    """Whatever a link in the folder's place leads to."""
    text = workshop.clean(FILE)
    path = left(workshop, manifests.parse(text))
    theirs = path.with_name("notes.txt")
    theirs.write_text("text")
    os.utime(theirs, (0, 0))
    handoff.clean_up(workshop.store)
    assert theirs.exists()


def test_a_link_in_the_folders_place_leads_nowhere(workshop: Workshop, tmp_path: Path) -> None:
    """Objects, and many caches, have names like those of prepared files."""
    text = workshop.clean(FILE)
    path = left(workshop, manifests.parse(text))
    folder = path.parent
    folder.rename(tmp_path / "cache")
    folder.symlink_to(tmp_path / "cache")
    os.utime(tmp_path / "cache" / path.name, (0, 0))
    handoff.clean_up(workshop.store)
    assert workshop.smudge(text) == FILE
    assert (tmp_path / "cache" / path.name).exists()
    left(workshop, manifests.parse(text))
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [path.name]


def test_nothing_is_left_unless_it_is_finished(workshop: Workshop) -> None:
    text = workshop.clean(FILE)
    manifest = manifests.parse(text)
    line = manifest.tensor("a")
    assert line is not None
    store = workshop.store
    preparation = Preparation(store, line.nbytes)
    preparation.add(line.digest, ArrayTensor(line.dtype, line.shape, bytes(line.nbytes)))
    preparation.close()
    for nbytes in (0, 1 << 60):  # not asked for; more than memory holds
        preparation = Preparation(store, nbytes)
        preparation.add(line.digest, ArrayTensor(line.dtype, line.shape, bytes(line.nbytes)))
        preparation.finish(manifest)
        preparation.close()
    assert not (store.root / "prepared").exists()
    assert workshop.at_rest()


def test_what_nobody_comes_for_is_removed(workshop: Workshop) -> None:
    text = workshop.clean(FILE)
    manifest = manifests.parse(text)
    path = left(workshop, manifest)
    handoff.clean_up(workshop.store)
    assert path.exists()
    old = time.time() - 3600
    os.utime(path, (old, old))
    handoff.clean_up(workshop.store)
    assert not path.exists()


def test_a_store_that_cannot_be_written_is_no_harm(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = workshop.clean(FILE)
    manifest = manifests.parse(text)
    line = manifest.tensor("a")
    assert line is not None
    monkeypatch.setattr(handoff, "make_folder", lambda path: (_ for _ in ()).throw(OSError(28, "full")))
    preparation = Preparation(workshop.store, line.nbytes)
    preparation.add(line.digest, ArrayTensor(line.dtype, line.shape, bytes(line.nbytes)))
    preparation.finish(manifest)
    preparation.close()
    assert workshop.at_rest()
    assert workshop.smudge(text) == FILE
