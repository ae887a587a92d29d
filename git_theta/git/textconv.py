"""`diff.theta.textconv`: one side of a difference as text, where Git does not run the diff driver.

That is `git log -p`, `git show`, `git blame`, the combined diff of a conflict, and most graphical tools.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from git_theta.diffs import textconv
from git_theta.errors import DamagedManifest, ThetaError
from git_theta.filters import stand_ins
from git_theta.git.checkpoint import from_file
from git_theta.git.norms import norms
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest


def run(file: Path) -> None:
    """Print a checkpoint, or a manifest, as text.

    A damaged manifest is printed as it is, and so is a text that stands in place of a checkpoint.

    Raises:
        ThetaError: the file cannot be read.
    """
    repository: Repository | None = None
    with suppress(ThetaError):
        repository = Repository.here()
    try:
        if stand_ins.of_file(file):
            raise DamagedManifest("it is none")
        checkpoint = from_file(repository, file, os.fspath(file))
    except DamagedManifest:
        sys.stdout.buffer.write(file.read_bytes())
        return
    manifest = checkpoint.manifest
    if repository is not None and checkpoint.text is None:
        manifest = _as_recorded(repository, manifest)
    text = textconv.render(manifest, norms(repository, checkpoint))
    checkpoint.close()
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
    sys.stdout.buffer.flush()


def _as_recorded(repository: Repository, manifest: Manifest) -> Manifest:
    """A file's manifest with the storage that is known, so that its text is that of its manifest in Git."""
    found = {line.digest: repository.index.find(line.digest) for line in manifest.tensors}
    return manifest.with_storage({digest: lines[0][digest] for digest, lines in found.items() if lines})
