"""What is written for those who carry on names what is there."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2]
PAGE = (SOURCE / "CONTRIBUTING.md").read_text()
FORMS = sorted((SOURCE / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = [
    *SOURCE.glob("*.md"),
    *(SOURCE / "docs").glob("*.md"),
    *(SOURCE / "docs" / "decisions").glob("*.md"),
    *(SOURCE / "changes").glob("*.md"),
]
KINDS = {"added", "changed", "fixed", "removed", "security"}


def sessions() -> set[str]:
    """The names of nox's sessions."""
    tree = ast.parse((SOURCE / "noxfile.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}


def test_every_lane_is_on_the_page() -> None:
    table = PAGE[PAGE.index("| lane |") : PAGE.index("One file alone")]
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", table))))
    assert sessions() <= words
    named = re.findall(r"nox -s ((?:[a-z]+ ?)+)", PAGE + (SOURCE / ".ci" / "run").read_text())
    assert named
    assert {name for line in named for name in line.split()} <= sessions()


def test_what_has_to_be_written_where_is_there() -> None:
    table = PAGE[PAGE.index("| a new |") : PAGE.index("After a change of entry points")]
    assert re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)[1:] == [
        *("metric", "format", "remote", "update kind", "strategy", "command"),
    ]
    paths = [one for one in re.findall(r"`([\w./]+)`", table) if "/" in one]
    assert len(paths) > 12
    for path in paths:
        path = re.sub(r"[A-Z]{4,}\.py$", "", path)
        assert any((folder / path).exists() for folder in (SOURCE, SOURCE / "git_theta")), path
    for group in re.findall(r"`(git_theta\.plugins\.\w+)`", table):
        assert any(f'"{group}"' in path.read_text() for path in (SOURCE / "git_theta").glob("*/registry.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SOURCE)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_fragments_become_a_section_of_the_changelog(tmp_path: Path) -> None:
    pytest.importorskip("towncrier")
    fragments = [path for path in (SOURCE / "changes").glob("*.md") if path.name != "README.md"]
    assert {path.name.split(".")[-2] for path in fragments} <= KINDS
    for name in ("CHANGELOG.md", "pyproject.toml"):
        shutil.copy(SOURCE / name, tmp_path)
    (tmp_path / "changes").mkdir()
    (tmp_path / "git_theta").mkdir()
    shutil.copy(SOURCE / "git_theta" / "__init__.py", tmp_path / "git_theta")
    for kind in KINDS:
        (tmp_path / "changes" / f"+a.{kind}.md").write_text(f"Something was {kind}.\n")
    command = [
        sys.executable,
        "-m",
        "towncrier",
        "build",
        "--yes",
        "--version",
        "9.9.9",
        "--date",
        "2030-01-02",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    text = (tmp_path / "CHANGELOG.md").read_text()
    section = text[text.index("## 9.9.9 - 2030-01-02") : text.index("## Unreleased")]
    for kind in KINDS:
        assert f"### {kind.title()}\n\n- Something was {kind}.\n" in section
    assert text.startswith((SOURCE / "CHANGELOG.md").read_text().partition("## ")[0].rstrip())


@pytest.mark.parametrize(
    "path", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.stem
)
def test_forms_ask_in_the_way_that_the_host_understands(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    form: dict[str, Any] = yaml.safe_load(path.read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    asked = [one for one in form["body"] if one["type"] != "markdown"]
    assert asked
    assert len({one["id"] for one in asked}) == len(asked)
    for one in form["body"]:
        assert one.keys() <= {"type", "id", "attributes", "validations"}
        assert one["type"] in ("markdown", "textarea")
        wanted = {"value"} if one["type"] == "markdown" else {"label"}
        assert wanted <= one["attributes"].keys() <= {"value", "label", "description", "render"}
    code = list((SOURCE / "git_theta").rglob("*.py"))
    for label in form["labels"]:  # for people alone: no program depends on them
        assert label.startswith("kind: ")
        assert not [one for one in code if label in one.read_text()]


def test_reports_have_what_finds_the_cause() -> None:
    text = "".join(path.read_text() for path in FORMS)
    assert "git theta doctor" in text
    assert "git theta version" in text
    assert ".git/theta/log" in text
    assert '.theta / "log"' in (SOURCE / "git_theta" / "cli" / "boundary.py").read_text()
