"""Merging files to which one side has added layers or dicts, while the other changed something else."""

from __future__ import annotations

from typing import Any

import pytest
from git_repo import GitRepo
from torch_files import NAME, loaded, sides

torch = pytest.importorskip("torch")


def test_into_the_dicts_they_stand_in(repo: GitRepo) -> None:
    def file(*more: str, **values: Any) -> dict[str, Any]:
        ema = {name: torch.ones(2) for name in ("a.w", *more)}
        return {"model": {"a.w": torch.ones(2)}, "ema": ema, "step": 1, **values}

    ours = file(step=2, extra={"lr": 0.1})
    theirs = file("b.w", opt={"m": {"x": torch.ones(3) * 5}, "rates": [1, 2]}, rest=[torch.ones(1)])
    sides(repo, file(), ours, theirs)
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert list(found["ema"]) == ["a.w", "b.w"]
    assert list(found["model"]) == ["a.w"]
    assert (found["step"], found["extra"]) == (2, {"lr": 0.1})
    assert torch.equal(found["opt"]["m"]["x"], torch.full((3,), 5.0))
    assert found["opt"]["rates"] == [1, 2]
    assert torch.equal(found["rest"][0], torch.ones(1))
    assert set(found) == {"model", "ema", "step", "extra", "opt", "rest"}


def test_both_sides_add_dicts(repo: GitRepo) -> None:
    base: dict[str, Any] = {"model": {"w": torch.ones(2)}}
    sides(
        repo,
        base,
        base | {"ema": {"w": torch.ones(2) * 2}},
        base | {"ema": {"v": torch.ones(2) * 3}, "swa": {"n": 4, "w": torch.ones(2) * 4}},
    )
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert {key: one[0] for key, one in found["ema"].items()} == {"w": 2, "v": 3}
    assert (found["swa"]["n"], found["swa"]["w"][0]) == (4, 4)


def test_layers_of_whole_modules(repo: GitRepo) -> None:
    def module(value: float, *more: Any, note: int = 0) -> Any:
        made = torch.nn.Sequential(torch.nn.Linear(2, 2), *more)
        torch.nn.init.constant_(made[0].weight, value)
        torch.nn.init.zeros_(made[0].bias)
        made.note = note
        return made

    torch.manual_seed(0)
    norm, head = torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1)
    sides(repo, module(1), module(3, note=7), module(1, norm, head))
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert [type(one).__name__ for one in found] == ["Linear", "BatchNorm1d", "Linear"]
    assert found.note == 7
    assert torch.equal(found[0].weight, torch.full((2, 2), 3.0))
    assert found[0].weight.requires_grad
    assert torch.equal(found[2].weight, head.weight)
    found.eval()
    given = torch.ones(1, 2)
    wanted = head(norm.eval()(torch.full((1, 2), 6.0)))
    assert torch.equal(found(given), wanted)


def test_ties_stay_ties(repo: GitRepo) -> None:
    def file(value: float, tied: bool, epoch: int) -> dict[str, Any]:
        weight = torch.full((3,), value)
        more = {"head": {"weight": weight}} if tied else {}
        return {"embed": {"weight": weight}, **more, "epoch": epoch}

    sides(repo, file(1, False, 1), file(2, False, 2), file(1, True, 1))
    repo.git("merge", "-q", "--no-edit", "theirs")
    found = loaded(repo)
    assert found["epoch"] == 2
    assert torch.equal(found["head"]["weight"], torch.full((3,), 2.0))
    assert found["head"]["weight"].data_ptr() == found["embed"]["weight"].data_ptr()


def test_what_has_no_place_is_a_conflict(repo: GitRepo) -> None:
    def file(count: int, epoch: int) -> dict[str, Any]:
        return {"pair": tuple(torch.full((2,), float(number)) for number in range(count)), "epoch": epoch}

    sides(repo, file(1, 1), file(1, 2), file(2, 1))
    said = repo.refused("git", "merge", "theirs")
    assert "there is no place for 'pair.1'" in said
    assert loaded(repo)["epoch"] == 2
    repo.remedy(said, f"git theta resolve {NAME} --ours")
    assert len(loaded(repo)["pair"]) == 1
    repo.git("reset", "-q", "--hard", "HEAD")
    repo.refused("git", "merge", "theirs")
    repo.theta("resolve", NAME, "--theirs")
    assert len(loaded(repo)["pair"]) == 2


def test_a_dict_that_one_side_removed_and_the_other_changed(repo: GitRepo) -> None:
    def file(value: float, **more: Any) -> dict[str, Any]:
        return {"model": {"w": torch.full((2,), value)}, **more}

    ema = {"ema": {"w": torch.ones(2), "n": 1}}
    sides(repo, file(1, **ema), file(2), file(1, ema={"w": torch.ones(2), "n": 2}))
    said = repo.refused("git", "merge", "theirs")
    assert "ema.n: no tensor: removed by main, changed by theirs (2)" in said
    repo.theta("resolve", NAME, "--theirs")
    found = loaded(repo)
    assert found["ema"]["n"] == 2
    assert found["model"]["w"][0] == 2
