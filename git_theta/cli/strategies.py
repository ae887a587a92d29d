"""`git theta strategies`: list the strategies of merges, or explain one."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from git_theta.cli.console import style
from git_theta.terminal.units import align

if TYPE_CHECKING:
    from git_theta.merges.interface import Strategy


@click.command
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """Without NAME, lists all strategies; with one, shows its formula, its options with their defaults, and
    the paper. In formulas, θ is a model, τ = θ - base its task vector.

    \b
    Examples:
      git theta strategies
      git theta strategies ties
      git theta merge medicine --strategy ties -o density=0.3
    """
    from git_theta.merges import registry

    if name is None:
        _list()
    else:
        _show(registry.by_name(name))


def _list() -> None:
    from git_theta.merges import registry

    found = [strategy for name in registry.names() if (strategy := registry.usable(name))]
    for line in align([(strategy.name, strategy.summary) for strategy in found]):
        click.echo(line)


def _show(strategy: Strategy[Any]) -> None:
    from git_theta.merges.options import describe

    click.echo(style(strategy.name, "cyan"))
    _wrapped(strategy.summary)
    click.echo()
    rows = [("formula", strategy.formula), ("models", _models(strategy)), ("base", _BASE[strategy.base])]
    for label, text in [*rows, ("use", strategy.use), ("reference", strategy.reference)]:
        _wrapped(text, f"{label:<10} ")
    options = describe(strategy)
    click.echo("\nOptions (-o name=value):" if options else "\nIt has no options.")
    for option in options:
        default = f"default {option.default}" if option.default else "no default"
        click.echo(f"  {style(option.name, 'cyan')}  ({option.kind}; {default})")
        _wrapped(option.text, "      ")


def _models(strategy: Strategy[Any]) -> str:
    if strategy.most is None:
        return f"{strategy.least} or more"
    return str(strategy.least) if strategy.least == strategy.most else f"{strategy.least} to {strategy.most}"


def _wrapped(text: str, first: str = "") -> None:
    for line in text.splitlines():
        click.echo(textwrap.fill(line, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first)))
        first = " " * len(first)


_WIDTH = 100
_BASE = {
    "unused": "the common ancestor plays no part",
    "optional": "the common ancestor plays a part with some options",
    "required": "needs the common ancestor",
}
