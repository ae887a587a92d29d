"""The manifest: what is written is read back, and nothing else is read at all."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import manifest as manifests
from git_theta.dtypes import _ALL, dtype
from git_theta.errors import DamagedManifest
from git_theta.manifest import Manifest, StorageLine, TensorLine, View


def name_of(number: int) -> str:
    """A digest or oid."""
    return sha256(str(number).encode()).hexdigest()


names = st.text(st.characters(codec="utf-8"), max_size=20)
digests = st.integers(0, 30).map(name_of)
shapes = st.lists(st.integers(0, 1 << 12), max_size=4).map(tuple)
tensor_lines = st.builds(TensorLine, names, st.sampled_from(_ALL), shapes, digests)


@st.composite
def manifests_of_anything(draw: st.DrawFn) -> Manifest:
    tensors = draw(st.lists(tensor_lines, max_size=6, unique_by=lambda line: line.name))
    views = []
    for line in tensors:
        if draw(st.booleans()) and line.name:
            shape = () if line.nbytes else (0,)
            views.append(View(line.name + " view", line.name, line.dtype, shape, 0, (3,) * len(shape)))
    taken = {line.name for line in tensors}
    views = [view for view in views if view.name not in taken]
    identity = Manifest(
        draw(st.sampled_from(["safetensors", "pytorch", "opaque", "a-plug-in"])),
        draw(st.integers(0, 1 << 50)),
        "",
        tuple(sorted(tensors, key=lambda line: line.name)),
        tuple(sorted(views, key=lambda view: view.name)),
        draw(digests),
        draw(st.integers(0, 1 << 40)),
    )
    identity = manifests.with_root(identity)
    if draw(st.booleans()):
        return identity
    # Bases come before what is predicted from them, so there are no circles.
    order = draw(st.permutations(sorted({*identity.digests(), *draw(st.lists(digests, max_size=5))})))
    storage = {}
    for number, digest in enumerate(order):
        bases = draw(st.lists(st.sampled_from(order[:number]), max_size=2)) if number else []
        storage[digest] = StorageLine(
            digest,
            draw(digests),
            draw(st.integers(0, 1 << 50)),
            draw(st.integers(0, 4096)),
            "delta" if bases else "dense",
            tuple(bases),
        )
    return identity.with_storage(storage)


@given(manifests_of_anything())
def test_what_is_written_is_read_back(manifest: Manifest) -> None:
    text = manifests.write(manifest)
    assert manifests.is_manifest(text)
    assert manifests.parse(text) == manifest
    assert manifests.write(manifests.parse(text)) == text
    assert text.decode().count("\n") == len(text.split(b"\n")) - 1


@given(manifests_of_anything(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_equal_manifests_are_equal_texts(manifest: Manifest, shuffled: random.Random) -> None:
    lines = list(manifest.storage.items())
    shuffled.shuffle(lines)
    assert manifests.write(manifest.with_storage(dict(lines))) == manifests.write(manifest)


@pytest.mark.slow
@given(manifests_of_anything(), st.data())
def test_any_change_of_the_text_is_refused_or_is_a_change_of_storage(
    manifest: Manifest, data: st.DataObject
) -> None:
    text = bytearray(manifests.write(manifest))
    at = data.draw(st.integers(len(manifests.MAGIC), len(text) - 1))
    text[at] ^= data.draw(st.sampled_from([1, 2, 16, 32]))
    try:
        changed = manifests.parse(bytes(text))
    except DamagedManifest:
        return
    assert replace(changed, storage={}) == replace(manifest, storage={}), "the root covers the identity"


@given(manifests_of_anything())
@settings(max_examples=30)
def test_storage_lines_alone(manifest: Manifest) -> None:
    assert manifests.parse_storage(manifests.write_storage(manifest.storage)) == manifest.storage


A, B, C = (name_of(number) for number in (100, 101, 102))


def example(**changed: object) -> Manifest:
    tensors = (
        TensorLine("a", dtype("BF16"), (2, 3), A),
        TensorLine("b", dtype("F32"), (), B),
    )
    views = (View("tied", "a", dtype("BF16"), (3, 2), 0, (1, 3)),)
    storage = {
        A: StorageLine(A, C, 1000, 0, "delta", (C,)),
        B: StorageLine(B, C, 1000, 1, "dense"),
        C: StorageLine(C, C, 1000, 2, "dense"),
    }
    manifest = Manifest("safetensors", 1000, "", tensors, views, C, 88, storage)
    return manifests.with_root(replace(manifest, **changed))  # type: ignore[arg-type]


def rows(text: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def text_of(lines: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def test_the_text_is_what_the_design_says() -> None:
    lines = manifests.write(example()).decode().splitlines()
    root = example().root
    assert lines[0] == f'{{"git-theta":1,"format":"safetensors","size":1000,"root":"{root}"}}'
    assert lines[1] == f'{{"tensor":"a","dtype":"BF16","shape":[2,3],"digest":"{A}"}}'
    assert lines[3] == ('{"view":"tied","of":"a","dtype":"BF16","shape":[3,2],"offset":0,"strides":[1,3]}')
    assert lines[4] == f'{{"skeleton":"{C}","size":88}}'
    stored = [line for line in lines[5:] if A in line.split(",")[0]]
    assert stored == [
        f'{{"digest":"{A}","oid":"{C}","size":1000,"member":0,"update":"delta","bases":["{C}"]}}'
    ]


def test_what_a_manifest_tells() -> None:
    manifest = example()
    assert manifest.tensor("b") == manifest.tensors[1]
    assert manifest.tensor("tied") is None
    assert manifest.tensors[0].nbytes == 12
    assert manifest.digests() == [A, B, C]
    assert manifest.oids() == {C: 1000}


def cut_off(text: bytes) -> bytes:
    return text[:-1]


def with_crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def with_markers(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([lines[0], b"<<<<<<< ours\n", lines[1], b"=======\n", *lines[2:]])


def without_line(number: int) -> object:
    return lambda text: b"".join(
        line for at, line in enumerate(text.splitlines(keepends=True)) if at != number
    )


def changed(number: int, **fields: object) -> object:
    def change(text: bytes) -> bytes:
        lines = rows(text)
        lines[number] |= fields
        return text_of(lines)

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: b"not one", "not a git-theta manifest"),
        (cut_off, "cut off"),
        (with_crlf, "not as git-theta writes it"),
        (with_markers, "line 2 of the manifest is not JSON"),
        (lambda text: text + b"\n", "line 9 of the manifest is not JSON"),
        (lambda text: text.replace(b",", b", ", 1), "not as git-theta writes it"),
        (lambda text: text + text.splitlines(keepends=True)[-1], "not as git-theta writes it"),
        (changed(0, **{"git-theta": 2}), "version 2"),
        (changed(0, **{"git-theta": True}), "not as git-theta writes it"),
        (changed(0, size=-1), "line 1 of the manifest"),
        (changed(0, size=1001), "do not belong together"),
        (changed(0, root=A), "do not belong together"),
        (changed(0, note="more"), "not as git-theta writes it"),
        (without_line(1), "do not belong together"),
        (without_line(4), "no skeleton line"),
        (without_line(5), "no storage line|do not belong|storage line"),
        (changed(1, tensor="\ud800"), "line 2 of the manifest is wrong"),
        (changed(1, shape=[1 << 40, 1 << 40]), "takes more than"),
        (changed(1, shape=[0, 1 << 40, 1 << 40]), "takes more than"),
        (changed(1, shape=[1] * 1000), "not a shape"),
        (changed(1, more=[[]] * (1 << 19)), "line 2 of the manifest has .* at most"),
        (changed(1, shape=[1.0]), "not a size"),
        (changed(1, shape=[True]), "not a size"),
        (changed(1, dtype="F7"), "unknown dtype"),
        (changed(1, digest="../../../../etc/passwd"), "not a digest"),
        (changed(5, oid=A.upper()), "not a digest"),
        (changed(5, update="os.system"), None),
        (changed(5, update="../x"), "update"),
        (changed(5, update=7), "line 6"),
        (changed(5, bases=[7]), "not a digest"),
        (lambda text: text + b"[" * 100_000 + b"\n", "not JSON"),
        (lambda text: text.replace(b'"size":88', b'"size":' + b"8" * 5000), "not JSON|not a size"),
    ],
)
def test_damage_is_refused(damage: object, said: str | None) -> None:
    text = damage(manifests.write(example()))  # type: ignore[operator]
    if said is None:
        manifests.parse(text)  # an update of a plug-in that is not installed: reading says so, not parsing
        return
    with pytest.raises(DamagedManifest, match=said):
        manifests.parse(text)


@pytest.mark.parametrize(
    "views",
    [
        (View("v", "nothing", dtype("U8"), (), 0, ()),),
        (View("a", "b", dtype("U8"), (), 0, ()),),
        (View("v", "a", dtype("BF16"), (2, 3), 1, (3, 1)),),
        (View("v", "a", dtype("BF16"), (2, 3), 0, (3,)),),
        (View("v", "a", dtype("BF16"), (2,), 0, (1 << 40,)),),
        (View("v", "a", dtype("BF16"), (0,), 7, (1,)),),
        (View("w", "a", dtype("U8"), (), 0, ()), View("v", "a", dtype("U8"), (), 0, ())),
    ],
)
def test_views_that_do_not_fit_are_refused(views: tuple[View, ...]) -> None:
    with pytest.raises(DamagedManifest, match="view"):
        manifests.parse(manifests.write(example(views=views)))


def test_tensors_stand_in_order_and_once() -> None:
    first, second = example().tensors
    for tensors in ((second, first), (first, first)):
        with pytest.raises(DamagedManifest, match="sorted by name"):
            manifests.parse(manifests.write(example(tensors=tensors, views=())))


def test_a_circle_of_updates_is_refused() -> None:
    storage = dict(example().storage)
    storage[C] = StorageLine(C, C, 1000, 2, "delta", (A,))
    with pytest.raises(DamagedManifest, match="lead back"):
        manifests.parse(manifests.write(example(storage=storage)))


@pytest.mark.parametrize("text", [b"[]\n", b"{}\n", b'{"digest":1}\n', b"\xff\n", b'{"update":"x"}\n'])
def test_damaged_storage_lines_are_refused(text: bytes) -> None:
    with pytest.raises(DamagedManifest):
        manifests.parse_storage(text)


@pytest.mark.slow
@given(manifests_of_anything(), names)
def test_objects_are_found_without_reading_the_rest(manifest: Manifest, name: str) -> None:
    spoofed = TensorLine(f'{name}"oid":"{name_of(99)}","size":1,', dtype("F32"), (1,), name_of(1))
    manifest = replace(manifest, tensors=(*manifest.tensors, spoofed))
    assert manifests.find_objects(manifests.write(manifest)).keys() == manifest.oids().keys()
