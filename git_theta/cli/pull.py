"""`git theta pull`: fetch, and write checkpoints whose objects were missing."""

from __future__ import annotations

import click


@click.command
@click.argument("remote", default="")
def command(remote: str) -> None:
    """Brings the objects of HEAD, then writes the checkpoints that the work tree has as manifests only,
    because objects were missing or GIT_THETA_SKIP_SMUDGE was set.

    \b
    Example:
      GIT_THETA_SKIP_SMUDGE=1 git clone URL folder && cd folder && git theta pull
    """
    from git_theta.commands.pull import pull
    from git_theta.git.repository import Repository

    pull(Repository.here(), remote, click.echo)
