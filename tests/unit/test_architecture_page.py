"""docs/architecture.md shows the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from test_architecture import APART, LEAVES, PACKAGE, ROOMS, modules

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def part(title: str) -> str:
    return PAGE[PAGE.index(f"## {title}") :].split("\n## ")[0]


def test_the_rooms_stand_in_their_order() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", part("The rooms"), re.MULTILINE)) == ROOMS


def test_the_leaves_and_what_stands_apart_are_named() -> None:
    rules = part("The rooms").split("Two more rules")[1]
    assert {*LEAVES, *APART["git"]} <= set(re.findall(r"`(\w+)`", rules))


def stands(word: str) -> bool:
    """Whether there is such a module, or a module that has such a name in it."""
    name = "git_theta." + word.removesuffix(".py").replace("/", ".")
    module, _, inside = name.rpartition(".")
    return name in modules() or (module in modules() and f" {inside}" in modules()[module].read_text())


def test_every_module_that_the_page_names_is_there() -> None:
    words = re.findall(r"`(\w+[./][\w./]+)`", PAGE)
    found = [
        word for word in words if re.split(r"[./]", word)[0] in ROOMS and not re.search("[A-Z]{4}", word)
    ]
    assert len(found) > 40
    assert [word for word in found if not stands(word)] == []


def test_the_leaves_that_the_page_names_are_modules() -> None:
    leaves = part("The rooms").split("Leaves are")[1]
    for name in re.findall(r"`(\w+)`", leaves):
        assert (PACKAGE / f"{name}.py").is_file() or name in LEAVES, name
