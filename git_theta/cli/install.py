"""git theta install."""

from __future__ import annotations

import click

from git_theta.cli.scope import scope_options


@click.command
@scope_options
@click.option("-f", "--force", is_flag=True, help="Overwrite filter settings that git-theta did not write.")
def command(scope: str, force: bool) -> None:
    """It is safe to repeat. In a repository, its hooks are installed too; hooks that are there already go
    on running. git theta uninstall undoes everything.

    \b
    Examples:
      git theta install            for all your repositories
      git theta install --local    for this repository only
      sudo git theta install --system
    """
    from git_theta.cli.main import SUMMARIES
    from git_theta.git.install import install

    for line in install(scope, SUMMARIES.keys(), force):
        click.echo(line)
