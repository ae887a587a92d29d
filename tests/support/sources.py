"""The program's own text, for tests that hold how it is written."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree, which all tests of a process share."""
    return ast.parse(path.read_bytes())
