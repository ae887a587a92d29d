"""docs/format.md says enough: a reader that was written from it restores what git-theta stores."""

from __future__ import annotations

import ast
import base64
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import format_reader
import numpy as np
import pytest
from blake3 import blake3
from filter_examples import Workshop, weights
from format_reader import Reader, Refused
from format_reader.dtypes import BITS, width_of
from format_reader.kinds import predict
from format_reader.manifests import read_manifest
from format_reader.residuals import corrected, from_gaps
from git_repo import safetensors_bytes
from update_fixtures import FOLDER, array_of, base_of, made_bits

from git_theta import dtypes
from git_theta.manifest import parse
from git_theta.objects.arrays import ArrayInfo
from git_theta.settings import Settings
from git_theta.updates import registry, residual
from git_theta.values import from_float, to_float

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
FIXTURES = sorted(FOLDER.glob("*.json"))


def test_the_reader_imports_nothing_of_git_theta() -> None:
    used = set()
    for path in Path(format_reader.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add((node.module or "").split(".")[0])
    assert used - sys.stdlib_module_names == {"numpy", "zstandard", "blake3", "format_reader"}


def test_the_page_and_the_reader_have_the_same_dtypes() -> None:
    assert {one.name: one.bits for one in dtypes._ALL} == BITS
    table = PAGE.split("## Dtypes")[1].split("## The manifest")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == set(BITS)


def test_the_page_has_every_kind_of_update() -> None:
    assert set(re.findall(r"^### `([\w-]+)`$", PAGE, re.MULTILINE)) == set(registry.names())


def test_the_page_s_example_of_positions() -> None:
    example = "`3, 255, 2, 0` are the gaps 3, 257, 0, and the positions 3, 261, 262."
    assert example in PAGE.replace("\n", " ")
    assert from_gaps([3, 255, 2, 0]) == ([3, 261, 262], True)


def test_the_page_s_description_of_an_array() -> None:
    example = re.sub(r"\n *", "", PAGE.split("```json\n")[1].split("\n```")[0])
    info = ArrayInfo(3_000_000, 2, 2 << 20, planes=True)
    assert example == json.dumps(info.metadata(), separators=(",", ":"))
    rows = ArrayInfo(3, 1024, 1, planes=False).metadata()
    assert [codec["name"] for codec in rows["codecs"][0]["configuration"]["codecs"]] == ["bytes", "zstd"]


@pytest.mark.parametrize("kind", sorted(set(registry.names()) - {"dense"}))
def test_updates_that_were_stored_once(kind: str) -> None:
    """With every dtype, and with what is not finite: the fixtures that other tests hold git-theta to."""
    found = [one for one in map(json.loads, map(Path.read_text, FIXTURES)) if one["update"] == kind]
    assert found
    for fixture in found:
        arrays = {name: array_of(one) for name, one in fixture["arrays"].items()}
        bases = [base_of(one).bits.tobytes() for one in fixture["bases"]]
        with np.errstate(all="ignore"):
            bits = predict(fixture, arrays, bases, f"<u{width_of(fixture['dtype'])}")
        for row in fixture["rows"]:
            bits = corrected(bits, base64.b85decode(row), fixture["width"], fixture["dtype"], set())
        assert blake3(bits.tobytes()).hexdigest() == fixture["blake3"], fixture


CHANGES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    lambda bits, random: random,
    lambda bits, random: bits + random % 3,
    lambda bits, random: bits + random % 15,
    lambda bits, random: bits + random % 1500,
    lambda bits, random: bits ^ random % 2 << (8 * bits.itemsize - 1),
    lambda bits, random: np.where(random % 99 == 0, bits + 1, bits),
    lambda bits, random: np.where(random % 9 == 0, bits + (random >> 20) % 1500, bits),
    lambda bits, random: np.where(random % 40 == 0, random, bits + (random >> 9 & 1)),
    lambda bits, random: bits + sum((random % n == 0) * step for n, step in STEPS),
)
STEPS = ((2, 1), (50, 2), (2500, 17), (70000, 980))
"""Large ones are rare, and larger ones rarer: lists in lists."""
FORMS = {
    *("flags 0", "flags 1", "flags 2", "flags 3"),
    *("bits 0", "bits 2", "bits 4", "bits 8", "half bytes", "escapes"),
    *("own list", "shared list", "one apart"),
    *("depth 1", "depth 2", "depth 3", "depth 4"),
}


