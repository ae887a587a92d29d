"""`git theta checkout`: take out one side of a conflict."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import click


@click.command
@click.argument("path")
@click.option("--theirs", "side", flag_value="theirs", help="The version that is being merged.")
@click.option("--ours", "side", flag_value="ours", help="The version of HEAD.")
@click.option("--base", "side", flag_value="base", help="The common ancestor's version.")
@click.option(
    "--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write it there, not to PATH."
)
def command(path: str, side: str | None, target: Path | None) -> None:
    """The conflict stays: to end it, type git theta resolve. A manifest with conflict markers, as a Git
    without git-theta leaves it and people commit it, counts as a conflict as well.

    \b
    Examples:
      git theta checkout --theirs --to theirs.safetensors model.safetensors
      git theta checkout --base model.safetensors
    """
    if side is None:
        raise click.UsageError("say which side: --base, --ours or --theirs")
    from git_theta.git.repository import Repository
    from git_theta.merging.conflict_sides import take_out
    from git_theta.terminal.showing import printable

    written = take_out(Repository.here(), path, cast(Literal["base", "ours", "theirs"], side), target)
    click.echo(f"Wrote {printable(str(written))}.")
