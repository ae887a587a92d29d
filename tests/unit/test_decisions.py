"""docs/decisions has a page for each choice that it lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


def test_the_table_has_every_page() -> None:
    listed = re.findall(r"^\| \[([\w-]+)\]\((.+?)\)", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(target for _, target in listed) == [path.name for path in PAGES]
    assert all(f"{name}.md" == target for name, target in listed)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_short_and_says_what_it_costs(path: Path) -> None:
    text = path.read_text()
    assert 20 <= len(text.splitlines()) <= 45
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Why", "What it costs", "What would change it"]
