"""`git theta status`: show what is tracked, and which tensors changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from git_theta.cli.console import style
from git_theta.terminal.showing import printable
from git_theta.terminal.units import counted, listed

if TYPE_CHECKING:
    from git_theta.commands.status import Status, Unstaged
    from git_theta.merging.unmerged import Unmerged
    from git_theta.versions.changes import Cost

_SHOWN = 10  # names of open tensors


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> int:
    """Like git status, for tensors. The exit code is 0 if all is well, and 1 if git-theta is not set up here,
    hooks are missing, or objects are missing.

    Keys of --json: installed, hooks, patterns, staged, unstaged, unmerged (what is open by path; none where
    the whole file is open), untracked, missing_objects (number by path), manifests_in_work_tree, stand_ins
    (texts in place of checkpoints, by path).

    \b
    Example:
      git theta status
    """
    from git_theta.commands.status import status
    from git_theta.git.repository import Repository

    found = status(Repository.here())
    if as_json:
        click.echo(json.dumps(found.record(), indent=2))
    else:
        for line in _lines(found):
            click.echo(line, color=True)
    return 0 if found.well else 1


def _lines(status: Status) -> list[str]:
    lines = []
    if not status.installed:
        lines.append(style("git-theta is not set up: type git theta install", "red"))
    elif not status.hooks:
        lines += [style(status.hooks_problem, "red"), "  git theta install"]
    if not status.patterns:
        return [*lines, 'No patterns are tracked: git theta track "*.safetensors"']
    lines += [
        "Tracked patterns:",
        *(f"    {printable(pattern)} ({printable(name)})" for pattern, name in status.patterns),
    ]
    for title, colour, rows in (
        (
            "Changes to be committed:",
            "green",
            _rows(status.staged),
        ),
        (
            "Changes not staged for commit:",
            "red",
            _rows(status.unstaged),
        ),
        ("Not merged yet:", "red", [row for one in status.unmerged for row in _open(one)]),
        ("Untracked checkpoints:", "red", list(map(printable, status.untracked))),
        (
            "Manifests in place of checkpoints (git theta pull writes them):",
            "yellow",
            list(map(printable, status.manifests)),
        ),
        (
            "Objects missing here (git theta fetch brings them):",
            "red",
            [f"{printable(path)}: {counted(count, 'object')}" for path, count in status.missing.items()],
        ),
        (
            "No checkpoints, but committed in place of them:",
            "red",
            [f"{printable(path)}: {what}" for path, what in status.stand_ins.items()],
        ),
    ):
        if rows:
            lines += ["", title, *(f"    {style(row, colour)}" for row in rows)]
    if not (status.staged or status.unstaged or status.unmerged or status.untracked or status.missing):
        lines += ["", "No checkpoint has changed."]
    return lines


def _rows(changed: Iterable[Cost | Unstaged]) -> list[str]:
    return [f"{printable(one.path)}: {one.text()}" for one in changed]


def _open(one: Unmerged) -> list[str]:
    """What is open in a file, and what to type."""
    names = f": {listed(one.names, _SHOWN)}" if one.names else ""
    return [f"{printable(one.path)}: {one.what}{names}", f"    {one.remedy}"]
