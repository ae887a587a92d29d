"""`git theta version`: show versions."""

from __future__ import annotations

import click

from git_theta.cli.boundary import versions


@click.command
def command() -> None:
    """Of git-theta, and of what it runs on: paste it into reports."""
    click.echo(versions())
