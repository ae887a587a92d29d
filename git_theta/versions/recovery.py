"""Errors of smudge: which tensors are lost, and what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from git_theta.errors import DamagedObject, MissingObject, ThetaError
from git_theta.manifest import Manifest, TensorLine
from git_theta.terminal.showing import fill, printable
from git_theta.terminal.units import counted, listed

_SHOWN = 3  # tensors named in a message


def missing(manifest: Manifest, lacking: Sequence[str], reasons: Mapping[str, str]) -> MissingObject:
    """The error for objects that are not to be had."""
    return MissingObject(
        f"{counted(len(lacking), 'object is', 'objects are')} missing ({reasons[lacking[0]]}), "
        f"the first is {lacking[0]}; tensors that need them: {needing(manifest, lacking)}",
        oids=tuple(lacking),
    )


def damaged(manifest: Manifest, errors: Sequence[ThetaError], oids: Sequence[str]) -> DamagedObject:
    """The error for objects that are here, but damaged."""
    return DamagedObject(
        "\n".join(
            [f"tensors that need damaged objects: {needing(manifest, oids)}", *(e.message for e in errors)]
        ),
        "; ".join(dict.fromkeys(error.remedy for error in errors)),
    )


def needing(manifest: Manifest, oids: Sequence[str]) -> str:
    """The names of the tensors that need these objects, and for which of them they are bases."""
    wanted = set(oids)
    held = {digest for digest, line in manifest.storage.items() if line.oid in wanted}
    lost = set(held)
    while more := {d for d, line in manifest.storage.items() if set(line.bases) & lost} - lost:
        lost |= more
    names = [
        line.name if line.digest in held else f"{line.name} (as a base of its {_update(manifest, line)})"
        for line in manifest.tensors
        if line.digest in lost
    ] or ["the skeleton"]
    return listed(names, _SHOWN)


def _update(manifest: Manifest, line: TensorLine) -> str:
    return manifest.storage[line.digest].update


def named(pathname: str, error: ThetaError) -> ThetaError:
    """Put a file's name into an error: into the message, and quoted into the remedy.

    Some tools do not tell the name: then it is empty.
    """
    if not pathname:
        return error
    if not error.message.startswith(f"{printable(pathname)}: "):
        error.message = f"{printable(pathname)}: {error.message}"
    error.remedy = fill(error.remedy, pathname)
    return error
