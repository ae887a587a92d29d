"""`git theta doctor`: find what is not set up right, and say what to type."""

from __future__ import annotations

import json

import click

from git_theta.cli.console import style

_COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command
@click.option("--deep", is_flag=True, help="Verify all data here, and that remotes have those of their refs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of level, text and remedy.")
def command(deep: bool, as_json: bool) -> int:
    """Looks at versions, configuration, hooks, remotes, attributes, and at files that are not stored as they
    should be. With --deep, also at every byte of every version, as git theta fsck does, and at what each
    remote has. The exit code is 1 if anything is wrong.

    \b
    Examples:
      git theta doctor
      git theta doctor --deep
    """
    from git_theta.cli.main import SUMMARIES
    from git_theta.commands.doctor import examine

    found = list(examine(list(SUMMARIES)))
    if deep:
        from git_theta.commands.deep_check import examine_data
        from git_theta.git.repository import Repository

        found += examine_data(Repository.here())
    if as_json:
        click.echo(json.dumps([finding.record() for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(
                f"{style(finding.level.ljust(5), _COLOURS[finding.level])}  {finding.text}", color=True
            )
            if finding.remedy:
                click.echo(f"       {style('type:', 'cyan')} {finding.remedy}", color=True)
    return 1 if any(finding.level == "wrong" for finding in found) else 0
