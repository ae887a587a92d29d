"""The `git theta` command: a table of commands, each in a module that is imported only when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc

import click

from git_theta import __version__

COMMANDS: dict[str, dict[str, str]] = {
    "Set up": {
        "install": "Set up Git's filters, drivers and hooks.",
        "uninstall": "Undo install.",
        "track": "Let git-theta store the files that match a pattern.",
        "untrack": "Undo track.",
        "doctor": "Find what is not set up right, and say what to type.",
    },
    "Look": {
        "status": "Show what is tracked, and which tensors changed.",
        "diff": "Show what changed, tensor by tensor.",
        "show": "Show a checkpoint's tensors, or one of them.",
        "log": "Show which commits changed a checkpoint, and how far.",
        "blame": "Show for each tensor which commit changed it last.",
        "ls-files": "List checkpoints and their tensors.",
        "du": "Count what is stored, by commit, path and update kind.",
        "fsck": "Verify every object and manifest.",
    },
    "Merge": {
        "merge": "Merge branches, two or more at once.",
        "strategies": "List the strategies of merges, or explain one.",
        "mergetool": "Go through the tensors that a merge has left open, and ask.",
        "resolve": "Merge the tensors that a merge has left open.",
        "checkout": "Take out one side of a conflict.",
    },
    "Exchange": {
        "fetch": "Bring missing objects from a remote.",
        "pull": "Fetch, and write checkpoints whose objects were missing.",
        "push": "Bring objects to a remote.",
    },
    "More": {
        "add": "Stage a checkpoint with an update that is at hand, such as a LoRA adapter.",
        "repack": "Find better updates for what was not pushed yet.",
        "demo": "Show all of it on a small model, in a new folder.",
        "completion": "Print a shell's completion script.",
        "version": "Show versions.",
    },
}
"""By section of the help: command names and what they do. Command `x-y` is `command` of module cli.x_y."""

CALLED_BY_GIT = {
    "filter-process": "Clean and smudge for git: the long-running protocol.",
    "clean": "Turn a checkpoint into its manifest.",
    "smudge": "Turn a manifest into its checkpoint.",
    "hook": "Run one of Git's hooks.",
    "diff-driver": "Show one file's difference.",
    "textconv": "Print a checkpoint as text.",
    "merge-driver": "Merge one file.",
}


SUMMARIES = {name: text for section in COMMANDS.values() for name, text in section.items()} | CALLED_BY_GIT


class Commands(click.Group):
    """The commands of the tables above."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(SUMMARIES.keys() - CALLED_BY_GIT.keys())

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in SUMMARIES:
            return None
        module = import_module(f"git_theta.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        command.help = f"{SUMMARIES[name]}\n\n{cleandoc(command.help or '')}".rstrip()
        return command

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but git makes `man git-theta` of the `git theta --help` that click points to."""
        name = arguments[0]
        known = name in SUMMARIES or name.startswith("-") or self.get_command(context, name) is not None
        if not known:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(context), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"git theta has no command {name!r}{meant} (git theta -h lists them)")
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()), col_max=14)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="git-theta %(version)s")
def cli() -> None:
    """Version model checkpoints with Git, tensor by tensor.

    Go on typing git add, commit, checkout, diff, merge, push and clone. These are the commands beside
    them; git theta COMMAND --help explains each.

    \b
    First steps:
      git theta install                 once per machine
      git theta track "*.safetensors"   once per repository
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return the exit code. What is wrong with its arguments has then been said."""
    try:
        result = cli.main(
            args=list(arguments),
            prog_name="git theta",
            complete_var="_GIT_THETA_COMPLETE",
            standalone_mode=False,
        )
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0
