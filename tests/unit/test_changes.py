from dataclasses import replace

from git_theta.dtypes import dtype
from git_theta.git.plumbing import RawChange
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.versions.changes import ChangedPath, cost, regular_files


def digest(name: str) -> str:
    return f"{sum(name.encode()):064x}"


def manifest(**tensors: str) -> Manifest:
    """A checkpoint of 1,000 bytes; each different content is an object of 100 bytes."""
    lines = tuple(
        TensorLine(name, dtype("F32"), (4,), digest(data)) for name, data in sorted(tensors.items())
    )
    digests = {line.digest for line in lines} | {digest("skeleton")}
    storage = {d: StorageLine(d, d, 100, 0, "dense") for d in digests}
    return Manifest("safetensors", 1000, "0" * 64, lines, (), digest("skeleton"), 10, storage)


def test_first_version() -> None:
    found = cost("m", None, manifest(a="x", b="y"), ())
    assert found.text() == "2 tensors, 300 B stored (30.0%)"


def test_tensors_that_changed_came_or_went() -> None:
    before = manifest(a="x", b="y", gone="z")
    found = cost("m", before, manifest(a="x", b="changed", new="w"), ())
    assert (found.amount.changed, found.tensors, found.stored) == (3, 3, 200)
    assert found.text() == "3 of 4 tensors changed (1 modified, 1 added, 1 removed), 200 B stored (20.0%)"
    statuses = {"modified": 1, "added": 1, "removed": 1, "renamed": 0, "reshaped": 0, "cast": 0}
    assert found.record().items() >= {"changed": 3, "tensors": 3, "stored_bytes": 200, **statuses}.items()


def test_what_is_there_costs_nothing() -> None:
    found = cost("m", manifest(a="x"), manifest(a="known"), {digest("known")})
    assert (found.amount.changed, found.stored) == (1, 0)


def test_a_tensor_of_another_name_with_the_same_data_is_renamed_and_costs_nothing() -> None:
    found = cost("m", manifest(a="x"), manifest(b="x"), ())
    assert found.text() == "1 of 1 tensor changed (1 renamed), 0 B stored (0%)"


def test_bytes_have_no_tensors() -> None:
    opaque = replace(manifest(data="x"), format="opaque")
    assert cost("m", None, opaque, ()).what == "opaque bytes"
    assert cost("m", opaque, replace(manifest(data="y"), format="opaque"), ()).what == "opaque bytes changed"
    assert cost("m", opaque, manifest(a="x", b="y"), ()).what == "2 tensors"


def test_raw_differences() -> None:
    a, b, zero = "a" * 40, "b" * 40, "0" * 40
    rows = {
        "changed file": ("100644", "100755", a, b, "M"),
        "new": ("000000", "100644", zero, b, "A"),
        "gone\nfile": ("100644", "000000", a, zero, "D"),
        "was a link": ("120000", "100644", a, b, "T"),
        "submodule": ("160000", "160000", a, b, "M"),
        "link": ("000000", "120000", zero, b, "A"),
    }
    assert regular_files(RawChange(*about, path, path) for path, about in rows.items()) == [
        ChangedPath("changed file", a, b),
        ChangedPath("new", "", b),
        ChangedPath("gone\nfile", a, ""),
        ChangedPath("was a link", "", b),
    ]
