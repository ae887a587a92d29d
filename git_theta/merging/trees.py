"""What Git makes of the files of several commits, without touching index or work tree: `git merge-tree`.

Checkpoints that more than one side changed are left to git-theta. For two sides Git says which three versions
belong together, across renames and criss-cross histories. More sides are merged one after the other, as Git's
octopus does; checkpoints go by their path then, and all versions of one are merged at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.git.favoured_side import Favoured
from git_theta.git.repository import Repository
from git_theta.git.version import git_version, numbers
from git_theta.merging import one_sided
from git_theta.merging.bases import FOR_ANCESTORS, common_ancestor, no_common_ancestor
from git_theta.merging.entries import Contested, Entry, Head, checkpoints, entries
from git_theta.terminal.showing import printable
from git_theta.versions.places import SUBMODULE, SYMLINK

_NEEDED = (2, 38)
_TAKES_SIDES = (2, 43)
_EVERY_CHECKPOINT_CONFLICTS = ("-c", "merge.theta.driver=false", *FOR_ANCESTORS)
_OURS_FOR_EVERY_CHECKPOINT = ("-c", "merge.theta.driver=true")


@dataclass(frozen=True)
class MergedTrees:
    """The result of `git merge-tree`: a tree, the checkpoints to merge, and conflicts in other files.

    Attributes:
        tree: the result; some side's version stands for each contested checkpoint.
        conflicts: what Git cannot merge, in lines.
        removed: checkpoints among these that one of two sides has changed, and the other removed.
    """

    tree: str
    contested: tuple[Contested, ...] = ()
    conflicts: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def merge_trees(
    repository: Repository,
    ours: Head,
    theirs: Sequence[Head],
    scratch: Path,
    favoured: Favoured = "",
    combines: Callable[[str], bool] = lambda path: False,
) -> MergedTrees:
    """Merge the files of commits.

    Args:
        scratch: an existing folder, for an index.
        favoured: the side that Git takes where both have changed something, if it can: from Git 2.43 on.
        combines: whether a checkpoint of this path is contested although some sides have not changed it.

    Raises:
        ThetaError: git is too old, there is no common ancestor, or git failed.
    """
    version = _checked_version()
    option = [f"-X{favoured}"] if favoured and version >= _TAKES_SIDES else []
    if len(theirs) == 1:
        merged = _two(repository, ours, theirs[0], option)
        known = {one.path for one in merged.contested}
        further = one_sided.find(repository, ours, theirs[0], merged.tree)
        more = [one for one in further if one.path not in known and combines(one.path)]
        return replace(merged, contested=tuple(sorted((*merged.contested, *more), key=lambda one: one.path)))
    return _several(repository, ours, theirs, scratch, option, combines)


def with_blobs(repository: Repository, tree: str, blobs: Mapping[str, Entry | None], scratch: Path) -> str:
    """A tree with other files at some paths; None removes one. Arguments are those of `merge_trees`."""
    if not blobs:
        return tree
    apart = repository.with_environment({"GIT_INDEX_FILE": str(scratch.absolute() / "index")})
    apart.git("read-tree", tree)
    gone = "0", "0" * len(tree)
    apart.update_index((*(entry or gone), path) for path, entry in blobs.items())
    return apart.git("write-tree").decode().strip()


def _two(repository: Repository, ours: Head, theirs: Head, option: Sequence[str]) -> MergedTrees:
    done = _merge_tree(repository, _EVERY_CHECKPOINT_CONFLICTS, ours, theirs, option)
    mine = checkpoints(repository, done.stages)
    modes = entries(repository, done.tree, mine)
    contested, others = [], {path: stages for path, stages in done.stages.items() if path not in mine}
    for path in sorted(mine):
        stages = done.stages[path]
        regular = all(mode not in (SYMLINK, SUBMODULE) for mode, _ in stages.values())
        if regular and {2, 3} <= stages.keys() and path in modes:
            versions = (ours.name, stages[2][1]), (theirs.name, stages[3][1])
            contested.append(Contested(path, modes[path][0], stages.get(1, ("", ""))[1], versions))
        else:
            others[path] = stages
    removed = tuple(path for path in sorted(mine) if not {2, 3} <= done.stages[path].keys())
    return MergedTrees(done.tree, tuple(contested), tuple(done.explained(others)), removed)


def _several(
    repository: Repository,
    ours: Head,
    theirs: Sequence[Head],
    scratch: Path,
    option: Sequence[str],
    combines: Callable[[str], bool],
) -> MergedTrees:
    base = common_ancestor(repository, [ours, *theirs])
    merged = ours
    conflicts: list[str] = []
    for head in theirs:
        done = _merge_tree(repository, _OURS_FOR_EVERY_CHECKPOINT, merged, head, option)
        mine = checkpoints(repository, done.stages)
        conflicts += done.explained({path: one for path, one in done.stages.items() if path not in mine})
        parents = ["-p", merged.commit, "-p", head.commit]
        commit = repository.git("commit-tree", *parents, "-m", "files of several heads", done.tree)
        merged = Head(f"{merged.name} with {head.name}", commit.decode().strip())
    contested, settled = [], {}
    for path, versions in _changed_checkpoints(repository, base, [ours, *theirs]).items():
        found = _settle(path, versions, [ours, *theirs], combines)
        if isinstance(found, Contested):
            contested.append(found)
        elif isinstance(found, str):
            conflicts.append(found)
        else:
            settled[path] = found[0]
    tree = repository.tree_of(merged.commit)
    # A contested one may have been removed, or moved, by the merges of two sides each.
    settled |= {one.path: (one.mode, one.versions[0][1]) for one in contested}
    return MergedTrees(
        with_blobs(repository, tree, settled, scratch), tuple(contested), tuple(dict.fromkeys(conflicts))
    )


def _settle(
    path: str,
    entries: Sequence[Entry | None],
    heads: Sequence[Head],
    combines: Callable[[str], bool],
) -> Contested | str | tuple[Entry | None]:
    """What becomes of a path: to be merged, a conflict in words, or (the entry that Git would take,)."""
    base, *sides = entries
    changed = [entry for entry in sides if entry != base]
    one_sided = len(changed) < len(sides) and None not in entries
    if len(set(changed)) == 1 and not (one_sided and combines(path)):
        return (changed[0],)
    if None in changed:
        removed = ", ".join(head.name for head, entry in zip(heads, sides, strict=True) if entry is None)
        return f"CONFLICT: {printable(path)}: removed by {removed}, changed by others"
    found = [(head.name, entry) for head, entry in zip(heads, sides, strict=True) if entry is not None]
    if any(mode in (SYMLINK, SUBMODULE) for _, (mode, _) in found):
        return f"CONFLICT: {printable(path)}: not a regular file on every side"
    mode = next((entry[0] for _, entry in found if base and entry[0] != base[0]), found[0][1][0])
    versions = tuple((name, oid) for name, (_, oid) in found)
    if len({oid for _, oid in versions}) == 1:
        return ((mode, versions[0][1]),)
    return Contested(path, mode, base[1] if base else "", versions)


@dataclass
class _Done:
    """The parsed output of git merge-tree: the tree, conflicting versions by stage, messages."""

    tree: str
    stages: dict[str, dict[int, Entry]] = field(default_factory=dict)
    messages: list[tuple[set[str], str]] = field(default_factory=list)

    def explained(self, paths: Mapping[str, object]) -> Iterator[str]:
        """Git's messages about the conflicts at these paths."""
        told = set()
        for about, message in self.messages:
            if about & paths.keys() and message.startswith("CONFLICT"):
                told |= about
                yield message
        for path in paths.keys() - told:
            yield f"CONFLICT: {printable(path)}"


