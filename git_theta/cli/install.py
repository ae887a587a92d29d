"""`git theta install`: set up Git's filters, drivers and hooks."""

from __future__ import annotations

import click

from git_theta.cli.scope import SERVER, scope_options


@click.command
@scope_options
@click.option("-f", "--force", is_flag=True, help="Overwrite filter settings that git-theta did not write.")
def command(scope: str, force: bool) -> None:
    """It is safe to repeat. In a repository, its hooks are installed too; hooks that are there already go
    on running. git theta uninstall undoes everything.

    --server is for a repository that others push to, most often a bare one: its hook pre-receive refuses
    refs whose objects did not come along, whatever the clients run or skip. It writes no configuration.

    \b
    Examples:
      git theta install            for all your repositories
      git theta install --local    for this repository only
      sudo git theta install --system
      cd /srv/models.git && git theta install --server
    """
    from git_theta.cli.main import SUMMARIES
    from git_theta.setup.install import install, install_on_server

    if scope == SERVER and force:
        raise click.UsageError("--server writes no settings, so there is nothing to --force")
    for line in install_on_server() if scope == SERVER else install(scope, SUMMARIES.keys(), force):
        click.echo(line)
