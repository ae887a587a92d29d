"""Merging what is no tensor: the values in a pickle, the entries of a header."""

from __future__ import annotations

import io
import shlex
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, diverge, tensors
from torch_files import NAME, loaded, saved, sides

torch = pytest.importorskip("torch")
safe_load = pytest.importorskip("safetensors.torch").load


pytestmark = pytest.mark.usefixtures("no_editor")


def finished(repo: GitRepo, said: str, command: str) -> Any:
    """What the file holds after this remedy and the commit."""
    repo.remedy(said, command)
    repo.git("commit", "-q", "--no-edit")
    assert repo.status() == []
    return loaded(repo)


def test_arrays_that_both_changed_are_a_conflict(repo: GitRepo) -> None:
    sides(repo, *({"w": np.full((9, 9), value)} for value in (1.0, 5.0, 3.0)))
    said = repo.refused("git", "merge", "theirs")
    assert "  w: no tensor: changed differently by main and theirs" in said
    assert "average" not in said
    assert "w is not merged yet" in repo.refused("git", "commit", "-a")
    found = finished(repo, said, f"git theta resolve {NAME} --ours")
    assert found["w"][0, 0] == 5
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.refused("git", "merge", "theirs")
    repo.theta("resolve", NAME, "--theirs")
    assert loaded(repo)["w"][0, 0] == 3


def test_one_sided_changes_of_both_are_merged(repo: GitRepo) -> None:
    base: dict[str, Any] = {"w": torch.ones(4), "epoch": 1, "old": "x", "args": {"lr": 0.1, "seed": 1}}
    ours = {**base, "epoch": 2, "args": {"lr": 0.1, "seed": 7}}
    theirs: dict[str, Any] = {
        "w": torch.ones(4) * 3,
        "epoch": 1,
        "args": {"lr": 0.5, "seed": 1},
        "note": [1, 2],
    }
    sides(repo, base, ours, theirs)
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert torch.equal(found.pop("w"), torch.full((4,), 3.0))
    assert found == {"epoch": 2, "args": {"lr": 0.5, "seed": 7}, "note": [1, 2]}
    assert repo.status() == []


def test_values_are_named_and_each_can_be_decided(repo: GitRepo) -> None:
    base = {"w": torch.zeros(4), "epoch": 1, "loss": 0.5, "saved_at": "monday"}
    ours = {"w": torch.ones(4), "epoch": 2, "loss": 0.25, "saved_at": "tuesday"}
    theirs = {"w": torch.ones(4) * 3, "epoch": 9, "loss": 0.75, "saved_at": "friday"}
    sides(repo, base, ours, theirs)
    said = repo.refused("git", "theta", "merge", "theirs", "--strategy", "average")
    assert "epoch: no tensor: changed differently by main (2) and theirs (9)" in said
    assert "2 other values are in conflict" in said
    repo.remedy(said, "git theta merge theirs --strategy average --rule 'epoch: ours' --rule 'loss: ours'")
    found = loaded(repo)
    assert torch.equal(found.pop("w"), torch.full((4,), 2.0))
    assert found == {"epoch": 2, "loss": 0.25, "saved_at": "tuesday"}
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
    repo.git("reset", "-q", "--hard", "HEAD^")
    said = repo.refused("git", "merge", "theirs", GIT_THETA_MERGE="average")
    repo.theta("resolve", NAME, "--tensor", "epoch", "--strategy", "theirs", check=False)
    assert torch.equal(loaded(repo)["w"], torch.full((4,), 2.0))
    assert loaded(repo)["epoch"] == 9
    found = finished(repo, said, f"git theta resolve {NAME} --ours")
    assert torch.equal(found.pop("w"), torch.full((4,), 2.0))
    assert found == {"epoch": 9, "loss": 0.25, "saved_at": "tuesday"}


