"""What is known of merged files until they are committed: the message of the commit then says it.

The merge driver and `git theta resolve` write down what they have made a file of. The hook prepare-commit-msg
finds the files that are staged just like that, whatever commits them: a merge, a cherry-pick, a rebase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from git_theta import files
from git_theta.git import operation
from git_theta.git.repository import Repository
from git_theta.merging import conflicts
from git_theta.merging.conflicts import Conflict, Settings
from git_theta.merging.records import Records
from git_theta.terminal.showing import printable
from git_theta.versions.recorded import root_of


@dataclass(frozen=True)
class Merged:
    """A file that was merged, and not committed yet.

    Attributes:
        head: commit that HEAD is on until then.
        path: of the file, from the top of the work tree.
        root: of its manifest.
        settings: what was said about its merge.
        device: what was computed on, if that can matter; see narrowing.device_of.
        versions: oids of the blobs that were merged: base ("" for none), ours, theirs.
    """

    head: str
    path: str
    root: str
    settings: Settings
    device: str
    versions: tuple[str, str, str]


_records = Records("merged", Merged)


def note(repository: Repository, done: Conflict, root: str, device: str) -> None:
    """Write down that a file is merged.

    Args:
        done: its conflict, which is one no more, with all that was said about the merge.
        root: of the result.
    """
    versions = (done.base, done.ours, done.theirs)
    _records.write(repository, Merged(done.head, done.path, root, done.settings, device, versions))


def damaged(repository: Repository, paths: Callable[[], Iterable[str]]) -> list[str]:
    """A warning for each of these paths whose merge record is damaged, said once: the record is removed."""
    said = []
    for path, file in _records.damaged(repository, paths).items():
        files.remove(file)
        said.append(
            f"{printable(path)}: the record of its merge is damaged, "
            "so the commit does not say how it was merged"
        )
    return said


def root(repository: Repository, path: str) -> str | None:
    """The root of the manifest that a file was merged to since HEAD last moved; None if it was not."""
    found = _records.find(repository, path)
    return found.root if found is not None else None


def complete(repository: Repository, message: Path) -> None:
    """Add to the message of a commit how the files that it commits were merged."""
    found = [one for one in _records.everything(repository) if _is_staged(repository, one)]
    if not found:
        return
    from git_theta.merging import trailers  # knows all strategies; most commits are no merges
    from git_theta.merging.trailers import Recorded

    recorded = {
        one.path: Recorded(one.settings, () if _is_of_merge(repository, one) else one.versions)
        for one in found
    }
    devices = {one.device for one in found} - {""}
    text = message.read_text(errors="surrogateescape")
    lines = trailers.trailers(recorded, next(iter(devices - {"cpu"}), ""), base="")
    text = trailers.with_trailers(repository, trailers.without(text, recorded), lines)
    files.replace(message, text.encode(errors="surrogateescape"))


def _is_staged(repository: Repository, one: Merged) -> bool:
    entry = conflicts.staged(repository, one.path)
    return entry is not None and root_of(repository, entry.oid) == one.root


def _is_of_merge(repository: Repository, one: Merged) -> bool:
    """Whether a merge of two commits is what is being committed, and they have just these versions."""
    commits = "HEAD", *operation.merging(repository)
    return [repository.oid(f"{commit}:{one.path}") for commit in commits] == list(one.versions[1:])
