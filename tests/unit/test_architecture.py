"""The rooms of the house, and that imports point one way: see docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from sources import parsed

PACKAGE = Path(__file__).parents[2] / "git_theta"
ROOMS = (
    *("testing", "cli", "commands", "drivers", "merging", "versions", "setup", "remotes", "git"),
    *("merges", "diffs", "filters", "storing", "objects", "updates", "checkpoints", "manifest", "kernels"),
)
"""From the top: a room imports from those after it, and from the leaves."""
LEAVES = ("terminal",)
"""A room that is nobody's in particular; so are the modules beside the rooms. They import one another."""
APART = {"git": {"merges", "diffs", "filters", "updates", "checkpoints"}}
"""What a room does not import although it comes later: git knows no tensor."""


@cache
@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named(node: ast.AST) -> Iterator[str]:
    """The modules that a statement imports, wherever it stands."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in modules() else node.module


@cache
def imports() -> dict[str, set[str]]:
    return {
        name: {one for node in ast.walk(parsed(path)) for one in named(node)}
        & (modules().keys() - {"git_theta", name})  # a room that has compiled modules imports "itself"
        for name, path in modules().items()
    }


def room(module: str) -> str:
    """The room of a module; "" for the leaves."""
    found = module.split(".")[1] if module.count(".") else ""
    return found if found in ROOMS else ""


def breaches(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go back up, or where a room may not look."""
    found = []
    for module, wanted in sorted(graph.items()):
        for other in sorted(wanted):
            ours, theirs = room(module), room(other)
            up = theirs and (not ours or ROOMS.index(theirs) < ROOMS.index(ours))
            if up or theirs in APART.get(ours, ()):
                found.append(f"{module} imports {other}")
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that, followed along imports, lead back to themselves."""
    found = []
    for start in sorted(graph):
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            module = ahead.pop()
            if module not in seen:
                seen.add(module)
                ahead += graph[module]
        if start in seen:
            found.append(start)
    return found


def test_every_folder_is_a_room() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == {*ROOMS, *LEAVES}


def test_imports_point_one_way() -> None:
    assert breaches(imports()) == []


def test_there_are_no_circles() -> None:
    assert circles(imports()) == []


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("git_theta.objects.store", "git_theta.filters.clean"),
        ("git_theta.versions.recorded", "git_theta.cli.main"),
        ("git_theta.git.repository", "git_theta.diffs.compare"),
        ("git_theta.errors", "git_theta.manifest"),
        ("git_theta.terminal.showing", "git_theta.git.repository"),
        ("git_theta.cli.main", "git_theta.testing.formats"),
    ],
)
def test_an_import_that_goes_up_is_found(module: str, other: str) -> None:
    graph = {name: set(found) for name, found in imports().items()}
    graph[module].add(other)
    assert breaches(graph) == [f"{module} imports {other}"]


def test_only_tests_import_pytest() -> None:
    found = {
        room(name)
        for name, path in modules().items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Import) and "pytest" in [alias.name for alias in node.names]
    }
    assert found == {"testing"}


def test_a_circle_is_found() -> None:
    graph = {"git_theta.a": {"git_theta.b"}, "git_theta.b": {"git_theta.c"}, "git_theta.c": {"git_theta.a"}}
    graph["git_theta.d"] = {"git_theta.a"}
    assert circles(graph) == ["git_theta.a", "git_theta.b", "git_theta.c"]


@pytest.mark.parametrize("name", ROOMS + LEAVES)
def test_a_room_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text()))
