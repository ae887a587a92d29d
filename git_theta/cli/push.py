"""`git theta push`: bring objects to a remote."""

from __future__ import annotations

import click


@click.command
@click.argument("remote", default="")
@click.argument("refs", nargs=-1, metavar="[REF]...")
@click.option("-a", "--all", "everything", is_flag=True, help="All that any branch or tag reaches.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be uploaded.")
def command(remote: str, refs: tuple[str, ...], everything: bool, dry_run: bool) -> None:
    """git push does this by itself, before it pushes refs. This brings only objects: for a remote to which
    refs were pushed without git-theta's hooks. Without REF, those of HEAD.

    \b
    Examples:
      git theta push origin main
      git theta push --all backup
    """
    from git_theta.commands.push import push
    from git_theta.git.repository import Repository

    push(Repository.here(), remote, refs, everything, dry_run, click.echo)
