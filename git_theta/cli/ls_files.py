"""`git theta ls-files`: list checkpoints and their tensors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from git_theta.terminal.showing import printable
from git_theta.terminal.units import align, counted, human_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_theta.git.repository import Repository
    from git_theta.versions.listing import Listed, ListedTensor


@click.command
@click.argument("revision", default="")
@click.option("-l", "--long", "long", is_flag=True, help="One row for each tensor.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list with an entry for each checkpoint.")
def command(revision: str, long: bool, as_json: bool) -> None:
    """Without REVISION, lists what is in the index. STORED counts all objects that a checkout needs; they
    can be shared with other checkpoints and versions. With --long, STORED is what the tensor alone takes, and
    CHAIN how many updates lie between it and dense data.

    Keys of --json: path, blob, format, size, stored_bytes, root, tensors (their number; with --long a list of
    name, status, dtype, shape, size, digest, update, stored_bytes, chain). Sizes are in bytes. A damaged
    manifest has path, blob and problem.

    \b
    Examples:
      git theta ls-files
      git theta ls-files v1.0 --long
      git theta ls-files --json | jq '.[].stored_bytes'
    """
    from git_theta.git.repository import Repository
    from git_theta.versions import listing

    repository = Repository.here()
    found = list(listing.checkpoints(repository, revision))
    if as_json:
        records = [entry.record() for entry in found]
        for entry, record in zip(found, records, strict=True):
            if long and entry.manifest:
                record["tensors"] = [t.record() for t in _listed(repository, entry, revision)]
        lines = [json.dumps(records, indent=2)]
    elif long:
        lines = [line for entry in found for line in _tensors(repository, entry, revision)]
    else:
        lines = _checkpoints(found)
    for line in lines:
        click.echo(line)


def _checkpoints(found: list[Listed]) -> list[str]:
    rows = [("PATH", "FORMAT", "TENSORS", "SIZE", "STORED")] if found else []
    for entry in found:
        if entry.manifest is None:
            rows.append((printable(entry.path), entry.trouble, "", "", ""))
        else:
            manifest, stored = entry.manifest, human_size(entry.stored)
            rows.append(
                (printable(entry.path), manifest.format, str(entry.count), human_size(manifest.size), stored)
            )
    return align(rows, right=(2, 3, 4))


def _listed(repository: Repository, entry: Listed, revision: str) -> Iterator[ListedTensor]:
    from git_theta.versions.listing import tensors, version_before

    assert entry.manifest is not None
    return tensors(repository, entry.manifest, version_before(repository, entry.path, revision))


def _tensors(repository: Repository, entry: Listed, revision: str) -> list[str]:
    from git_theta.versions.listing import table

    if entry.manifest is None:
        return [f"{printable(entry.path)} ({entry.trouble})"]
    size = human_size(entry.manifest.size)
    path, stored = printable(entry.path), human_size(entry.stored)
    head = f"{path} ({entry.manifest.format}, {counted(entry.count, 'tensor')}, {size}, stored {stored})"
    return [head, *table(_listed(repository, entry, revision))]