def test_mergetool_asks_about_values(repo: GitRepo) -> None:
    sides(repo, *({"w": torch.ones(4) * n, "epoch": n, "note": str(n)} for n in (1, 2, 4)))
    said = repo.refused("git", "merge", "theirs")
    repo.write(".git/answers", "average @all\ntheirs\nours\n")
    repo.remedy(said, f"git theta mergetool {NAME}", check=False)
    repo.theta("mergetool", NAME, "--answers", ".git/answers")
    found = loaded(repo)
    assert torch.equal(found.pop("w"), torch.full((4,), 3.0))
    assert found == {"epoch": 4, "note": "2"}


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_is_taken_for_values_too(repo: GitRepo, side: str) -> None:
    sides(repo, *({"w": torch.ones(4) * n, "epoch": n} for n in (1, 2, 4)))
    repo.git("merge", "-q", "--no-edit", f"-X{side}", "theirs")
    assert loaded(repo)["epoch"] == (2 if side == "ours" else 4)
    assert loaded(repo)["w"][0] == (2 if side == "ours" else 4)


def test_entries_of_headers(repo: GitRepo) -> None:
    def header(value: float, **metadata: str) -> bytes:
        return safetensors_bytes(tensors(w=value), metadata)

    base, ours = header(1, a="1", b="1"), header(1, a="2", b="1", c="new")
    diverge(repo, base, ours, header(2, a="1", b="3"))
    repo.git("merge", "-q", "--no-edit", "theirs")
    text = (repo.path / MODEL).read_bytes()
    assert b'"__metadata__":{"a":"2","b":"3","c":"new"}' in text
    assert text.endswith(np.array([2], np.float32).tobytes())
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.write(MODEL, header(1, a="2", b="5"))
    repo.git("commit", "-qam", "b too")
    said = repo.refused("git", "merge", "theirs")
    assert "__metadata__.b: no tensor: changed differently by main ('5') and theirs ('3')" in said
    repo.remedy(said, f"git theta resolve {MODEL} --ours")
    assert b'"__metadata__":{"a":"2","b":"5"}' in (repo.path / MODEL).read_bytes()


def quantized(value: float, scale: float, epoch: int) -> dict[str, Any]:
    return {
        "w": torch.quantize_per_tensor(torch.full((9, 9), float(value)), scale, 0, torch.qint8),
        "epoch": epoch,
    }


def per_channel(value: float, scale: float, epoch: int) -> dict[str, Any]:
    scales, zeros = torch.full((4,), scale, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    values = torch.full((4, 4), float(value))
    return {"w": torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8), "epoch": epoch}


def sparse(value: float, place: float, epoch: int) -> dict[str, Any]:
    at = torch.tensor([[int(place * 100)]])
    return {"w": torch.sparse_coo_tensor(at, torch.tensor([float(value)]), (20,)).coalesce(), "epoch": epoch}


def dense(value: Any) -> torch.Tensor:
    return value.dequantize() if value.is_quantized else value.to_dense()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", [quantized, per_channel, sparse])
def test_codes_and_their_scale_come_from_one_side(repo: GitRepo, made: Any) -> None:
    base, ours, theirs = made(1, 0.1, 1), made(1, 0.1, 2), made(3, 0.05, 1)
    sides(repo, base, ours, theirs)
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert torch.equal(dense(found["w"]), dense(theirs["w"]))
    assert found["epoch"] == 2
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.theta("merge", "theirs", "--strategy", "theirs")
    assert torch.equal(dense(loaded(repo)["w"]), dense(theirs["w"]))
    repo.git("reset", "-q", "--hard", "HEAD^")
    other = made(2, 0.15, 2)
    repo.write(NAME, saved(other))
    repo.git("commit", "-qam", "other codes")
    said = repo.refused("git", "merge", "theirs", GIT_THETA_MERGE="average")
    assert "mean nothing without what describes them" in said
    repo.theta("resolve", NAME, "--tensor", "w*", "--strategy", "theirs")
    assert torch.equal(dense(loaded(repo)["w"]), dense(theirs["w"]))
    assert loaded(repo)["epoch"] == 2


