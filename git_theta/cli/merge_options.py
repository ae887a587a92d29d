"""The options that say how tensors are merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])


def merge_options(function: _Function) -> _Function:
    """--strategy, -o, --rule and --device."""
    for option in (
        click.option(
            "--device",
            default="auto",
            metavar="DEVICE",
            help="Where to compute: auto, cpu, cuda, cuda:N or mps.",
        ),
        click.option(
            "--rule",
            "rules",
            multiple=True,
            metavar="'GLOB: STRATEGY ...'",
            help="Another strategy for the tensors that GLOB matches. Repeatable; the last match counts.",
        ),
        click.option(
            "-o",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="An option of the strategy, or rows=common|pad|ours. Repeatable.",
        ),
        click.option(
            "-s",
            "--strategy",
            default="",
            metavar="NAME",
            help="How to merge tensors; git theta strategies lists them.",
        ),
    ):
        function = option(function)
    return function
