"""Random PyTorch files are merged as a small oracle says that knows keys and values only."""

from __future__ import annotations

import copy
import io
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from apply_case import Case, rules
from torch_files import saved

from git_theta.errors import ThetaError

torch = pytest.importorskip("torch")

Flat = dict[tuple[Any, ...], object]
_TYPE = "type of a dict"


def value(choose: random.Random) -> object:
    kind = choose.randrange(6)
    if kind < 3:
        return torch.full((choose.randrange(1, 4),), float(choose.randrange(50)))
    return [choose.randrange(100), f"text {choose.randrange(100)}", [choose.randrange(5), 1]][kind - 3]


def tree(choose: random.Random, depth: int = 0) -> Any:
    made: Any = OrderedDict() if choose.random() < 0.3 else {}
    for _ in range(choose.randrange(1, 5)):
        key = choose.choice(["a", "b", "c", "d", "e", 1, 2])
        made[key] = tree(choose, depth + 1) if depth < 2 and choose.random() < 0.35 else value(choose)
    return made


def edited(choose: random.Random, file: Any) -> Any:
    """The file with values that are others, gone and new. None becomes of another kind."""
    file = copy.deepcopy(file)
    for _ in range(choose.randrange(1, 4)):
        place = file
        while (below := [one for one in place.values() if isinstance(one, dict)]) and choose.random() < 0.5:
            place = choose.choice(below)
        what, keys = choose.random(), [key for key, one in place.items() if not isinstance(one, dict)]
        if what < 0.4 and keys:
            key = choose.choice(keys)
            place[key] = place[key] + 1 if torch.is_tensor(place[key]) else f"other {choose.random()}"
        elif what < 0.6 and keys:
            del place[choose.choice(keys)]
        else:
            place[f"new {choose.random()}"] = value(choose) if what < 0.8 else tree(choose, 1)
    return file


def flat(file: Any, path: tuple[Any, ...] = ()) -> Flat:
    found: Flat = {(*path, _TYPE): type(file).__name__}
    for key, one in file.items():
        if isinstance(one, dict):
            found |= flat(one, (*path, key))
        else:
            found[(*path, key)] = tuple(one.tolist()) if torch.is_tensor(one) else repr(one)
    return found


def merged(base: Flat, ours: Flat, theirs: Flat) -> tuple[Flat, set[str]]:
    """What comes out, and the names of conflicts."""
    found: Flat = {}
    names = set()
    for path in {*base, *ours, *theirs}:
        before, here, there = (side.get(path) for side in (base, ours, theirs))
        if here != before and there not in (before, here):
            names.add(".".join(map(str, path)))
        result = there if here == before else here
        if result is not None:
            found[path] = result
    return found, names


@pytest.mark.parametrize("seed", range(14))
def test_as_the_oracle_says(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    base = tree(choose)
    ours, theirs = edited(choose, base), edited(choose, base)
    case = Case(tmp_path, *map(saved, (base, ours, theirs)), name="model.pt")
    wanted, names = merged(flat(base), flat(ours), flat(theirs))
    assert {one.name for one in case.plan(rules()).conflicts()} == names
    try:
        applied = case.merge(rules())
    except ThetaError:
        assert names, "a merge without conflicts is refused"
        return
    found = torch.load(io.BytesIO(case.workshop.smudge(applied.text)), weights_only=False)
    assert flat(found) == wanted


def of_numbers(*numbers: float) -> list[Any]:
    return [torch.full((3,), float(number)) for number in numbers]


@pytest.mark.parametrize("way", [1, -1], ids=["ours", "theirs"])
@pytest.mark.parametrize("kind", [list, tuple])
def test_entries_of_a_list_that_became_shorter_are_decided_on_once(
    tmp_path: Path, way: int, kind: type
) -> None:
    """Which of two equal entries is gone cannot be told, so neither where the other side's change belongs."""
    sides = [[1, 3, 2], [1, 2]][::way]
    case = Case(
        tmp_path,
        *(saved({"xs": kind(of_numbers(*one)), "y": of_numbers(0)}) for one in ([1, 2, 2], *sides)),
        name="model.pt",
    )
    found = case.plan(rules()).conflicts()
    assert [one.name for one in found] == ["xs.0", "xs.1", "xs.2", "xs:type"]
    assert all("removed entries of xs" in one.reason for one in found)
    for number, how in enumerate(["ours", "theirs"]):
        result = torch.load(io.BytesIO(case.workshop.smudge(case.merge(rules(how)).text)))
        assert [int(one[0]) for one in result["xs"]] == sides[number]


@pytest.mark.parametrize("way", [1, -1], ids=["ours", "theirs"])
@pytest.mark.parametrize("one", [[1, 2], [2, 2, 5], [], [1, 2, 2, 5, 6, 7], [9, 2, 2, 5, 6]])
def test_a_list_of_one_side_is_taken_as_it_is(tmp_path: Path, way: int, one: list[int]) -> None:
    base = {"xs": of_numbers(1, 2, 2, 5), "y": 1, "zs": [of_numbers(1), of_numbers(2, 3)]}
    sides = [{**base, "y": 2}, {**base, "xs": of_numbers(*one), "zs": [of_numbers(1)]}][::way]
    case = Case(tmp_path, *map(saved, (base, *sides)), name="model.pt")
    result = torch.load(io.BytesIO(case.workshop.smudge(case.merge(rules()).text)))
    assert [int(entry[0]) for entry in result["xs"]] == one
    assert (result["y"], len(result["zs"])) == (2, 1)
