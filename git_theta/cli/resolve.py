"""`git theta resolve`: merge the tensors that a merge has left open."""

from __future__ import annotations

import click

from git_theta.cli.merge_options import merge_options


@click.command
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--theirs", "side", flag_value="theirs", help="Take theirs for what is open.")
@click.option("--ours", "side", flag_value="ours", help="Take ours for what is open.")
@click.option("--base", "side", flag_value="base", help="Take the common ancestor's for what is open.")
@click.option(
    "--tensor",
    "tensors",
    multiple=True,
    metavar="GLOB",
    help="Only for the tensors that GLOB matches; the others stay open. Repeatable.",
)
@merge_options
def command(
    paths: tuple[str, ...],
    side: str | None,
    tensors: tuple[str, ...],
    strategy: str,
    options: tuple[str, ...],
    rules: tuple[str, ...],
    device: str,
) -> int:
    """Tensors that only one side has changed are merged already. What is typed here decides on the others.
    Once none is open, the file is staged; until then the command can be repeated, and the exit code is 1.
    Without an option, the configured strategies are tried again.

    To open a conflict again: git checkout -m PATH.

    \b
    Examples:
      git theta resolve model.safetensors --strategy average
      git theta resolve model.safetensors --tensor "lm_head.*" --ours
      git theta resolve model.safetensors --strategy ties -o density=0.3
      git theta resolve . --theirs
    """
    if side and strategy:
        raise click.UsageError(f"--{side} and --strategy exclude each other")
    from git_theta.commands.resolve import Wanted, resolve
    from git_theta.git.repository import Repository

    wanted = Wanted(side or strategy, options, tensors, rules, device)
    return 0 if resolve(Repository.here(), paths, wanted, click.echo) else 1
