"""`git theta filter-process`: clean and smudge for git: the long-running protocol."""

from __future__ import annotations

import click


@click.command("filter-process")
def command() -> None:
    """Speaks the long-running filter protocol on standard input and output; see gitattributes(5)."""
    from git_theta.drivers.filter_process import main

    main()
