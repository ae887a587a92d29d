"""`git theta repack`: find better updates for what was not pushed yet."""

from __future__ import annotations

import sys

import click

from git_theta.terminal.units import counted, human_size, listed

_SHOWN = 5


@click.command
@click.argument("revisions", nargs=-1)
@click.option("--aggressive", is_flag=True, help="Try every earlier version and every update kind: slow.")
def command(revisions: tuple[str, ...], aggressive: bool) -> None:
    """Looks for better updates for tensors of commits that nobody else has, and rewrites those commits: same
    files, authors, dates and messages, other oids. What was pushed (also by url) stays as it is, and so do
    commits that a note, an annotated tag, the stash, another work tree or a superproject names.
    REVISIONS are as git rev-list takes them; HEAD unless given. Branches and tags are kept as they were
    under refs/original/theta/.

    \b
    Examples:
      git theta repack
      git theta repack --aggressive main feature
      git reset -q refs/original/theta/heads/main      (undo, on main)
    """
    from git_theta.commands.repack import repack
    from git_theta.git.repository import Repository
    from git_theta.terminal.showing import control

    terminal = sys.stderr.isatty()

    def progress(done: int, of: int) -> None:
        if terminal:
            control(sys.stderr, f"\rRepacking commits: {done}/{of}" + ("\n" if done == of else ""))
            sys.stderr.flush()

    found = repack(Repository.here(), revisions or ("HEAD",), aggressive, progress)
    if not found.tensors:
        click.echo("Nothing could be stored better.")
    else:
        saved = human_size(found.before - found.after)
        take = counted(found.tensors, "tensor takes", "tensors take")
        click.echo(f"{take} {saved} less ({human_size(found.before)} before).")
    for name, backup in found.moved:
        click.echo(f"{name} was rewritten; as it was: {backup}")
    if found.kept:
        reasons = f": {listed(found.reasons, _SHOWN)}" if found.reasons else ""
        stay = counted(found.kept, "commit stays as it is", "commits stay as they are")
        click.echo(f"{stay}, which others have or something names{reasons}.")
