"""`git theta diff-driver`: show one file's difference."""

from __future__ import annotations

import click


@click.command("diff-driver", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Shows what changed in a checkpoint. Git calls it where the attribute diff=theta is set."""
    from git_theta.drivers.diff_driver import run

    run(arguments)