def _merge_tree(
    repository: Repository, settings: Sequence[str], ours: Head, theirs: Head, option: Sequence[str]
) -> _Done:
    command = ["merge-tree", "--write-tree", "--messages", "-z", *option, ours.commit, theirs.commit]
    ended = repository.run(*settings, *command)
    if ended.returncode > 1 or not ended.stdout:
        said = ended.stderr.decode(errors="replace").strip()
        if "unrelated histories" in said:
            raise no_common_ancestor(repository, [ours, theirs])
        raise ThetaError(f"git merge-tree failed: {said}", "git fsck")
    fields = [os.fsdecode(one) for one in ended.stdout.split(b"\0")]
    done = _Done(fields.pop(0))
    while fields and fields[0]:
        about, _, path = fields.pop(0).partition("\t")
        mode, oid, stage = about.split()
        done.stages.setdefault(path, {})[int(stage)] = mode, oid
    fields = fields[1:]
    while fields and fields[0]:
        count = int(fields[0])
        paths, message = fields[1 : count + 1], fields[count + 2]
        done.messages.append((set(paths), message.strip()))
        fields = fields[count + 3 :]
    return done


def _changed_checkpoints(
    repository: Repository, base: str, heads: Sequence[Head]
) -> dict[str, list[Entry | None]]:
    """The checkpoints that some head has not as the base has them: entries of base and heads, by path."""
    paths: dict[str, None] = {}
    for head in heads:
        listed = repository.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, head.commit)
        paths |= dict.fromkeys(map(os.fsdecode, listed.split(b"\0")[:-1]))
    mine = sorted(checkpoints(repository, paths))
    trees = [entries(repository, tree, mine) for tree in (base, *(head.commit for head in heads))]
    return {path: [tree.get(path) for tree in trees] for path in mine}


def _checked_version() -> tuple[int, ...]:
    version = git_version()
    if numbers(version) < _NEEDED:
        raise ThetaError(
            f"git theta merge needs Git 2.38 or newer, this is {version}",
            "use git merge with: git config theta.merge STRATEGY",
        )
    return numbers(version)
