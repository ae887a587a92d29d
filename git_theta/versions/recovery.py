"""Errors of smudge: which tensors are lost, and what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from git_theta.drivers.interrupted import Interrupted
from git_theta.errors import DamagedObject, MissingObject, ThetaError
from git_theta.manifest import Manifest, TensorLine
from git_theta.terminal.showing import fill, printable, word

_SHOWN = 3  # tensors named in a message


def missing(manifest: Manifest, lacking: Sequence[str], reasons: Mapping[str, str]) -> MissingObject:
    """The error for objects that are not to be had."""
    return MissingObject(
        f"{len(lacking)} objects are missing ({reasons[lacking[0]]}), the first is {lacking[0]}; "
        f"tensors that need them: {needing(manifest, lacking)}",
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
    held = {digest for digest, line in manifest.storage.items() if line.oid in oids}
    lost = set(held)
    while more := {d for d, line in manifest.storage.items() if set(line.bases) & lost} - lost:
        lost |= more
    names = [
        line.name if line.digest in held else f"{line.name} (as a base of its {_update(manifest, line)})"
        for line in manifest.tensors
        if line.digest in lost
    ] or ["the skeleton"]
    return ", ".join(map(printable, names[:_SHOWN])) + (
        f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    )


def _update(manifest: Manifest, line: TensorLine) -> str:
    return manifest.storage[line.digest].update


def named(pathname: str, error: ThetaError) -> ThetaError:
    """The same error, with the file's name in the message and, as a shell wants it, in the remedy.

    Some tools do not tell the name: then it is empty.
    """
    if not pathname:
        return error
    if not error.message.startswith(f"{printable(pathname)}: "):
        error.message = f"{printable(pathname)}: {error.message}"
    error.remedy = fill(error.remedy, pathname)
    return error


def advised(failures: Mapping[str, ThetaError], what: Interrupted) -> ThetaError:
    """One error for all files that could not be written, with the way back and the way on."""
    errors = [named(pathname, error) for pathname, error in failures.items()]
    mend = list(dict.fromkeys(error.remedy for error in errors if error.remedy))
    there = "" if mend else what.bring.in_other_clone
    on = "; ".join(filter(None, [*(mend or [what.fetch()]), *what.again()]))
    if not what.back:
        cloned = f"cd {word(str(Path.cwd()))}; " if what.command[:1] == ["clone"] else ""
        lines = [there, f"then type: {cloned}{on}"]
    else:
        back = "; ".join(what.back)
        files = " (and remove the new files that git status lists)" if what.leaves else ""
        lost = f"to go back (uncommitted changes are lost){files}: {back}"
        lines = [lost, there, f"to try again then: {on}"]
    return ThetaError("\n".join(error.message for error in errors), "\n  ".join(filter(None, lines)))
