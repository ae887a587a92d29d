"""`git theta log`: show which commits changed a checkpoint, and how far."""

from __future__ import annotations

import click


@click.command
@click.argument("path")
@click.option("--tensor", metavar="GLOB", help="Only commits that changed tensors with names like this.")
def command(path: str, tensor: str | None) -> None:
    """For each commit: tensors changed, relative norm of the change, bytes stored, update kinds. Renames of
    the file are followed.

    \b
    Examples:
      git theta log model.safetensors
      git theta log model.safetensors --tensor "*.attn.q.*"
    """
    from git_theta.commands.log import run

    run(path, tensor)