def changed(kind: dtypes.DType, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items, and what may become of them."""
    random = np.frombuffer(blake3(f"change {size}".encode()).digest(8 * size), "<u8")
    old = made_bits("weights", kind, size)
    for change in CHANGES:
        yield old, change(old, random).astype(kind.storage)
    if kind.kind == "float":  # a step of training is about as large for all of them
        noise = np.random.default_rng(size).standard_normal((3, size)).astype(np.float32)
        old = from_float(noise[0] * 0.02, kind)
        yield old, from_float(to_float(old, kind) + noise[1] * 1e-4, kind)
        yield old, np.where(noise[2] > 1.5, from_float(to_float(old, kind) + noise[1] * 1e-4, kind), old)


@pytest.mark.slow
def test_every_form_of_a_residual() -> None:
    met: set[str] = set()
    width = 1 << 21
    for kind in dtypes._ALL:
        large = 200_001 if kind.name in ("BF16", "U32") else 20_001
        for size in (1, large):
            for number, (old, new) in enumerate(changed(kind, size)):
                row = residual.encode(old.copy(), new, kind, width, grouping="on")
                if row is not None:
                    assert np.array_equal(corrected(old, row, width, kind.name, met), new), (kind, number)
    assert met == FORMS


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "theta", Settings(grouping="on"))


def restored(workshop: Workshop, *versions: bytes, name: str = "model.safetensors") -> Reader:
    """Store versions of a file one after the other, and restore each from what is stored then."""
    recorded: list[bytes] = []
    reader = Reader(workshop.store.root / "objects")
    for version in versions:
        text = workshop.clean(version, *recorded[-1:], name=name)
        recorded.append(text)
        assert reader.restore(text) == version
    return reader


def bfloat16(tensors: dict[str, np.ndarray]) -> bytes:
    kind = dtypes.dtype("BF16")
    rounded = {name: from_float(value.ravel(), kind).tobytes() for name, value in tensors.items()}
    return safetensors_bytes({name: ("BF16", value.shape, rounded[name]) for name, value in tensors.items()})


def matrices(seed: int, count: int = 2, shape: tuple[int, ...] = (400, 300)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {f"layer.{n}": random.standard_normal(shape).astype(np.float32) * 0.02 for n in range(count)}


@pytest.mark.slow
def test_deltas_in_chains_and_in_several_chunks(workshop: Workshop) -> None:
    """More than one chunk, of which one stays as it is; views of none; groups."""
    old = {"large": matrices(1, 1, (2200, 1500))["layer.0"], "small": matrices(2, 1, (9, 7))["layer.0"]}
    new = {name: value.copy() for name, value in old.items()}
    new["large"][:300] += matrices(3, 1, (300, 1500))["layer.0"] * 0.01
    new["small"][2] *= 2
    last = {name: value + np.float32(1e-5) for name, value in new.items()}
    reader = restored(workshop, bfloat16(old), bfloat16(new), bfloat16(last))
    assert {"dense", "delta", "a chunk without a row", "flags 2"} <= reader.met


def test_low_rank_and_scale(workshop: Workshop) -> None:
    old, random = matrices(1), np.random.default_rng(2)
    factors = random.standard_normal((400, 4)) @ random.standard_normal((4, 300)) * 1e-3
    new = {
        "layer.0": (old["layer.0"] + factors).astype(np.float32),
        "layer.1": old["layer.1"] * random.uniform(0.5, 2, (400, 1)).astype(np.float32),
    }
    reader = restored(workshop, bfloat16(old), bfloat16(new))
    assert {"low-rank", "scale"} <= reader.met


def test_rows(workshop: Workshop) -> None:
    old = matrices(1)
    new = {name: np.delete(value, [3, *range(90, 120)], axis=0) for name, value in old.items()}
    order = np.random.default_rng(0).permutation(400)
    moved = {name: value[order] for name, value in old.items()}
    reader = restored(workshop, bfloat16(old), bfloat16(new), bfloat16(moved))
    assert "rows" in reader.met


def test_cast_and_combine(workshop: Workshop) -> None:
    one, other = matrices(1), matrices(2)
    reader = restored(workshop, safetensors_bytes(one), bfloat16(one))
    assert "cast" in reader.met
    first, second = (workshop.clean(bfloat16(tensors)) for tensors in (one, other))
    mean = bfloat16({name: (one[name] + other[name]) / 2 for name in one})
    text = workshop.clean(mean, first, second)
    assert reader.restore(text) == mean
    assert "combine" in reader.met


def test_opaque_files_and_empty_ones(workshop: Workshop) -> None:
    restored(workshop, b"", b"not a checkpoint", np.random.default_rng(1).bytes(5 << 20), name="model.bin")
    empty = safetensors_bytes(
        {"a": ("F32", (0, 3), b""), "b": ("C64", (), b"12345678"), '\n"': ("F4", (4,), b"12")}
    )
    restored(workshop, safetensors_bytes({}), empty)


def test_a_torch_checkpoint_with_views(workshop: Workshop) -> None:
    torch = pytest.importorskip("torch")

    def saved(step: int) -> bytes:
        weight = torch.arange(60_000, dtype=torch.float32).reshape(200, 300) + step
        tensors = {"a": weight, "tied": weight, "turned": weight.t(), "b": torch.ones(3).bfloat16()}
        file = io.BytesIO()
        torch.save(tensors | {"step": step}, file)
        return file.getvalue()

    reader = restored(workshop, saved(1), saved(2), name="model.pt")
    assert "delta" in reader.met
    lines = read_manifest(workshop.clean(saved(1), name="model.pt"))
    assert {"tied", "turned"} <= {line["view"] for line in lines["view"]}


def test_what_is_damaged_is_refused(workshop: Workshop) -> None:
    text = workshop.clean(safetensors_bytes(weights()))
    reader = Reader(workshop.store.root / "objects")
    for wrong in (
        text.replace(b'"size":', b'"size": ', 1),
        text.replace(b"layer.0", b"layer.9", 1),
        text.replace(b'"git-theta":2', b'"git-theta":1', 1),
        text.replace(b'"git-theta":2', b'"git-theta":3', 1),
        text.replace(b'"at":"', b'"at":"0', 1),
        b"".join(line + b"\n" for line in text.split(b"\n")[:-1] if b'"object"' not in line),
    ):
        with pytest.raises(Refused):
            reader.restore(wrong)
    path = workshop.store.find(next(iter(parse(text).oids())))
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(Refused):
        Reader(workshop.store.root / "objects").restore(text)
