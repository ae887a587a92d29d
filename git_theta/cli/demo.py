"""`git theta demo`: show all of it on a small model, in a new folder."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("demo")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Makes a repository in DIR, versions a small model in it, and shows the commands and what they print.

    \b
    Example:
      git theta demo /tmp/demo
    """
    from git_theta.commands.demo import Demo

    Demo(folder, _show).run()


def _show(line: str) -> None:
    click.echo(line, color=False if os.environ.get("NO_COLOR") else None)
