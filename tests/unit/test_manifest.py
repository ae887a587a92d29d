"""The manifest: what is written is read back, and nothing else is read at all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta import manifest as manifests
from git_theta.dtypes import _ALL, dtype
from git_theta.errors import DamagedManifest
from git_theta.manifest import Manifest, StorageLine, TensorLine, View
from git_theta.manifest.chains import closure


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
    return identity.with_storage(draw(storages(sorted(set(identity.digests())))))


@st.composite
def storages(draw: st.DrawFn, digests: list[str]) -> dict[str, StorageLine]:
    """Storage for these, and for others that they are predicted from, which are known by place."""
    sizes = {name_of(number): draw(st.integers(0, 1 << 50)) for number in range(40, 44)}
    count = len(digests) + draw(st.integers(0, 5))
    places = st.tuples(st.sampled_from(sorted(sizes)), st.integers(0, 4096))
    wanted = draw(st.lists(places, min_size=count, max_size=count, unique=True))
    below = [""] * (count - len(digests))
    lines: list[StorageLine] = []
    # Bases come before what is predicted from them, so there are no circles.
    for number, digest in enumerate(draw(st.permutations([*digests, *below]))):
        (oid, member), bases = wanted[number], ()
        if number:
            bases = tuple(draw(st.lists(st.sampled_from([line.digest for line in lines]), max_size=2)))
        update = draw(st.sampled_from(["delta", "dense"])) if digest else ""
        line = StorageLine(digest, oid, sizes[oid], member, update, bases)
        lines.append(line if digest else replace(line, digest=line.place))
    return closure(digests, {line.digest: line for line in lines})


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


A, B, C, D = (name_of(number) for number in (100, 101, 102, 103))


def example(**changed: object) -> Manifest:
    tensors = (
        TensorLine("a", dtype("BF16"), (2, 3), A),
        TensorLine("b", dtype("F32"), (), B),
    )
    views = (View("tied", "a", dtype("BF16"), (3, 2), 0, (1, 3)),)
    storage = {
        A: StorageLine(A, D, 1000, 0, "delta", (C,)),
        B: StorageLine(B, D, 1000, 1, "dense"),
        C: StorageLine(C, D, 1000, 2, "dense"),
    }
    manifest = Manifest("safetensors", 1000, "", tensors, views, C, 88, storage)
    return manifests.with_root(replace(manifest, **changed))  # type: ignore[arg-type]


def rows(text: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def text_of(lines: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def test_the_text_is_what_the_design_says() -> None:
    lines = manifests.write(example()).decode().splitlines()
    short, root = D[:6], example().root
    assert lines == [
        f'{{"git-theta":2,"format":"safetensors","size":1000,"root":"{root}"}}',
        f'{{"tensor":"a","dtype":"BF16","shape":[2,3],"digest":"{A}",'
        f'"at":"{short}.0 {short}.2","update":"delta"}}',
        f'{{"tensor":"b","dtype":"F32","shape":[],"digest":"{B}","at":"{short}.1"}}',
        '{"view":"tied","of":"a","dtype":"BF16","shape":[3,2],"offset":0,"strides":[1,3]}',
        f'{{"skeleton":"{C}","size":88,"at":"{short}.2"}}',
        f'{{"object":"{D}","size":1000}}',
    ]
    lines = manifests.write(example(storage={})).decode().splitlines()
    assert lines == [
        f'{{"git-theta":1,"format":"safetensors","size":1000,"root":"{root}"}}',
        f'{{"tensor":"a","dtype":"BF16","shape":[2,3],"digest":"{A}"}}',
        f'{{"tensor":"b","dtype":"F32","shape":[],"digest":"{B}"}}',
        '{"view":"tied","of":"a","dtype":"BF16","shape":[3,2],"offset":0,"strides":[1,3]}',
        f'{{"skeleton":"{C}","size":88}}',
    ]


VERSION_1 = (
    *(f'{{"digest":"{A}","oid":"{D}","size":1000,"member":0,"update":"delta","bases":["{C}"]}}',),
    *(f'{{"digest":"{B}","oid":"{D}","size":1000,"member":1,"update":"dense"}}',),
    *(f'{{"digest":"{C}","oid":"{D}","size":1000,"member":2,"update":"dense"}}',),
)
"""Where it is stored as version 1 says it."""


def identity_only() -> bytes:
    return manifests.write(example(storage={}))


def in_version_1() -> bytes:
    return identity_only() + "".join(line + "\n" for line in sorted(VERSION_1)).encode()


def test_version_1_is_read() -> None:
    assert manifests.parse(in_version_1()) == example()
    assert manifests.find_objects(in_version_1()) == {D: 1000}
    lines = manifests.read_lines(in_version_1())
    assert lines.storage == example().storage


def test_places_behind_places() -> None:
    """Two tensors that are predicted from the same two, one of which is predicted from a third."""
    below = [StorageLine(f"{name_of(n)}.{n}", name_of(n), n, n, "") for n in (1, 2, 3)]
    below[1] = replace(below[1], bases=(below[2].digest,))
    both = tuple(line.digest for line in below[:2])
    tips = [StorageLine(d, D, 10, n, "combine", both) for n, d in enumerate((A, B))]
    skeleton = StorageLine(C, D, 10, 9, "dense")
    manifest = example(storage={line.digest: line for line in (*below, *tips, skeleton)})
    text = manifests.write(manifest).decode()
    one, two, three = (f"{name_of(n)[:6]}.{n}" for n in (1, 2, 3))
    assert f'"at":"{D[:6]}.0({one},{two} {three})","update":"combine"' in text
    assert manifests.parse(text.encode()) == manifest
    assert manifests.find_objects(text.encode()) == {D: 10, **{name_of(n): n for n in (1, 2, 3)}}


def test_oids_are_as_long_as_tells_them_apart() -> None:
    oids = ["a" * 64, "a" * 9 + "b" * 55]
    storage = {d: StorageLine(d, oids[n % 2], 5, n, "dense") for n, d in enumerate((A, B, C))}
    text = manifests.write(example(storage=storage))
    assert b'"at":"aaaaaaaaaa.0"' in text
    assert b'"at":"aaaaaaaaab.1"' in text
    assert manifests.parse(text).storage == storage


def test_what_a_manifest_tells() -> None:
    manifest = example()
    assert manifest.tensor("b") == manifest.tensors[1]
    assert manifest.tensor("tied") is None
    assert manifest.tensors[0].nbytes == 12
    assert manifest.digests() == [A, B, C]
    assert manifest.oids() == {D: 1000}


def cut_off(text: bytes) -> bytes:
    return text[:-1]


def with_crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def with_markers(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([lines[0], b"<<<<<<< ours\n", lines[1], b"=======\n", *lines[2:]])


def without_line(number: int) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        lines = text.splitlines(keepends=True)
        return b"".join(lines[:number] + lines[number + 1 :])

    return change


def changed(number: int, **fields: object) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        lines = rows(text)
        lines[number] |= fields
        return text_of(lines)

    return change


SHORT = D[:6]
OF_ANY_VERSION = [
    (lambda text: b"not one", "not a git-theta manifest"),
    (cut_off, "cut off"),
    (with_crlf, "not as git-theta writes it"),
    (with_markers, "line 2 of the manifest is not JSON"),
    (lambda text: text + b"\n", "of the manifest is not JSON"),
    (lambda text: text.replace(b",", b", ", 1), "not as git-theta writes it"),
    (lambda text: text + text.splitlines(keepends=True)[-1], "not as git-theta writes it"),
    (changed(0, **{"git-theta": 3}), "version 3"),
    (changed(0, size=-1), "line 1 of the manifest"),
    (changed(0, size=1001), "do not belong together"),
    (changed(0, root=A), "do not belong together"),
    (changed(0, note="more"), "not as git-theta writes it"),
    (without_line(1), "do not belong together"),
    (without_line(4), "no skeleton line"),
    (without_line(5), "no storage line|is no place of"),
    (changed(1, tensor="\ud800"), "line 2 of the manifest is wrong"),
    (changed(1, shape=[1 << 40, 1 << 40]), "takes more than"),
    (changed(1, shape=[0, 1 << 40, 1 << 40]), "takes more than"),
    (changed(1, shape=[1] * 1000), "not a shape"),
    (changed(1, more=[[]] * (1 << 19)), "line 2 of the manifest has .* at most"),
    (changed(1, shape=[1.0]), "not a size"),
    (changed(1, shape=[True]), "not a size"),
    (changed(1, dtype="F7"), "unknown dtype"),
    (changed(1, digest="../../../../etc/passwd"), "not a digest"),
    (lambda text: text + b"[" * 100_000 + b"\n", "not JSON"),
    (lambda text: text.replace(b'"size":88', b'"size":' + b"8" * 5000), "not JSON|not a size"),
]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        *OF_ANY_VERSION,
        (changed(0, **{"git-theta": 1}), "not as git-theta writes it"),
        (changed(0, **{"git-theta": True}), "True, which there is not"),
        (changed(5, object=D.upper()), "not a digest"),
        (changed(5, size="1"), "not a size"),
        (changed(1, at=7), "line 2 of the manifest is wrong"),
        (changed(1, at=""), "is no place of"),
        (changed(1, at=f"{SHORT}.00 {SHORT}.2"), "no place|stands behind"),
        (changed(1, at=f"{SHORT}.0 {SHORT}.2 "), "is no place of"),
        (changed(1, at=f"{SHORT}.0 {SHORT}.2)"), "stands behind a place"),
        (changed(1, at=f"{SHORT}.0({SHORT}.2)"), "not as git-theta writes it"),
        (changed(1, at=f"{SHORT}.0({SHORT}.2"), "is no place of"),
        (changed(1, at=f"{SHORT}.0()"), "is no place of"),
        (changed(1, at=f"{D[:7]}.0 {SHORT}.2"), "not as git-theta writes it"),
        (changed(1, at=f"{SHORT}.0" + f" {SHORT}.7" * 65), "is no place of"),
        (changed(1, at=f"{SHORT}.0" + f"({SHORT}.7" * 2000), "is no place of"),
        (changed(1, at=f"{SHORT}.0({','.join([f'{SHORT}.7'] * 1100)})"), "1024 at most"),
        (changed(1, at=f"{SHORT}.0 {SHORT}.0"), "lead back to itself|two things"),
        (changed(2, at=f"{SHORT}.0"), None),  # reading says that it is another one
        (changed(1, update="dense"), "not as git-theta writes it"),
        (changed(1, update="os.system"), None),
        (changed(1, update="../x"), "update"),
        (changed(1, update=7), "line 2"),
        (
            lambda text: b"".join(in_version_1().splitlines(True)[:5]).replace(b":1", b":2", 1),
            "does not say where",
        ),
    ],
)
def test_damage_is_refused(damage: Callable[[bytes], bytes], said: str | None) -> None:
    text = damage(manifests.write(example()))
    if said is None:
        manifests.parse(text)  # an update of a plug-in that is not installed: reading says so, not parsing
        return
    with pytest.raises(DamagedManifest, match=said):
        manifests.parse(text)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        *OF_ANY_VERSION,
        (changed(0, **{"git-theta": True}), "True, which there is not"),
        (changed(0, **{"git-theta": 2}), "no storage line|does not say where|not as git-theta"),
        (changed(5, oid=A.upper()), "not a digest"),
        (changed(5, update="os.system"), None),
        (changed(5, update="../x"), "update"),
        (changed(5, update=7), "line 6"),
        (changed(5, bases=[7]), "not a digest"),
    ],
)
def test_damage_to_version_1_is_refused(damage: Callable[[bytes], bytes], said: str | None) -> None:
    text = damage(in_version_1())
    if said is None:
        manifests.parse(text)
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
    storage[C] = StorageLine(C, D, 1000, 2, "delta", (A,))
    with pytest.raises(DamagedManifest, match="lead back"):
        manifests.write(example(storage=storage))
    text = in_version_1().replace(
        b'"member":2,"update":"dense"', f'"member":2,"update":"delta","bases":["{A}"]'.encode()
    )
    with pytest.raises(DamagedManifest, match="lead back"):
        manifests.parse(text)


@pytest.mark.slow
@given(manifests_of_anything(), names)
def test_objects_are_found_without_reading_the_rest(manifest: Manifest, name: str) -> None:
    tensors = tuple(
        TensorLine(f'{name}{key}":"{name_of(99)}","size":1,', dtype("F32"), (1,), manifest.skeleton)
        for key in ('"object', '"oid')
    )
    manifest = replace(manifest, tensors=(*manifest.tensors, *tensors))
    assert manifests.find_objects(manifests.write(manifest)).keys() == manifest.oids().keys()
