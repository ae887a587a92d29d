"""`git theta uninstall`: undo install."""

from __future__ import annotations

import click

from git_theta.cli.scope import SERVER, scope_options


@click.command
@scope_options
def command(scope: str) -> None:
    """Settings of your own stay as they are. In a repository, git-theta's hooks are removed, and the hooks
    that were there before come back. Stored objects stay. --server removes only what install --server wrote.

    \b
    Examples:
      git theta uninstall
      git theta uninstall --local
    """
    from git_theta.setup.install import uninstall, uninstall_on_server

    for line in uninstall_on_server() if scope == SERVER else uninstall(scope):
        click.echo(line)
