"""A checkpoint as a stable text, for Git's own line diff: `diff.theta.textconv`.

The first line is FIRST_LINE, by which clean recognises such a text when Git hands it back (`git blame`
does). Then comes one line for each tensor, sorted by name, so that the unified diff of two such texts lists
exactly the tensors that changed, with their norms before and after.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from git_theta.checkpoints.registry import OPAQUE
from git_theta.diffs import text
from git_theta.diffs.entries import Entry, entries
from git_theta.manifest import TEXT_MAGIC, Manifest
from git_theta.terminal.units import human_size

FIRST_LINE = f"{TEXT_MAGIC.decode()}1"

_DIGITS = 12
_OPEN = "not merged"


def render(manifest: Manifest, norms: Mapping[str, float], still_open: Collection[str] | None = None) -> str:
    """The text: name, dtype, shape, norm, the first digits of the digest and the update kind.

    Args:
        norms: 2-norms of stored tensors by digest; those that are missing are shown as "-".
        still_open: for what a merge has left, the tensors that nobody has decided on; none where that is the
            file as a whole. They are marked, so that they differ from both sides in Git's combined diff.
    """
    head = f"{FIRST_LINE} {manifest.format}"
    if still_open is not None and not still_open:
        head += f"  {_OPEN}"
    if manifest.format == OPAQUE:
        lines = [f"{human_size(manifest.size)}  {manifest.root[:_DIGITS]}"]
    else:
        found = entries(manifest)
        by_name = {name: _line(entry, manifest, norms) for name, entry in found.items()}
        for name in still_open or ():
            by_name[name] = f"{by_name.get(name, text.printable(name))}  {_OPEN}"
        lines = [by_name[name] for name in sorted(by_name)]
        lines.append(f"(metadata)  {human_size(manifest.skeleton_size)}  {manifest.skeleton[:_DIGITS]}")
    return "".join(line + "\n" for line in [head, *lines])


def _line(entry: Entry, manifest: Manifest, norms: Mapping[str, float]) -> str:
    shape = f"[{', '.join(map(str, entry.shape))}]"
    digest = entry.line.digest
    parts = [text.printable(entry.name), entry.dtype.name, shape]
    if entry.of:
        parts += [
            f"part of {text.printable(entry.of)}" if entry.view else f"same as {text.printable(entry.of)}"
        ]
        return "  ".join(parts)
    norm = norms.get(digest) if entry.view is None else None
    parts += [f"norm {_norm(norm)}", digest[:_DIGITS]]
    storage = manifest.storage.get(digest)
    return "  ".join(parts + ([storage.update] if storage else []))


def _norm(value: float | None) -> str:
    """Six digits: fewer would hide what fine-tuning changes."""
    return "-" if value is None else f"{value:.6g}"
