"""`git theta mergetool`: go through the tensors that a merge has left open, and ask."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

import click


@click.command
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--answers", type=click.File(), help="Read answers from a file, a line each; # starts a comment."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
def command(paths: tuple[str, ...], answers: TextIO | None, device: str) -> int:
    """Goes through the tensors that a merge has left open, layer by layer, with the norms of both changes
    and their cosine, and asks what to do with each. Then it does what git theta resolve does. The exit code
    is 1 while something is open.

    Answers: ours, theirs, base, a strategy with options, or skip; after an @, for which tensors: @layer,
    @all, @GLOB, @"NAME". `done` ends the questions, `quit` changes nothing, `?` explains.

    \b
    Examples:
      git theta mergetool
      printf 'ours @lm_head.*\\nties density=0.3 @all\\n' | git theta mergetool --answers -
    """
    from git_theta.commands.mergetool import run
    from git_theta.errors import ThetaError
    from git_theta.git.repository import Repository

    if answers is None and not sys.stdin.isatty():
        raise ThetaError(
            "there is no terminal to ask in", "git theta mergetool --answers FILE, or git theta resolve"
        )
    ask = _typed if answers is None else _from(answers)
    repository = Repository.here()
    try:
        return 0 if run(repository, paths, ask, click.echo, patient=answers is None, device=device) else 1
    finally:
        repository.close()


def _typed(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None


def _from(answers: TextIO) -> Callable[[str], str | None]:
    lines = (line.strip() for line in answers)
    meant = (line for line in lines if line and not line.startswith("#"))
    return lambda prompt: next(meant, None)
