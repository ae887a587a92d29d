"""`git theta filter-process`."""

from __future__ import annotations

import click


@click.command("filter-process")
def command() -> None:
    """Speaks the long-running filter protocol on standard input and output; see gitattributes(5)."""
    from git_theta.drivers.filter_process import main

    main()
