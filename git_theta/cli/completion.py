"""`git theta completion`: print a shell's completion script."""

from __future__ import annotations

import click

# Git's own completion calls a function of this name for `git theta ...`; it must see `git-theta ...`.
_FOR_GIT = {
    "bash": """
_git_theta() {
    local COMP_WORDS=(git-theta "${COMP_WORDS[@]:2}") COMP_CWORD=$((COMP_CWORD - 1))
    _git_theta_completion git-theta
}
""",
    "zsh": """
_git-theta() {
    words=(git-theta "${words[@]:1}")
    _git_theta_completion
}
""",
    "fish": """
complete --no-files --command git --condition "__fish_git_using_command theta" --arguments \
"(env COMP_WORDS=(string replace -r '^git\\\\s+theta' git-theta -- (commandline -cp)) \
COMP_CWORD=(commandline -t) _GIT_THETA_COMPLETE=fish_complete git-theta | string replace -r '^[a-z]+,' '')"
""",
}


@click.command
@click.argument("shell", type=click.Choice(sorted(_FOR_GIT)))
def command(shell: str) -> None:
    """It completes both git theta and git-theta.

    \b
    Examples:
      git theta completion bash >> ~/.bashrc
      git theta completion zsh  >> ~/.zshrc
      git theta completion fish > ~/.config/fish/completions/git-theta.fish
    """
    from click.shell_completion import get_completion_class

    from git_theta.cli.main import cli

    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(cli, {}, "git-theta", "_GIT_THETA_COMPLETE").source() + _FOR_GIT[shell])
