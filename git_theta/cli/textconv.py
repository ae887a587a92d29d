"""`git theta textconv`: print a checkpoint as text."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("textconv")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Prints a checkpoint as text, a line for each tensor, for Git to compare line by line.

    FILE is a checkpoint, or its manifest.
    """
    from git_theta.drivers.textconv import run

    run(file)
