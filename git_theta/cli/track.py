"""`git theta track`: let git-theta store the files that match a pattern."""

from __future__ import annotations

from pathlib import Path

import click


@click.command
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be tracked.")
def command(patterns: tuple[str, ...], dry_run: bool) -> None:
    """Without patterns, lists those that are tracked. With patterns, adds them to .gitattributes in the
    current folder; commit that file. Put patterns in quotes, or the shell replaces them by today's files.

    \b
    Examples:
      git theta track "*.safetensors" "*.pt"
      git theta track "models/**"
      git theta track
    """
    from git_theta.commands import track
    from git_theta.git import attribute_files
    from git_theta.git.repository import Repository
    from git_theta.terminal.showing import printable

    repository = Repository.here()
    if not patterns:
        listed = attribute_files.tracked_patterns(repository)
        click.echo("Tracked patterns:" if listed else "No patterns are tracked yet.")
        for pattern, name in listed:
            click.echo(f"    {printable(pattern)} ({printable(name)})")
        return
    for line in track.track(repository, Path(), patterns, dry_run):
        click.echo(line)
