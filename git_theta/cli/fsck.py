"""`git theta fsck`: verify every object and manifest."""

from __future__ import annotations

import click

from git_theta.terminal.units import counted, human_size


@click.command
@click.option("--fast", is_flag=True, help="Compare objects with their names only; do not decode them.")
def command(fast: bool) -> int:
    """Looks at all that any branch, tag, stash, reflog or the index reaches: manifests are whole, objects are
    here and have the SHA-256 that names them, tensors decode to their digests. The exit code is 1 if anything
    is wrong. Objects that are not here, but on a remote, as in a new clone those of earlier versions, are
    only noted: git theta fetch --all brings them, to be verified as well.

    \b
    Examples:
      git theta fsck
      git theta fsck --fast
    """
    from git_theta.commands.fsck import fsck
    from git_theta.git.repository import Repository

    report = fsck(Repository.here(), fast)
    for problem in report.problems:
        click.echo(f"error: {problem.message}")
        if problem.remedy:
            click.echo(f"hint: {problem.remedy}")
    for note in report.notes:
        click.echo(f"note: {note}")
    size = human_size(sum(report.objects.values()))
    found = counted(len(report.problems), "problem") if report.problems else "all is well"
    checked = f"{counted(report.manifests, 'manifest')}, {counted(len(report.objects), 'object')} ({size})"
    click.echo(f"Checked {checked}: {found}.")
    return 1 if report.problems else 0
