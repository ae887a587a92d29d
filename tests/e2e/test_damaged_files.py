"""Damaged and hostile files under a tracked pattern: refused by what stores, and nothing is lost."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, digest, safetensors_bytes, version, weights
from torch_files import archive

MODEL = "model.safetensors"
_LENGTH = 8 * 16


def safetensors(header: bytes | dict[str, object], data: bytes = bytes(_LENGTH), length: int = -1) -> bytes:
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length < 0 else length) + text + data


def tensor(start: int, stop: int, shape: tuple[int, ...] = (16,), dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


BAD = {
    "truncated in a tensor": (version(0)[:-1000], "tensor 'bias'|tensor 'layer.3.weight'"),
    "truncated in the header": (version(0)[:100], "cut off"),
    "longer than the header says": (version(0) + b"x", "its header"),
    "header length 2^60": (safetensors({"a": tensor(0, 64)}, length=1 << 60), "header"),
    "overlapping": (safetensors({"a": tensor(0, 64), "b": tensor(32, 96)}, bytes(96)), "tensor 'b' overlaps"),
    "gap": (safetensors({"a": tensor(0, 64), "b": tensor(80, 144)}, bytes(144)), "tensor 'b'"),
    "out of range": (safetensors({"a": tensor(0, 64), "b": tensor(64, 128)}, bytes(64)), "tensor 'b'"),
    "huge offsets": (
        safetensors({"a": tensor(1 << 62, (1 << 62) + 64)}, bytes(64)),
        "tensor 'a'",
    ),
    "negative offset": (safetensors({"a": tensor(-64, 0)}, bytes(64)), "tensor 'a'"),
    "duplicate names": (
        safetensors(
            b'{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},'
            b'"a":{"dtype":"F32","shape":[8],"data_offsets":[32,64]}}',
            bytes(64),
        ),
        "tensor 'a' stands twice",
    ),
    "invalid UTF-8": (
        safetensors(b'{"\xff":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}', bytes(64)),
        "UTF-8",
    ),
    "shape x dtype": (safetensors({"a": tensor(0, 64, (15,))}, bytes(64)), "tensor 'a' has 64 bytes"),
    "shape of 2**80 elements": (
        safetensors({"a": tensor(0, 64, (1 << 40, 1 << 40))}, bytes(64)),
        "tensor 'a'",
    ),
    "deep JSON": (safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_damaged_safetensors_are_refused(history: GitRepo, case: str) -> None:
    data, said = BAD[case]
    check_refused(history, MODEL, data, *said.split("|"))


def check_refused(repo: GitRepo, name: str, data: bytes, *said: str) -> None:
    """`git add` refuses the file, says why and what to type, and leaves everything as it was."""
    before, entry = repo.objects(), repo.git("ls-files", "-s", name).stdout
    repo.write(name, data)
    refused = repo.git("add", name, check=False)
    assert refused.returncode != 0
    assert f"git-theta: {name}: " in refused.stderr
    assert any(text in refused.stderr for text in said), refused.stderr
    assert (
        f"save the file again; to store it as it is: git -c theta.allowDamaged=true add {name}"
        in refused.stderr
    )
    assert repo.objects() == before
    assert repo.git("ls-files", "-s", name).stdout == entry
    assert repo.digest(name) == digest(data)


def test_damaged_file_is_stored_where_that_is_allowed(history: GitRepo) -> None:
    data = version(0)[:-1000]
    history.write(MODEL, data)
    added = history.git("-c", "theta.allowDamaged=true", "add", MODEL)
    assert "stored as opaque bytes" in added.stderr
    (history.path / MODEL).touch()
    assert "damaged" not in history.git("commit", "-m", "meant so").stderr
    assert history.status() == []
    history.git("checkout", "-q", "v0")
    history.git("checkout", "-q", "main")
    assert history.digest(MODEL) == digest(data)
    (history.path / MODEL).touch()
    assert history.status() == []
    check_refused(history, MODEL, data[:-1], "its header")


def test_damaged_file_does_not_keep_others_from_being_added(history: GitRepo) -> None:
    history.write(MODEL, version(0)[:-1000])
    history.write("good.safetensors", safetensors_bytes(weights(4)))
    assert history.git("add", "--ignore-errors", ".", check=False).returncode != 0
    assert history.git("add", "good.safetensors").returncode == 0
    assert history.staged() == ["good.safetensors"]


class _Trap:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_pickle_is_never_executed(repo: GitRepo, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    data = archive(pickle.dumps({"weights": _Trap(trap)}, protocol=2))
    repo.write("bomb.pt", data)
    repo.commit("a bomb")
    (repo.path / "bomb.pt").unlink()
    repo.git("checkout", "--", ".")
    assert repo.digest("bomb.pt") == digest(data)
    for command in (["ls-files", "-l"], ["status"], ["fsck"]):
        repo.theta(*command)
    repo.write("bomb.pt", archive(pickle.dumps([_Trap(trap), 1], protocol=2)))
    assert repo.git("diff").returncode == 0
    repo.commit("another one")
    assert not trap.exists()
    pickle.loads(pickle.dumps(_Trap(trap)))
    assert trap.exists()  # it would have worked


def laughs() -> bytes:
    """Lists in lists: 2^50 leaves in 50 lists."""
    value: list[object] = []
    for _ in range(50):
        value = [value, value]
    return pickle.dumps({"x": value}, protocol=2)


@pytest.mark.parametrize(
    "data",
    [
        archive(laughs()),
        archive(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x."),  # bytes of that length
        archive(b"\x80\x02" + b"]" * 200_000 + b"."),
        archive(b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b"."),
        archive(b"\x80\x02]" + b"2" * 60_000 + b"."),
        archive(bytes(64 << 20), compression=zipfile.ZIP_DEFLATED),
    ],
    ids=["laughs", "length", "stack", "nesting", "duplicates", "deflated"],
)
def test_pickle_bombs_do_no_harm(repo: GitRepo, data: bytes) -> None:
    """Refused or stored as they are: but soon, in little memory, and without an unexpected error."""
    repo.write("bomb.pt", data)
    command = "ulimit -v 4000000 -t 20; exec git add bomb.pt"
    added = repo.run("sh", "-c", command, check=False)
    assert "did not expect" not in added.stderr
    if added.returncode:
        assert "git-theta: bomb.pt: " in added.stderr
        repo.git("-c", "theta.allowDamaged=true", "add", "bomb.pt")
    repo.git("commit", "-q", "-m", "a bomb")
    (repo.path / "bomb.pt").unlink()
    repo.git("checkout", "--", ".")
    assert repo.digest("bomb.pt") == digest(data)


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "archive/../../evil", "C:\\evil"])
def test_zip_with_path_tricks(repo: GitRepo, tmp_path: Path, name: str) -> None:
    data = archive(pickle.dumps({"epoch": 1}, protocol=2), (name, b"evil"))
    check_refused(repo, "model.pt", data, name, repr(name))
    assert not [path for path in tmp_path.rglob("*evil*") if path.is_file()]


def edit_zip(edit: Callable[[bytes], bytes]) -> bytes:
    storage = np.arange(64, dtype="float32").tobytes()
    return edit(
        archive(
            pickle.dumps({"epoch": 1}, protocol=2), ("archive/data/0", storage), ("archive/twin.pkl", b"N.")
        )
    )


@pytest.mark.parametrize(
    "data",
    [
        edit_zip(lambda data: data[:-30]),
        edit_zip(lambda data: data[: len(data) // 2]),
        edit_zip(lambda data: data.replace(b"PK\x01\x02", b"PK\x01\x03", 1)),
        archive(pickle.dumps({}, protocol=2)[:-3]),
        edit_zip(lambda data: data.replace(b"archive/twin.pkl", b"archive/data.pkl")),
    ],
    ids=["end", "half", "directory", "pickle", "two pickles"],
)
def test_damaged_torch_files_are_refused(repo: GitRepo, data: bytes) -> None:
    check_refused(repo, "model.pt", data, "")


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"just text\n", b"\x80\x02}q\x00."])
def test_files_of_no_known_format_are_stored_whole(repo: GitRepo, data: bytes) -> None:
    repo.write("model.pt", data)
    added = repo.git("add", "model.pt")
    assert added.stderr.count("model.pt") == 1
    (repo.path / "model.pt").touch()
    assert "format" not in repo.git("commit", "-m", "opaque").stderr  # said once is enough
    (repo.path / "model.pt").unlink()
    repo.git("checkout", "--", ".")
    assert repo.digest("model.pt") == digest(data)
