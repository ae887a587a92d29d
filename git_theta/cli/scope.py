"""The options that say which of git's configuration files a command writes, if any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

SERVER = "server"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def scope_options(function: _Function) -> _Function:
    """--local, --worktree, --system and --server; without any, the scope is global."""
    for name, text in (
        (SERVER, "Only refuse pushes into this repository that lack objects."),
        ("system", "For all users of this machine."),
        ("worktree", "For this work tree (see git worktree)."),
        ("local", "For this repository."),
    ):
        function = click.option(f"--{name}", "scope", flag_value=name, help=text)(function)
    return click.option("--global", "scope", flag_value="global", default="global", hidden=True)(function)
