"""What is required is used, and what is used is required."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sources import parsed

tomllib = pytest.importorskip("tomllib")
ROOT = Path(__file__).parents[2]
MODULES = {"gitpython": "git"}
"""The module that a package brings, where it has another name."""
STILL_TO_COME = {
    "gitpython": "repositories and commits of the Python API",
    "safetensors": "state dicts of the Python API",
    "zarr": "lazy arrays of the Python API",
}
"""Required by the people who use the project; what they are for is not built yet."""


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", one)[0].lower() for one in requirements}


@cache
def imported() -> set[str]:
    """The packages that git_theta's modules import, wherever in them."""
    found = set()
    for path in (ROOT / "git_theta").rglob("*.py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"git_theta"}


def test_what_is_required_is_used() -> None:
    required = names(project()["dependencies"])
    used = {one for one in required if MODULES.get(one, one) in imported()}
    assert required - used == STILL_TO_COME.keys()


def test_what_is_used_is_required() -> None:
    extras = project()["optional-dependencies"]
    known = names(project()["dependencies"]) | names(extras["torch"]) | names(extras["plot"])
    of_contract_tests = {"pytest"}  # whoever imports git_theta.testing has it
    assert imported() <= {MODULES.get(one, one) for one in known} | of_contract_tests
