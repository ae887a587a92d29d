"""`git theta show`: show a checkpoint's tensors, or one of them."""

from __future__ import annotations

import click


@click.command
@click.argument("checkpoint", metavar="[REV:]PATH")
@click.option("--tensor", metavar="NAME", help="Show this tensor: statistics, a histogram, its first values.")
def command(checkpoint: str, tensor: str | None) -> None:
    """Without REV, the file in the work tree. Of each tensor: norm, mean, standard deviation, least and
    largest value, and the share of zeros.

    \b
    Examples:
      git theta show model.safetensors
      git theta show HEAD~1:model.safetensors --tensor h.0.attn.q.weight
    """
    from git_theta.commands.show import run

    run(checkpoint, tensor)
