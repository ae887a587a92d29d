"""`git theta untrack`: undo track."""

from __future__ import annotations

from pathlib import Path

import click


@click.command
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would not be tracked any more.")
def command(patterns: tuple[str, ...], dry_run: bool) -> None:
    """Takes git-theta's attributes out of .gitattributes in the current folder. Files that match are stored
    whole by Git from the next git add on.

    \b
    Example:
      git theta untrack "*.pt"
    """
    from git_theta.commands import track
    from git_theta.git.repository import Repository

    for line in track.untrack(Repository.here(), Path(), patterns, dry_run):
        click.echo(line)
