"""`git theta hook`: run one of Git's hooks; the scripts in the hooks folder call it."""

from __future__ import annotations

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--script", default="", help="The script that git has started; a hook kept beside it runs first."
)
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(script: str, name: str, arguments: tuple[str, ...]) -> int:
    """To call it from a hook of your own, for example in .husky/pre-push:

    \b
      git theta hook pre-push "$@"
    """
    from git_theta.drivers import hooks

    if name not in hooks.NAMES:
        raise click.UsageError(f"git-theta has no hook {name!r}; it has {', '.join(hooks.NAMES)}")
    return hooks.run(name, script, arguments, lambda line: click.echo(line, err=True))