def test_what_needs_gradients_is_merged_apart(repo: GitRepo) -> None:
    def one(value: float, grad: bool) -> dict[str, Any]:
        return {"w": torch.full((4,), float(value), requires_grad=grad), "v": torch.zeros(2)}

    sides(repo, one(1, False), one(1, True), one(3, False))
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert found["w"].requires_grad
    assert torch.equal(found["w"].detach(), torch.full((4,), 3.0))


def test_ordered_state_dicts_keep_what_torch_notes_in_them(repo: GitRepo) -> None:
    def state(value: float, *more: str) -> Any:
        found = OrderedDict({name: torch.full((2,), value) for name in ("a.w", *more)})
        found._metadata = OrderedDict({"": {"version": 1}} | {name: {"version": 2} for name in more})
        return found

    sides(repo, state(1), state(1, "b.w"), state(1, "c.w"))
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert list(found) == ["a.w", "c.w", "b.w"] or list(found) == ["a.w", "b.w", "c.w"]
    assert set(found._metadata) == {"", "b.w", "c.w"}
    assert shlex.split(repo.git("log", "-1", "--format=%s").stdout)


def test_status_and_diff_show_what_is_open(repo: GitRepo) -> None:
    sides(repo, *({"w": torch.ones(4), "epoch": n} for n in (1, 2, 4)))
    repo.refused("git", "merge", "theirs")
    said = repo.theta("status").stdout
    assert f"{NAME}: 1 other value: epoch" in said
    assert "epoch  not merged" in repo.git("diff").stdout
    repo.remedy(said, f"git theta resolve {NAME} --ours")
    assert loaded(repo)["epoch"] == 2


def test_codes_and_a_dict_of_scales(repo: GitRepo) -> None:
    def file(code: int, scale: float, epoch: int) -> dict[str, Any]:
        codes = torch.full((3, 3), code, dtype=torch.int8)
        return {"model": {"l.weight": codes}, "scales": {"l.weight": scale}, "epoch": epoch}

    sides(repo, file(8, 0.5, 1), file(8, 0.25, 2), file(4, 0.5, 1))
    said = repo.refused("git", "merge", "theirs")
    assert "model.l.weight, scales.l.weight are one tensor" in said
    found = finished(repo, said, f"git theta resolve {NAME} --ours")
    assert (found["model"]["l.weight"][0][0], found["scales"]["l.weight"], found["epoch"]) == (8, 0.25, 2)


@pytest.mark.parametrize("in_header", [False, True])
def test_codes_and_a_scale_that_is_a_number(repo: GitRepo, in_header: bool) -> None:
    name = MODEL if in_header else NAME

    def file(code: int, scale: float, other: float) -> bytes:
        codes, more = np.full((4, 4), code, np.uint8), np.full(2, other, np.float32)
        if in_header:
            return safetensors_bytes({"l.qweight": codes, "b": more}, {"l.scales": str(scale)})
        return saved({"l.qweight": torch.from_numpy(codes), "b": torch.from_numpy(more), "l.scales": scale})

    base, ours, theirs = file(8, 0.5, 1), file(8, 0.25, 2), file(4, 0.5, 3)
    diverge(repo, base, ours, theirs, name)
    said = repo.refused("git", "merge", "theirs", GIT_THETA_MERGE="average")
    assert "are one tensor: take them from one side" in said
    repo.remedy(said, f"git theta resolve {name} --ours")
    read = safe_load if in_header else (lambda data: torch.load(io.BytesIO(data), weights_only=False))
    found = read((repo.path / name).read_bytes())
    assert found["l.qweight"][0][0] == 8
    assert found["b"][0] == (2 + 3) / 2
    if in_header:
        assert b'"l.scales":"0.25"' in (repo.path / name).read_bytes()
    else:
        assert found["l.scales"] == 0.25
