"""`git theta add`: stage a checkpoint with an update that is at hand, such as a LoRA adapter."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--update", default="", metavar="KIND", help="Update kind to prefer: low-rank, scale, delta, ..."
)
@click.option(
    "--update-data",
    "adapter",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the update: an adapter as peft saves it, TENSOR/R and TENSOR/C, (IA)³, sparse values.",
)
@click.option(
    "--scale",
    type=float,
    metavar="W",
    help="The update was, or with --apply is to be, applied W times: base + W (updated - base).",
)
@click.option("--apply", is_flag=True, help="PATH is still the base: write base + update to it first.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(
    path: Path,
    update: str,
    adapter: Path | None,
    scale: float | None,
    apply: bool,
    options: tuple[str, ...],
) -> int:
    """Stages PATH as git add does, with an update that is known. What is stored is exact in any case: an
    adapter only guides the prediction, and is left aside where it does not help. Without an adapter and
    a kind this is git add. OPTIONS go to git add.

    Beside adapter_model.safetensors, peft's adapter_config.json is read for lora_alpha, r, their patterns,
    use_rslora and use_dora.

    \b
    Examples:
      git theta add model.safetensors --update-data adapter_model.safetensors
      git theta add model.safetensors --update low-rank --update-data adapter_model.safetensors --apply
    """
    from contextlib import closing
    from math import isfinite

    from git_theta.errors import ThetaError
    from git_theta.git.repository import Repository

    repository = Repository.here()
    command = ["--literal-pathspecs", "add", *options, "--", str(path)]  # what it says is for the user
    if scale is not None and adapter is None:
        raise ThetaError("--scale needs --update-data", "git theta add --help")
    if scale is not None and not isfinite(scale):
        raise ThetaError(f"--scale is {scale}", "give a number, such as --scale 0.5")
    if adapter is not None or update:
        from git_theta.commands.add import Guided

        with closing(Guided(repository, path, update, adapter, 1.0 if scale is None else scale)) as guided:
            if apply:
                guided.apply()
            guided.store()
            code = repository.popen(command).wait()
            if not code:
                guided.staged()
            return code
    if apply:
        raise ThetaError("--apply needs --update-data", "git theta add --help")
    return repository.popen(command).wait()
