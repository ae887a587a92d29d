"""`git theta clean`: turn a checkpoint into its manifest."""

from __future__ import annotations

import click


@click.command("clean")
@click.argument("path")
def command(path: str) -> None:
    """For tools that do not speak the filter protocol: a checkpoint on standard input becomes its manifest
    on standard output.

    PATH is the file's name in the repository.
    """
    from git_theta.drivers.single_shot import clean

    clean(path)
