"""What must hold before a commit is made. All hooks that run before one is (see hooks) check this.

Only paths that differ from HEAD are looked at, and no stored data is read. A commit must not name data
that are nowhere: what is not here has to be on a remote that was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from git_theta import manifest as manifests
from git_theta.errors import DamagedManifest, NewerManifest, ThetaError
from git_theta.filters import stand_ins
from git_theta.git.attributes import FILES, filtered
from git_theta.git.blobs import Blob, in_index, sizes, staged_manifests
from git_theta.git.operation import how_to_finish
from git_theta.git.repository import Repository
from git_theta.manifest import VERSION, Manifest, version_of
from git_theta.merging import conflicts, half_merged
from git_theta.remotes.configured import SOMEWHERE, fetched_urls
from git_theta.remotes.fetching import fetch_missing, missing, on_remotes
from git_theta.terminal.showing import fill, pathspec, printable
from git_theta.terminal.units import and_more, counted, human_size
from git_theta.versions import misplaced
from git_theta.versions.changes import ChangedPath, regular_files
from git_theta.versions.misplaced import ADD_AGAIN
from git_theta.versions.recorded import beside_index

_SHOWN = 10


def check_commit(repository: Repository) -> None:
    """Check what is staged.

    Raises:
        ThetaError: it must not be committed; says why for each file.
    """
    problems = [problem for check in CHECKS for problem in check(repository)]
    if problems:
        said = [problem.message for problem in problems[:_SHOWN]] + and_more(len(problems) - _SHOWN)
        raise ThetaError("\n".join(said), _together(problems))


def _together(problems: Sequence[ThetaError]) -> str:
    """The commands that mend all problems; files that have to be added again share one command."""
    remedies = list(dict.fromkeys(problem.remedy for problem in problems if problem.remedy))
    paths = [remedy.removeprefix(ADD_AGAIN) for remedy in remedies if remedy.startswith(ADD_AGAIN)]
    others = [remedy for remedy in remedies if not remedy.startswith(ADD_AGAIN)]
    return "\n".join([*([ADD_AGAIN + " ".join(paths)] if paths else []), *others])


def staged(repository: Repository) -> list[ChangedPath]:
    """The regular files in the index that are not as in HEAD."""
    listed = repository.raw_changes("diff-index", "--cached", _base(repository))
    return [entry for entry in regular_files(listed) if entry.after]


def _base(repository: Repository) -> str:
    """What the index is compared with."""
    return repository.empty_tree() if repository.unborn else "HEAD"


def check_manifests(repository: Repository) -> list[ThetaError]:
    """Staged manifests are whole, say where their data lie, and the data are here; no checkpoint is raw."""
    blobs = sizes(repository, [(entry.after, entry.path) for entry in staged(repository)])
    found = list(staged_manifests(repository, blobs))
    checked = {blob: _check(repository, blob, text) for blob, text in found}
    problems = [problem for problem in checked.values() if problem]
    repository.index.record_whole(
        bytes.fromhex(blob.oid) for blob, text in found if not checked[blob] and version_of(text) <= VERSION
    )
    stored = {blob for blob, _ in found}
    others = {blob.path: blob for blob in blobs if blob not in stored}
    for path in sorted(filtered(repository, others, cached=True)):
        if problem := _check_raw(repository, others[path]):
            problems.append(problem)
    return problems


def check_attributes(repository: Repository) -> list[ThetaError]:
    """No manifest is staged where others would get it as it is: none that changes, or, if any attributes
    change, none at all.
    """
    blobs = sizes(repository, [(entry.after, entry.path) for entry in staged(repository)])
    changed = repository.git("diff-index", "--cached", "--name-only", _base(repository), "--", *FILES)
    if changed:
        blobs = in_index(repository, merged=True)
    found = (blob.path for blob, _ in staged_manifests(repository, blobs))
    return [
        misplaced.stray_error(repository, path, cached=True)
        for path in misplaced.strays(repository, found, cached=True)
    ]


def check_conflicts(repository: Repository) -> list[ThetaError]:
    """No checkpoint is staged as a merge has left it, with tensors that nobody has decided on."""
    left = conflicts.unsettled(repository)
    refusals = [conflicts.refusal(conflict, how_to_finish(repository)) for conflict in left]
    return refusals + conflicts.damaged(repository)


def _check(repository: Repository, blob: Blob, text: bytes) -> ThetaError | None:
    again = ADD_AGAIN + pathspec(blob.path)
    if kind := stand_ins.in_git(text):
        return misplaced.error(repository, blob.path, kind)
    try:
        manifest = manifests.parse(text)
    except NewerManifest:
        return None  # others have made it, and it is only carried along
    except DamagedManifest as error:
        return ThetaError(f"{printable(blob.path)}: {error.message}", fill(error.remedy, blob.path) or again)
    if not manifest.storage:
        return ThetaError(f"{printable(blob.path)}: its data have not been stored", again)
    lacking = _nowhere(repository, manifest)
    if lacking and not (at_hand := _is_at_hand(repository, blob.path, manifest.root)):
        for _, version in beside_index(repository, blob.path):
            lacking -= version.oids().keys()  # lost before: a commit that carries that on makes nothing worse
    if lacking:
        remedy = ADD_AGAIN + pathspec(blob.path) if at_hand else _without(repository, blob)
        return ThetaError(f"{printable(blob.path)}: {_lost(manifest, lacking)}", remedy)
    return None


def _nowhere(repository: Repository, manifest: Manifest) -> set[str]:
    """The objects of a manifest that are neither here nor on any remote.

    What only the url of the last fetch has is brought here, as no remote has it.

    What only the url of the last fetch has is brought here: no remote will have it later.
    """
    wanted = missing(repository, manifest.oids())
    if wanted:
        there = on_remotes(repository, wanted)
        wanted = {oid: size for oid, size in wanted.items() if oid not in there}
    return set(fetch_missing(repository, wanted, fetched_urls(repository)))


def _is_at_hand(repository: Repository, path: str, root: str) -> bool:
    """Whether the work tree has the file that is staged, not only its manifest.

    Git cannot tell: where objects are lost, clean gives the same file another manifest.
    """
    from git_theta.versions.checkpoint import from_file  # needs NumPy, and little is as rare as this

    file = repository.work_tree / path
    if file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as opened:
        if manifests.is_manifest(opened.read(len(manifests.MAGIC))):
            return False
    with closing(from_file(repository, file, path)) as found:
        return found.manifest.root == root


def _without(repository: Repository, blob: Blob) -> str:
    """The remedy where the data are lost here: fetch from another repository, or commit without the file."""
    leave = "git rm -q --cached" if repository.unborn else "git restore --staged"
    return f"git theta fetch {SOMEWHERE}\n  or leave it out: {leave} {pathspec(blob.path)}"


def _check_raw(repository: Repository, blob: Blob) -> ThetaError | None:
    """A blob that is no manifest, under a name that git-theta tracks."""
    path = pathspec(blob.path)
    for _, kind in misplaced.find(repository, [blob], cached=True):
        return misplaced.error(repository, blob.path, kind)
    if blob.size:
        return ThetaError(
            f"{printable(blob.path)}: staged as it is ({human_size(blob.size)}), though git-theta tracks it",
            ADD_AGAIN + path,
        )
    if beside_index(repository, blob.path):
        return ThetaError(
            f"{printable(blob.path)}: staged empty, where HEAD has a checkpoint",
            f"to bring it back: git restore --staged --worktree {path}\n"
            f"  to store it as it is: git -c theta.allowDamaged=true add --renormalize {path}",
        )
    return None


def _lost(manifest: Manifest, lacking: set[str]) -> str:
    names = [line.name for line in manifest.tensors if manifest.storage[line.digest].oid in lacking]
    first = f" (the first is of tensor {names[0]})" if names else ""
    of = f"{len(lacking)} of its {counted(len(manifest.oids()), 'object')}"
    return f"{of} {'is' if len(lacking) == 1 else 'are'} neither here nor on a remote{first}"


CHECKS: Sequence[Callable[[Repository], list[ThetaError]]] = (
    check_manifests,
    check_attributes,
    check_conflicts,
    half_merged.check,
)
"""Each looks at the index and returns what is wrong."""
