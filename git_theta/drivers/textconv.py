"""`diff.theta.textconv`: one side of a difference as text, where Git does not run the diff driver.

That is `git log -p`, `git show`, `git blame`, the combined diff of a conflict, and most graphical tools. For
patches that are to be applied, Git asks for that text too, and must be given manifests instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from git_theta import manifest as manifests
from git_theta.diffs import textconv
from git_theta.drivers.patches import cleaned
from git_theta.drivers.purpose import wants_manifests_in_patch
from git_theta.errors import DamagedManifest, NewerManifest
from git_theta.filters import stand_ins
from git_theta.git import callers
from git_theta.git.callers import Caller
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.merging.unmerged import open_in_file
from git_theta.versions.checkpoint import from_file
from git_theta.versions.norms import norms


def run(file: Path) -> None:
    """Print a checkpoint, or a manifest, as text.

    A damaged manifest, or a newer one, is printed as it is; so is a text in place of a checkpoint.

    Raises:
        ThetaError: the file cannot be read.
    """
    repository = Repository.here_if_any()
    caller = callers.caller()
    if repository is not None and wants_manifests_in_patch(caller):
        sys.stdout.buffer.write(_as_in_git(repository, file, caller))
        sys.stdout.buffer.flush()
        return
    try:
        if stand_ins.of_file(file):
            raise DamagedManifest("it is none")
        checkpoint = from_file(repository, file, os.fspath(file))
    except DamagedManifest as error:
        if isinstance(error, NewerManifest):
            # What begins like this is known as text for people, so that clean leaves it alone.
            sys.stdout.buffer.write(f"{textconv.FIRST_LINE} {error.message}: {error.remedy}\n".encode())
        sys.stdout.buffer.write(file.read_bytes())
        return
    manifest = checkpoint.manifest
    if repository is not None and checkpoint.text is None:
        manifest = _as_recorded(repository, manifest)
    still_open = open_in_file(repository, file, manifest) if repository is not None else None
    text = textconv.render(manifest, norms(repository, checkpoint), still_open)
    checkpoint.close()
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
    sys.stdout.buffer.flush()


def _as_in_git(repository: Repository, file: Path, caller: Caller) -> bytes:
    """A side as Git has it: what it has put into a temporary file, or what it would store of a file."""
    with file.open("rb") as opened:
        if file.is_absolute() or manifests.is_manifest(opened.read(len(manifests.MAGIC))):
            return file.read_bytes()
    return cleaned(repository, file, os.fspath(file), caller)


def _as_recorded(repository: Repository, manifest: Manifest) -> Manifest:
    """A file's manifest with the storage that is known, so that its text is that of its manifest in Git."""
    found = {line.digest: repository.index.find(line.digest) for line in manifest.tensors}
    return manifest.with_storage({digest: lines[0][digest] for digest, lines in found.items() if lines})
