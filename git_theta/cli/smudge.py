"""`git theta smudge`: turn a manifest into its checkpoint."""

from __future__ import annotations

import click


@click.command("smudge")
@click.argument("path")
def command(path: str) -> None:
    """For tools that do not speak the filter protocol: a manifest on standard input becomes the checkpoint
    on standard output.

    PATH is the file's name in the repository.
    """
    from git_theta.drivers.single_shot import smudge

    smudge(path)
