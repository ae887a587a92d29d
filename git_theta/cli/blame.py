"""`git theta blame`: show for each tensor which commit changed it last."""

from __future__ import annotations

import click


@click.command
@click.argument("path")
@click.argument("revision", default="HEAD", metavar="[REV]")
def command(path: str, revision: str) -> None:
    """For each tensor: the last commit that changed it, its author and date, and the relative norm of that
    change. Without REV, HEAD.

    \b
    Examples:
      git theta blame model.safetensors
      git theta blame model.safetensors v1.0
    """
    from git_theta.commands.blame import run

    run(path, revision)
