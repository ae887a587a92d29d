"""`git theta diff`: show what changed, tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import click

from git_theta.diffs.change import METRICS, sorts

_PATHS = "git_theta.paths"
_COLUMNS = f"Which columns: {', '.join(METRICS)}."


class _AsGitDoes(click.Command):
    """Keeps apart what stands before and after `--`, which click does not tell."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            context.meta[_PATHS] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(context, args)


def _metrics(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    names = [name for words in value for name in words.split(",") if name]
    for name in names:
        if name not in METRICS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(METRICS)}")
    return tuple(dict.fromkeys(names))


def _plot(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in (".png", ".svg", ".html"):
        raise click.BadParameter(f"{value} does not end in .png, .svg or .html")
    return value


@click.command(cls=_AsGitDoes, options_metavar="[OPTION]...")
@click.argument("words", nargs=-1, metavar="[A [B]] [-- PATH...]")
@click.option("--cached", "--staged", is_flag=True, help="Compare the index with A, or with HEAD.")
@click.option("--no-index", is_flag=True, help="Compare two files, wherever they are.")
@click.option("--base", default="", metavar="REV", help="Compare what A and B changed since this revision.")
@click.option("--tensor", metavar="GLOB", help="Only tensors with names like this.")
@click.option("--stat", is_flag=True, help="One line a tensor, without reading values.")
@click.option("--json", is_flag=True, help="Print JSON (docs/diffing.md has the schema).")
@click.option("--sort", type=click.Choice(sorts()), help="What the rows are sorted by.")
@click.option("--top", type=click.IntRange(0), metavar="N", help="How many rows to show.")
@click.option("--all", "everything", is_flag=True, help="Show all rows.")
@click.option("--metric", "metrics", multiple=True, callback=_metrics, metavar="NAME", help=_COLUMNS)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    callback=_plot,
    metavar="FILE",
    help="Draw it, too: a heat map and a histogram, as FILE.png, .svg or .html.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences, with 2 on trouble.")
@click.pass_context
def command(context: click.Context, /, **options: object) -> int:
    """Without A, compares the work tree with the index; with A, with that revision; with A and B (or A..B, or
    A...B), these two. A and B can also be files: REV:PATH, or REV:PATH and a file of the work tree, of any
    format. Of a path that has a conflict, shows what both sides of the merge changed.

    \b
    Examples:
      git theta diff HEAD~1 HEAD
      git theta diff --base main~3 main feature -- model.safetensors
      git theta diff v1:model.pt v2:model.safetensors --tensor "*.attn.*" --all
      git theta diff --plot lora.html HEAD~1 HEAD -- model.safetensors
    """
    from git_theta.commands.diff import Options, run

    if options["plot"] is not None and (options["stat"] or options["base"]):
        raise click.UsageError("--plot goes neither with --stat nor with --base")
    for name in ("stat", "sort", "top", "metrics") if options["base"] else ():
        if options[name] not in (None, False, ()):
            raise click.UsageError(f"--{name.removesuffix('s')} does not go with --base")
    return run(Options(paths=context.meta.get(_PATHS), **options))  # type: ignore[arg-type]
