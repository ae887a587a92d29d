"""`git theta fetch`: bring missing objects from a remote."""

from __future__ import annotations

import click


@click.command
@click.argument("remote", default="")
@click.argument("refs", nargs=-1, metavar="[REF]...")
@click.option("-a", "--all", "everything", is_flag=True, help="All that any branch or tag reaches.")
def command(remote: str, refs: tuple[str, ...], everything: bool) -> None:
    """Without REF, those of HEAD and of what is staged. Without REMOTE, every remote is asked in turn.
    The work tree stays as it is: see git theta pull.

    \b
    Examples:
      git theta fetch
      git theta fetch origin v1.0 v2.0
      git theta fetch --all
    """
    from git_theta.commands.fetch import fetch
    from git_theta.git.repository import Repository

    fetch(Repository.here(), remote, refs, everything, click.echo)
