"""`git theta merge`: merge branches, two or more at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import click

from git_theta.cli.merge_options import merge_options

if TYPE_CHECKING:
    from git_theta.merges.rule_sources import Layer


@click.command
@click.argument("revisions", nargs=-1, metavar="[REV]...")
@click.option(
    "-X",
    "--strategy-option",
    "favoured",
    type=click.Choice(["ours", "theirs"]),
    default=None,
    help="The side to take where both have changed something, in all files, as git merge does.",
)
@click.option("--rename", "renames", multiple=True, metavar="'OLD -> NEW'", help="Tensors one side renamed.")
@click.option("-n", "--dry-run", is_flag=True, help="Only print the plan, and how far the sides disagree.")
@click.option("--ff", "ff", flag_value="allow", help="Fast-forward where possible; never past a strategy.")
@click.option("--no-ff", "ff", flag_value="no", help="Make a merge commit in any case.")
@click.option("--ff-only", "ff", flag_value="only", help="Fast-forward, or refuse.")
@click.option("--base", default="", metavar="REV", help="What the sides are compared with.")
@click.option(
    "--allow-unrelated-histories",
    "unrelated",
    is_flag=True,
    help="Merge without a common ancestor where there is none.",
)
@click.option("--no-commit", is_flag=True, help="Stop before committing, as git merge --no-commit.")
@click.option("-m", "--message", default="", metavar="MSG", help="Of the commit.")
@click.option("--abort", is_flag=True, help="Undo a merge that is not committed yet.")
@click.option("--redo", metavar="COMMIT", help="Repeat a recorded merge; exit code 1 if it gives another.")
@merge_options
@click.pass_context
def command(
    context: click.Context,
    revisions: tuple[str, ...],
    strategy: str,
    options: tuple[str, ...],
    rules: tuple[str, ...],
    renames: tuple[str, ...],
    device: str,
    favoured: Literal["ours", "theirs"] | None,
    dry_run: bool,
    ff: Literal["allow", "no", "only"] | None,
    base: str,
    unrelated: bool,
    no_commit: bool,
    message: str,
    abort: bool,
    redo: str | None,
) -> int:
    """Merges one or more branches into the current one. Checkpoints are merged tensor by tensor, all
    versions at once; other files as git merge does it. Where anything is left to decide, nothing is changed.
    The commit's message says how tensors were merged.

    --redo computes on the device that the commit names, unless --device says another.

    \b
    Examples:
      git theta merge medicine --strategy average
      git theta merge medicine law --strategy ties -o density=0.3 --rule 'lm_head.*: ours'
      git theta merge --dry-run medicine
      git theta merge --redo HEAD
    """
    from git_theta.commands import merge
    from git_theta.git.repository import Repository
    from git_theta.merging.move import abort as abort_merge

    if bool(revisions) + abort + (redo is not None) != 1:
        raise click.UsageError("give revisions to merge, or --abort, or --redo COMMIT", context)
    if favoured and strategy:
        raise click.UsageError("-X goes with no --strategy: it is one for all that both changed", context)
    if ff == "only" and (strategy or rules):
        raise click.UsageError("--ff-only goes with no strategy: it merges nothing", context)
    if ff == "only" and base:
        raise click.UsageError("--ff-only goes with no --base: it compares nothing", context)
    of_a_merge = (
        ff,
        base,
        unrelated,
        favoured,
        strategy,
        options,
        rules,
        renames,
        dry_run,
        no_commit,
        message,
    )
    if not revisions and any(of_a_merge):
        raise click.UsageError(f"{'--abort' if abort else '--redo'} goes with no option of a merge", context)
    repository = Repository.here()
    try:
        if abort:
            abort_merge(repository)
            return 0
        if redo is not None:
            from git_theta.commands import merge_redo

            return merge_redo.redo(repository, redo, device, click.echo)
        request = merge.Request(
            revisions,
            _typed(favoured, strategy, options, rules, renames),
            device,
            message,
            commit=not no_commit,
            favoured=favoured or "",
            ff=ff,
            base=base,
            unrelated=unrelated,
        )
        run = merge.dry_run if dry_run else merge.merge
        return run(repository, request, click.echo)
    finally:
        repository.close()


def _typed(
    favoured: str | None,
    strategy: str,
    options: tuple[str, ...],
    rules: tuple[str, ...],
    renames: tuple[str, ...],
) -> Layer:
    from git_theta.merges import rule_sources

    layer = rule_sources.command_line(favoured or strategy, options, rules, renames)
    return replace(layer, one_sided="take") if favoured else layer
