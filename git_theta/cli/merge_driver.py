"""`git theta merge-driver`: merge one file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("theirs", type=click.Path(path_type=Path))
@click.argument("marker_size", type=int)
@click.argument("path")
def command(base: Path, ours: Path, theirs: Path, marker_size: int, path: str) -> int:
    """Merges a checkpoint. Git calls it where merge=theta is set (see `git help attributes`)."""
    from git_theta.drivers.merge_driver import Call, run

    return run(Call(base, ours, theirs, marker_size, path))
