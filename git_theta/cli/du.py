"""`git theta du`: count what is stored, by commit, path and update kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from git_theta.terminal.showing import printable
from git_theta.terminal.units import align, human_size, percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from git_theta.commands.du import Share


@click.command
@click.argument("revisions", nargs=-1)
@click.option(
    "--by",
    type=click.Choice(["commit", "path", "update"]),
    multiple=True,
    help="Show only these totals. Can be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: total, commits, paths, updates.")
def command(revisions: tuple[str, ...], by: tuple[str, ...], as_json: bool) -> None:
    """REVISIONS are as git log takes them; all branches and tags unless given. Each object counts once, for
    the commit (path, update kind) that needed it first. GIT-LFS is what git-lfs would store: every version
    whole. Of update kinds, only the data of tensors count, and only of objects that are here.

    \b
    Examples:
      git theta du
      git theta du --by commit main..feature
      git theta du --json | jq .total.stored_bytes
    """
    from git_theta.commands.du import usage
    from git_theta.git.repository import Repository

    repository = Repository.here()
    found = usage(
        repository,
        revisions or ("--branches", "--tags", "--remotes", *([] if repository.unborn else ["HEAD"])),
    )
    for path, problem in found.problems.items():
        click.echo(f"git-theta: {printable(path)} is not counted: {problem}", err=True)
    tables: dict[str, Iterable[Share]] = {
        "commit": found.commits,
        "path": found.paths.values(),
        "update": sorted(found.updates.values(), key=lambda share: -share.stored),
    }
    if as_json:
        record: dict[str, object] = {"total": found.total.record()}
        record |= {f"{name}s": [share.record() for share in shares] for name, shares in tables.items()}
        click.echo(json.dumps(record, indent=2))
        return
    for name in by or tables:
        for line in _table(name, [*tables[name], *([] if name == "update" else [found.total])]):
            click.echo(line)
        click.echo()


def _table(name: str, shares: list[Share]) -> list[str]:
    rows = [(name.upper(), "TENSORS" if name == "update" else "VERSIONS", "STORED", "GIT-LFS", "RATIO", "")]
    for share in shares:
        title = share.name[:10] if name == "commit" else share.name
        ratio = percent(share.stored, share.whole) if share.whole else ""
        sizes = human_size(share.stored), human_size(share.whole)
        rows.append((printable(title), str(share.count), *sizes, ratio, share.title[:50]))
    return align(rows, right=(1, 2, 3, 4))
