"""What the errors advise that only programs meet, done as they say."""

from __future__ import annotations

from errno import EACCES
from pathlib import Path

import pytest
from git_repo import does

from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.merges.registry import by_name
from git_theta.objects.store import LocalStore
from git_theta.remotes.directory import DirectoryRemote


def test_dtypes() -> None:
    with pytest.raises(ThetaError) as caught:
        dtype("float32")
    does(str(caught.value), "known: BOOL, U8, I8")
    known = str(caught.value).split("known: ")[1].split(", ")
    assert dtype(known[0]).name == "BOOL"


def test_merging_in_memory() -> None:
    torch = pytest.importorskip("torch")
    from git_theta.merges.in_memory import merge_tensors

    whole = [torch.tensor([1, 2]), torch.tensor([3, 4])]  # of whole numbers
    with pytest.raises(ThetaError) as caught:
        merge_tensors(by_name("average"), whole[0], whole)
    does(str(caught.value), "take ours or theirs")
    half = [torch.tensor([1.0]), torch.tensor([2.0])]
    assert merge_tensors(by_name("average"), None, half).item() == 1.5


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)

    def forbidden(*_: object) -> bool:
        raise PermissionError(EACCES, "Permission denied")

    with monkeypatch.context() as closed:
        closed.setattr(store, "has", forbidden)  # root may read everything
        with pytest.raises(ThetaError) as caught:
            DirectoryRemote("backup", store).has({"0" * 64: 1})
        does(str(caught.value), f"mend the permissions of {tmp_path}")
    assert DirectoryRemote("backup", store).has({"0" * 64: 1}) == set()
